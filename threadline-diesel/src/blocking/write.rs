//! Executes audited writes on a `PgConnection`.

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use serde_json::Value;
use threadline_core::action::{Action, ActionId};
use threadline_core::context::AuditContext;
use threadline_core::telemetry;
use uuid::Uuid;

use crate::audited_write::work::{
    EndStatement, WorkInProgress, WorkResult, record_action_statement, report_failure,
};
use crate::audited_write::{AuditError, AuditedOutcome, AuditedWrite};

/// Runs a closure in a transaction whose changes are attributed to the write's context and action.
/// Pass a pooled connection as `&mut conn`.
///
/// Inside a transaction, the write is a savepoint with its own context and action; afterwards the outer
/// ones are in force again.
///
/// ```no_run
/// # use diesel::prelude::*;
/// # diesel::table! { invoices (id) { id -> BigInt, paid -> Bool, } }
/// # fn example(conn: &mut diesel::pg::PgConnection) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use threadline_core::action;
/// use threadline_core::actor::ActorRef;
/// use threadline_core::context::AuditContext;
/// use threadline_diesel::{AuditedWrite, blocking};
///
/// let context = AuditContext::new(ActorRef::user("42")?);
/// let write = AuditedWrite::new(context).action(action!("invoice.pay").reason("order 8812"));
/// let outcome = blocking::audited::<_, diesel::result::Error, _>(conn, &write, |conn| {
///     diesel::update(invoices::table.find(7))
///         .set(invoices::paid.eq(true))
///         .execute(conn)
/// })?;
/// println!("{} rows, recorded as {:?}", outcome.value, outcome.transaction_id);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The closure's error, after everything was rolled back; or [`AuditError`], converted to the closure's
/// error type.
pub fn audited<T, E, F>(
    conn: &mut PgConnection,
    write: &AuditedWrite,
    work: F,
) -> Result<AuditedOutcome<T>, E>
where
    F: FnOnce(&mut PgConnection) -> Result<T, E>,
    E: From<AuditError>,
{
    let progress = WorkInProgress::new(write)?;
    let before = begin(conn, &progress)?;
    match work(conn) {
        Ok(value) => Ok(end_then_commit(conn, &progress, before, value)?),
        Err(error) => {
            roll_back(conn, &progress, "work_failed");
            Err(error)
        }
    }
}

/// Begins the write. For a nested write, returns the settings in force before it.
fn begin(
    conn: &mut PgConnection,
    progress: &WorkInProgress<'_>,
) -> Result<Option<Value>, AuditError> {
    let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
    if status.transaction_depth()?.is_some() {
        AnsiTransactionManager::begin_transaction(conn)?;
        let begun = progress.begin_statement().get_result::<Value>(conn);
        if begun.is_err() {
            AnsiTransactionManager::rollback_transaction(conn)?;
        }
        return Ok(Some(begun?));
    }
    let begun = AnsiTransactionManager::begin_transaction_sql(conn, &progress.begin_sql());
    if let Err(error) = begun {
        // BEGIN may have succeeded although the batch failed.
        let _ = conn.batch_execute("ROLLBACK");
        return Err(error.into());
    }
    Ok(None)
}

/// Ends the write, checks what was captured, then commits or rolls back. Libpq waits for each response,
/// so ending takes a round trip of its own.
fn end_then_commit<T>(
    conn: &mut PgConnection,
    progress: &WorkInProgress<'_>,
    before: Option<Value>,
    value: T,
) -> Result<AuditedOutcome<T>, AuditError> {
    let outermost = before.is_none();
    let ended = end_work(conn, progress.end_statement(before));
    let (outcome, result) = match progress.check(value, ended) {
        Ok(checked) => checked,
        Err(error) => {
            roll_back(conn, progress, error.reason());
            return Err(error);
        }
    };
    // A failed commit has rolled back already.
    if let Err(error) = AnsiTransactionManager::commit_transaction(conn) {
        record_failure(conn, progress, "commit_failed");
        return Err(error.into());
    }
    progress.report_commit(&result, outermost);
    Ok(outcome)
}

fn end_work(conn: &mut PgConnection, statement: EndStatement) -> QueryResult<WorkResult> {
    match statement {
        EndStatement::End(end) => end.get_result::<Option<Uuid>>(conn).map(WorkResult::from),
        EndStatement::Count(count) => count
            .get_result::<(Option<Uuid>, i64, i64)>(conn)
            .map(WorkResult::from),
    }
}

/// Rolls back, and records the failed action if the write says so. Errors here are only reported to
/// telemetry, so that they do not hide the error of the write.
fn roll_back(conn: &mut PgConnection, progress: &WorkInProgress<'_>, reason: &'static str) {
    match AnsiTransactionManager::rollback_transaction(conn) {
        Ok(()) => record_failure(conn, progress, reason),
        Err(_) => telemetry::failure_unrecorded("rollback"),
    }
}

/// Records the failed action if the write says so.
fn record_failure(conn: &mut PgConnection, progress: &WorkInProgress<'_>, reason: &'static str) {
    if let Some(failed) = progress.failed_action(reason) {
        report_failure(&failed.get_result::<Uuid>(conn));
    }
}

/// Records an action without a write, for operations that change no row: a login, an export, a read.
/// Inside a transaction it is part of the transaction, otherwise it is recorded at once.
///
/// ```no_run
/// # fn example(conn: &mut diesel::pg::PgConnection) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use threadline_core::action;
/// use threadline_core::actor::ActorRef;
/// use threadline_core::context::AuditContext;
/// use threadline_diesel::blocking;
///
/// let context = AuditContext::new(ActorRef::admin("rita")?);
/// let id = blocking::record_action(conn, &context, &action!("report.export"))?;
/// println!("recorded as {id}");
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`AuditError`] when the context has no actor, or the database reports an error.
pub fn record_action(
    conn: &mut PgConnection,
    context: &AuditContext,
    action: &Action,
) -> Result<ActionId, AuditError> {
    let (id, statement) = record_action_statement(context, action)?;
    statement.get_result::<Uuid>(conn)?;
    telemetry::action_recorded(action.get_status().as_str());
    Ok(id)
}
