//! The audited write: what is to be done, for whom, and what came of it.

use serde_json::Value;
use threadline_core::action::{Action, ActionId, ActionStatus};
use threadline_core::context::AuditContext;
use threadline_core::identifier::quote_literal;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::telemetry;
use threadline_core::transaction::AuditTransactionId;
use threadline_core::work::{action_document, context_document, work_document};

use crate::statements::{BeginWork, CountWork, EndWork, RecordAction};

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
    /// What `begin_audited_work` takes.
    fn document(&self) -> Value {
        let action = self.action_id.zip(self.write.action.as_ref());
        work_document(&self.write.context, action)
    }

    /// The statement that opens nested work.
    pub(crate) fn statement(&self) -> BeginWork {
        BeginWork {
            work: self.document(),
        }
    }

    /// BEGIN and the opening as one batch, and so in one round trip.
    ///
    /// The simple query protocol has no parameters, so the document is a literal. In JSON a NUL is
    /// written `\u0000`, so none can end the batch.
    ///
    /// On async connections a prepared statement could travel with BEGIN too. Two answers wake the
    /// client twice, which costs more than reading the literal.
    pub(crate) fn begin_sql(&self) -> String {
        format!(
            "BEGIN; SELECT {STORAGE_SCHEMA}.begin_audited_work({})",
            quote_literal(&self.document().to_string())
        )
    }

    /// The statement that ends the work. Nested work puts back what was in force before.
    ///
    /// Counting reads the trail, so it is done only where somebody wants the number.
    pub(crate) fn closing(&self, before: Option<Value>) -> CloseStatement {
        let nested = before.is_some();
        if self.must_check() || (!nested && telemetry::hears_counts()) {
            let own_action = if nested { self.action_id } else { None };
            CloseStatement::Counting(CountWork {
                before,
                action: own_action.map(ActionId::as_uuid),
            })
        } else {
            CloseStatement::Leaving(EndWork { before })
        }
    }

    /// Whether what was captured decides on the commit.
    pub(crate) fn must_check(&self) -> bool {
        self.write.unchanged == Unchanged::Refused
    }

    /// Says what was done, once it is committed.
    pub(crate) fn report_done(&self, closing: &Closing, outermost: bool) {
        if let Some(action) = self.action_id.and(self.write.action.as_ref()) {
            telemetry::action_recorded(action.ended_as().as_str());
        }
        if outermost && closing.transaction_id.is_some() {
            match closing.counted {
                Some(Counted { changes, tables }) => {
                    telemetry::transaction_committed(changes, tables);
                }
                None => telemetry::uncounted_transaction_committed(),
            }
        }
    }

    /// What came of the work, or why it must be rolled back.
    pub(crate) fn outcome<T>(
        &self,
        value: T,
        closing: &Closing,
    ) -> Result<AuditedOutcome<T>, AuditError> {
        if self.must_check() && closing.counted.is_none_or(|counted| counted.changes == 0) {
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

/// How a piece of work ends.
#[derive(Debug)]
pub(crate) enum CloseStatement {
    Leaving(EndWork),
    Counting(CountWork),
}

/// What there was to say when the work ended.
#[derive(Debug)]
pub(crate) struct Closing {
    transaction_id: Option<uuid::Uuid>,
    counted: Option<Counted>,
}

/// How much was captured.
#[derive(Debug, Clone, Copy)]
struct Counted {
    changes: i64,
    tables: i64,
}

impl From<Option<uuid::Uuid>> for Closing {
    fn from(transaction_id: Option<uuid::Uuid>) -> Self {
        Self {
            transaction_id,
            counted: None,
        }
    }
}

impl From<(Option<uuid::Uuid>, i64, i64)> for Closing {
    fn from((transaction_id, changes, tables): (Option<uuid::Uuid>, i64, i64)) -> Self {
        Self {
            transaction_id,
            counted: Some(Counted { changes, tables }),
        }
    }
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
