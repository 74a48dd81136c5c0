//! An audited write in progress: its statements, and its result.

use diesel::QueryResult;
use serde_json::Value;
use threadline_core::action::{Action, ActionId, ActionStatus};
use threadline_core::context::AuditContext;
use threadline_core::identifier::quote_literal;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::telemetry;
use threadline_core::transaction::AuditTransactionId;
use threadline_core::work::{action_document, context_document, work_document};
use uuid::Uuid;

use super::outcome::{AuditError, AuditedOutcome};
use super::statements::{BeginWork, CountWork, EndWork, RecordAction};
use super::{AuditedWrite, Failure, Unattributed, Unchanged};

/// An audited write that has begun.
#[derive(Debug)]
pub(crate) struct WorkInProgress<'a> {
    write: &'a AuditedWrite,
    action_id: Option<ActionId>,
}

impl<'a> WorkInProgress<'a> {
    /// # Errors
    /// [`AuditError::MissingActor`] when the write needs an actor and its context has none.
    pub(crate) fn new(write: &'a AuditedWrite) -> Result<Self, AuditError> {
        if write.context.actor().is_none() && write.unattributed == Unattributed::Refused {
            telemetry::capture_refused("missing_actor");
            return Err(AuditError::MissingActor);
        }
        let action_id = write.action.as_ref().map(|_| ActionId::generate());
        Ok(Self { write, action_id })
    }

    /// The argument of `begin_audited_work`.
    fn document(&self) -> Value {
        let action = self.action_id.zip(self.write.action.as_ref());
        work_document(&self.write.context, action)
    }

    /// The statement that begins a nested write in its savepoint; it returns the settings in force.
    pub(crate) fn begin_statement(&self) -> BeginWork {
        BeginWork {
            work: self.document(),
        }
    }

    /// `BEGIN` and `begin_audited_work` as one batch, which takes one round trip.
    ///
    /// The simple query protocol has no parameters, so the document is a literal. JSON escapes NUL as
    /// `\u0000`, so no NUL can end the batch.
    ///
    /// An async connection could pipeline `BEGIN` and a prepared statement, but two responses wake the
    /// client twice, which costs more than parsing the literal.
    pub(crate) fn begin_sql(&self) -> String {
        format!(
            "BEGIN; SELECT {STORAGE_SCHEMA}.begin_audited_work({})",
            quote_literal(&self.document().to_string())
        )
    }

    /// The statement that ends the write. A nested write restores the settings in force before it.
    ///
    /// Counting reads the trail, so changes are counted only where the number is used.
    pub(crate) fn end_statement(&self, before: Option<Value>) -> EndStatement {
        let nested = before.is_some();
        if self.requires_changes() || (!nested && telemetry::counts_enabled()) {
            let own_action = if nested { self.action_id } else { None };
            EndStatement::Count(CountWork {
                before,
                action: own_action.map(ActionId::as_uuid),
            })
        } else {
            EndStatement::End(EndWork { before })
        }
    }

    /// Whether the commit depends on what was captured.
    pub(crate) fn requires_changes(&self) -> bool {
        self.write.unchanged == Unchanged::RolledBack
    }

    /// Emits telemetry after the commit.
    pub(crate) fn report_commit(&self, result: &WorkResult, outermost: bool) {
        if let Some(action) = self.action_id.and(self.write.action.as_ref()) {
            telemetry::action_recorded(action.get_status().as_str());
        }
        if outermost && result.transaction_id.is_some() {
            match result.counted {
                Some(Counted { changes, tables }) => {
                    telemetry::transaction_committed(changes, tables);
                }
                None => telemetry::uncounted_transaction_committed(),
            }
        }
    }

    /// The outcome, or the error for which the write is rolled back.
    pub(crate) fn outcome<T>(
        &self,
        value: T,
        result: &WorkResult,
    ) -> Result<AuditedOutcome<T>, AuditError> {
        if self.requires_changes() && result.counted.is_none_or(|counted| counted.changes == 0) {
            telemetry::capture_refused("nothing_captured");
            return Err(AuditError::NothingCaptured);
        }
        Ok(AuditedOutcome {
            value,
            transaction_id: result.transaction_id.map(AuditTransactionId::from),
            action_id: self.action_id,
        })
    }

    /// The outcome and the result of the end statement, or the error for which the write is rolled back.
    pub(crate) fn check<T>(
        &self,
        value: T,
        ended: QueryResult<WorkResult>,
    ) -> Result<(AuditedOutcome<T>, WorkResult), AuditError> {
        let result = ended?;
        let outcome = self.outcome(value, &result)?;
        Ok((outcome, result))
    }

    /// The statement that records the failed action under an id of its own; none if failures are not
    /// recorded.
    pub(crate) fn failed_action(&self, reason: &str) -> Option<RecordAction> {
        if self.write.failure == Failure::NotRecorded {
            return None;
        }
        let mut action = self.write.action.clone()?.status(ActionStatus::Error);
        if !action.has_reason() {
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

/// The statement that records an action without a write, and the id of the action.
pub(crate) fn record_action_statement(
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

/// Emits telemetry for a failed action, whether or not it could be recorded.
pub(crate) fn report_failure(recorded: &QueryResult<Uuid>) {
    match recorded {
        Ok(_) => telemetry::action_recorded("error"),
        Err(_) => telemetry::failure_unrecorded("action"),
    }
}

/// The statement that ends a write.
#[derive(Debug)]
pub(crate) enum EndStatement {
    End(EndWork),
    /// Also counts what was captured.
    Count(CountWork),
}

/// The result of the statement that ends a write.
#[derive(Debug)]
pub(crate) struct WorkResult {
    transaction_id: Option<Uuid>,
    counted: Option<Counted>,
}

/// The numbers of captured changes and of their tables.
#[derive(Debug, Clone, Copy)]
struct Counted {
    changes: i64,
    tables: i64,
}

impl From<Option<Uuid>> for WorkResult {
    fn from(transaction_id: Option<Uuid>) -> Self {
        Self {
            transaction_id,
            counted: None,
        }
    }
}

impl From<(Option<Uuid>, i64, i64)> for WorkResult {
    fn from((transaction_id, changes, tables): (Option<Uuid>, i64, i64)) -> Self {
        Self {
            transaction_id,
            counted: Some(Counted { changes, tables }),
        }
    }
}
