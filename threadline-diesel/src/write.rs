//! The audited write: what is to be done, for whom, and what came of it.

use serde_json::Value;
use threadline_core::action::{Action, ActionId, ActionStatus};
use threadline_core::context::AuditContext;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::telemetry;
use threadline_core::transaction::AuditTransactionId;
use threadline_core::work::{action_document, context_document, open_document};

use crate::statements::RecordAction;

/// Whether a write without an actor is allowed to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Unattributed {
    #[default]
    Refused,
    Allowed,
}

/// Whether an action that changed nothing is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Unchanged {
    #[default]
    Kept,
    Refused,
}

/// Whether an action that failed is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Failure {
    #[default]
    Forgotten,
    Recorded,
}

/// A piece of work to be audited: the context it happens in, and what the application says it is.
///
/// ```
/// use threadline_core::action::Action;
/// use threadline_core::actor::ActorRef;
/// use threadline_core::context::AuditContext;
/// use threadline_diesel::write::AuditedWrite;
///
/// let context = AuditContext::new(ActorRef::user("42")?);
/// let write = AuditedWrite::new(context).action(Action::new("invoice.pay")?);
/// # let _ = write;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct AuditedWrite {
    context: AuditContext,
    action: Option<Action>,
    unattributed: Unattributed,
    unchanged: Unchanged,
    failure: Failure,
}

impl AuditedWrite {
    /// Work in a context, captured only: without an action until [`AuditedWrite::action`] names
    /// one.
    #[must_use]
    pub fn new(context: AuditContext) -> Self {
        Self {
            context,
            action: None,
            unattributed: Unattributed::default(),
            unchanged: Unchanged::default(),
            failure: Failure::default(),
        }
    }

    /// What the work is, and why.
    #[must_use]
    pub fn action(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    /// Lets the work happen although nobody is known to do it.
    #[must_use]
    pub fn allow_unattributed(mut self) -> Self {
        self.unattributed = Unattributed::Allowed;
        self
    }

    /// Rolls the work back when it changed no audited row.
    #[must_use]
    pub fn require_changes(mut self) -> Self {
        self.unchanged = Unchanged::Refused;
        self
    }

    /// When the work fails and is rolled back, records its action with status `error`: outermost
    /// work in a transaction of its own, nested work in the one around it. Its reason is the action's own, or else a word for where it failed
    /// (`work_failed`, `nothing_captured`, `database_error`); never an error's message, which could
    /// hold row values.
    #[must_use]
    pub fn record_failures(mut self) -> Self {
        self.failure = Failure::Recorded;
        self
    }

    /// What is to be sent when the work begins.
    pub(crate) fn opening(&self) -> Result<Opening<'_>, AuditError> {
        if self.context.actor().is_none() && self.unattributed == Unattributed::Refused {
            telemetry::capture_refused("missing_actor");
            return Err(AuditError::MissingActor);
        }
        let action_id = self.action.as_ref().map(|_| ActionId::generate());
        Ok(Opening {
            write: self,
            action_id,
        })
    }
}

/// A piece of work that begins.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    write: &'a AuditedWrite,
    pub(crate) action_id: Option<ActionId>,
}

impl Opening<'_> {
    /// What `open_audited_work` takes.
    pub(crate) fn document(&self) -> Value {
        let action = self.action_id.zip(self.write.action.as_ref());
        open_document(&self.write.context, action)
    }

    /// BEGIN and the opening in one round trip.
    ///
    /// The simple query protocol has no parameters. The document travels as hexadecimal digits,
    /// which leaves nothing to quote.
    pub(crate) fn begin_sql(&self) -> String {
        let document = self.document().to_string();
        let mut digits = String::with_capacity(document.len() * 2);
        for byte in document.bytes() {
            for nibble in [byte >> 4, byte & 0xf] {
                digits.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        format!(
            "BEGIN; SELECT {STORAGE_SCHEMA}.open_audited_work(\
             pg_catalog.convert_from('\\x{digits}'::bytea, 'UTF8')::jsonb)"
        )
    }

    /// Says what was done, once it is committed.
    pub(crate) fn report_done(&self, closing: &Closing, outermost: bool) {
        if let Some(action) = self.action_id.and(self.write.action.as_ref()) {
            telemetry::action_recorded(action.ended_as().as_str());
        }
        if outermost && closing.transaction_id.is_some() {
            telemetry::transaction_committed(closing.changes, closing.tables);
        }
    }

    /// What came of the work, or why it must be rolled back.
    pub(crate) fn outcome<T>(
        &self,
        value: T,
        closing: &Closing,
    ) -> Result<AuditedOutcome<T>, AuditError> {
        if closing.changes == 0 && self.write.unchanged == Unchanged::Refused {
            telemetry::capture_refused("nothing_captured");
            return Err(AuditError::NothingCaptured);
        }
        Ok(AuditedOutcome {
            value,
            transaction_id: closing.transaction_id.map(AuditTransactionId::from),
            action_id: self.action_id,
        })
    }

    /// The failed action to record, with its own id, if failures are recorded.
    pub(crate) fn failed_action(&self, reason: &str) -> Option<RecordAction> {
        if self.write.failure == Failure::Forgotten {
            return None;
        }
        let mut action = self.write.action.clone()?.status(ActionStatus::Error);
        if action.has_no_reason() {
            action = action.reason(reason);
        }
        Some(RecordAction {
            action: action_document((ActionId::generate(), &action)),
            actor: self
                .write
                .context
                .actor()
                .map(|actor| serde_json::json!(actor)),
            context: context_document(&self.write.context),
        })
    }
}

/// An action without work around it.
pub(crate) fn action_alone(
    context: &AuditContext,
    action: &Action,
) -> Result<(ActionId, RecordAction), AuditError> {
    let actor = context.actor().ok_or(AuditError::MissingActor)?;
    let id = ActionId::generate();
    let statement = RecordAction {
        action: action_document((id, action)),
        actor: Some(serde_json::json!(actor)),
        context: context_document(context),
    };
    Ok((id, statement))
}

/// What `close_audited_work` says.
#[derive(Debug, diesel::Queryable)]
pub(crate) struct Closing {
    pub(crate) transaction_id: Option<uuid::Uuid>,
    pub(crate) changes: i64,
    pub(crate) tables: i64,
}

/// What came of an audited write.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditedOutcome<T> {
    /// What the closure returned.
    pub value: T,
    /// The audit transaction; none if nothing was captured.
    pub transaction_id: Option<AuditTransactionId>,
    /// The recorded action, if there was one.
    pub action_id: Option<ActionId>,
}

/// An audited write that did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The context names nobody.
    #[error(
        "this audited write has no actor: put one into its AuditContext, or say \
         allow_unattributed() if nobody can be known"
    )]
    MissingActor,
    /// Changes were required, and there were none.
    #[error("this audited write was required to change audited rows, and changed none")]
    NothingCaptured,
    /// The database said no.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

impl AuditError {
    /// A word for the reason of a failed action: never a message, which could hold row values.
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
