//! The outcome of an audited write.

use threadline_core::action::ActionId;
use threadline_core::transaction::AuditTransactionId;

/// The outcome of a committed audited write.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditedOutcome<T> {
    /// What the closure returned.
    pub value: T,
    /// The audit transaction; none if nothing was captured.
    pub transaction_id: Option<AuditTransactionId>,
    /// The recorded action; none if the write has none.
    pub action_id: Option<ActionId>,
}

/// An audited write that was rolled back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The context has no actor.
    #[error(
        "this audited write has no actor: set one in its AuditContext, or call \
         allow_unattributed() if there can be none"
    )]
    MissingActor,
    /// The write requires changes and changed no audited row.
    #[error("this audited write requires changes of audited rows, and changed none")]
    NothingCaptured,
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

impl AuditError {
    /// The reason of a failed action: never an error message, which could contain row values.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::MissingActor => "missing_actor",
            Self::NothingCaptured => "nothing_captured",
            Self::Database(_) => "database_error",
        }
    }
}

impl From<AuditError> for diesel::result::Error {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Database(error) => error,
            other => Self::QueryBuilderError(Box::new(other)),
        }
    }
}
