//! Audited writes: transactions whose changes are attributed to a context and an action.

mod outcome;
#[cfg(feature = "async")]
mod pipeline;
#[cfg(feature = "async")]
mod run;
mod statements;
pub(crate) mod work;

use threadline_core::action::Action;
use threadline_core::context::AuditContext;

pub use self::outcome::{AuditError, AuditedOutcome};
#[cfg(feature = "async")]
pub use self::run::{Work, audited, record_action};

/// Whether a write without an actor is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Unattributed {
    #[default]
    Refused,
    Allowed,
}

/// Whether a write that changes no audited row is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Unchanged {
    #[default]
    Committed,
    RolledBack,
}

/// Whether a failed action is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Failure {
    #[default]
    NotRecorded,
    Recorded,
}

/// A write to be audited: its context, and the action that the application performs.
///
/// ```
/// use threadline_core::action::Action;
/// use threadline_core::actor::ActorRef;
/// use threadline_core::context::AuditContext;
/// use threadline_diesel::AuditedWrite;
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
    /// A write in a context, without an action unless [`AuditedWrite::action`] sets one.
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

    /// Sets the action: what the application does, and why.
    #[must_use]
    pub fn action(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    /// Allows the write although its context has no actor.
    #[must_use]
    pub fn allow_unattributed(mut self) -> Self {
        self.unattributed = Unattributed::Allowed;
        self
    }

    /// Rolls the write back if it changes no audited row.
    #[must_use]
    pub fn require_changes(mut self) -> Self {
        self.unchanged = Unchanged::RolledBack;
        self
    }

    /// Records the action with status `error` if the write fails and is rolled back: for an outermost
    /// write in a transaction of its own, for a nested one in the enclosing transaction.
    ///
    /// The reason is that of the action, or else `work_failed`, `nothing_captured`, `commit_failed` or
    /// `database_error`; never an error message, which could contain row values.
    #[must_use]
    pub fn record_failures(mut self) -> Self {
        self.failure = Failure::Recorded;
        self
    }
}
