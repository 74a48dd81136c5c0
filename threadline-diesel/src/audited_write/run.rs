//! Executes audited writes on an async connection.
//!
//! The outermost write begins its transaction and publishes its context in one round trip. A nested
//! write is a savepoint.

use diesel::QueryResult;
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};
use serde_json::Value;
use threadline_core::action::{Action, ActionId};
use threadline_core::context::AuditContext;
use threadline_core::telemetry;
use uuid::Uuid;

use super::AuditedWrite;
use super::outcome::{AuditError, AuditedOutcome};
use super::pipeline::{PipelinedConnection, end_work};
use super::work::{WorkInProgress, record_action_statement, report_failure};
use crate::transaction_state::is_in_transaction;

/// An async closure whose future can be named, so that it can be required to be `Send`.
///
/// Implemented for every `async |conn| { ... }`; diesel-async has the same trait privately.
pub trait Work<C, R>: AsyncFnOnce(C) -> R + FnOnce(C) -> <Self as Work<C, R>>::Fut {
    /// The closure's future.
    type Fut: Future<Output = R>;
}

impl<F, C, Fut, R> Work<C, R> for F
where
    F: AsyncFnOnce(C) -> R + FnOnce(C) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// Runs a closure in a transaction whose changes are attributed to the write's context and action.
/// Pass a pooled connection as `&mut conn`.
///
/// Inside a transaction, the write is a savepoint with its own context and action; afterwards the outer
/// ones are in force again. A future that is dropped before it completes leaves its transaction open, as
/// with Diesel's own; pools detect that and discard the connection.
///
/// ```no_run
/// # use diesel::prelude::*;
/// # use diesel_async::RunQueryDsl;
/// # diesel::table! { invoices (id) { id -> BigInt, paid -> Bool, } }
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use threadline_core::action;
/// use threadline_core::actor::ActorRef;
/// use threadline_core::context::AuditContext;
/// use threadline_diesel::{AuditedWrite, audited};
///
/// let context = AuditContext::new(ActorRef::user("42")?);
/// let write = AuditedWrite::new(context).action(action!("invoice.pay").reason("order 8812"));
/// let outcome = audited::<_, diesel::result::Error, _>(conn, &write, async |conn| {
///     diesel::update(invoices::table.find(7))
///         .set(invoices::paid.eq(true))
///         .execute(conn)
///         .await
/// })
/// .await?;
/// println!("{} rows, recorded as {:?}", outcome.value, outcome.transaction_id);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The closure's error, after everything was rolled back; or [`AuditError`], converted to the closure's
/// error type.
pub async fn audited<T, E, F>(
    conn: &mut AsyncPgConnection,
    write: &AuditedWrite,
    work: F,
) -> Result<AuditedOutcome<T>, E>
where
    F: for<'r> Work<&'r mut AsyncPgConnection, Result<T, E>, Fut: Send> + Send,
    E: From<AuditError> + Send,
    T: Send,
{
    let progress = WorkInProgress::new(write)?;
    let before = begin(conn, &progress).await?;
    match work(conn).await {
        Ok(value) => Ok(finish(conn, &progress, before, value).await?),
        Err(error) => {
            roll_back(conn, &progress, "work_failed").await;
            Err(error)
        }
    }
}

/// Begins the write. For a nested write, returns the settings in force before it.
async fn begin(
    conn: &mut AsyncPgConnection,
    progress: &WorkInProgress<'_>,
) -> Result<Option<Value>, AuditError> {
    if is_in_transaction(conn)? {
        return Ok(Some(begin_nested(conn, progress).await?));
    }
    let begun = AnsiTransactionManager::begin_transaction_sql(conn, &progress.begin_sql()).await;
    if let Err(error) = begun {
        // BEGIN may have succeeded although the batch failed.
        let _ = conn.batch_execute("ROLLBACK").await;
        return Err(error.into());
    }
    Ok(None)
}

/// Creates a savepoint and begins the write in it, in one round trip. Returns the settings in force
/// before.
async fn begin_nested(
    conn: &mut AsyncPgConnection,
    progress: &WorkInProgress<'_>,
) -> QueryResult<Value> {
    let statement = progress.begin_statement();
    let mut pipelined = PipelinedConnection::begin_with_savepoint(conn, statement);
    AnsiTransactionManager::begin_transaction(&mut pipelined).await?;
    let begun = pipelined.begun();
    if begun.is_err() {
        AnsiTransactionManager::rollback_transaction(conn).await?;
    }
    begun
}

/// Ends the write and commits: in one round trip, unless the write is nested or the commit depends on
/// what was captured.
async fn finish<T>(
    conn: &mut AsyncPgConnection,
    progress: &WorkInProgress<'_>,
    before: Option<Value>,
    value: T,
) -> Result<AuditedOutcome<T>, AuditError> {
    if before.is_some() || progress.requires_changes() {
        return end_then_commit(conn, progress, before, value).await;
    }
    let statement = progress.end_statement(None);
    let mut pipelined = PipelinedConnection::end_with_commit(conn, statement);
    let committed = AnsiTransactionManager::commit_transaction(&mut pipelined).await;
    // If the end statement fails, COMMIT rolls back and reports no error.
    let result = match (pipelined.ended(), committed) {
        (Ok(result), Ok(())) => result,
        (Ok(_), Err(error)) => {
            record_failure(conn, progress, "commit_failed").await;
            return Err(error.into());
        }
        (Err(error), _) => {
            let error = AuditError::from(error);
            record_failure(conn, progress, error.reason()).await;
            return Err(error);
        }
    };
    let outcome = progress.outcome(value, &result)?;
    progress.report_commit(&result, true);
    Ok(outcome)
}

/// Ends the write, checks what was captured, then commits or rolls back.
async fn end_then_commit<T>(
    conn: &mut AsyncPgConnection,
    progress: &WorkInProgress<'_>,
    before: Option<Value>,
    value: T,
) -> Result<AuditedOutcome<T>, AuditError> {
    let outermost = before.is_none();
    let ended = end_work(conn, progress.end_statement(before)).await;
    let (outcome, result) = match progress.check(value, ended) {
        Ok(checked) => checked,
        Err(error) => {
            roll_back(conn, progress, error.reason()).await;
            return Err(error);
        }
    };
    // A failed commit has rolled back already.
    if let Err(error) = AnsiTransactionManager::commit_transaction(conn).await {
        record_failure(conn, progress, "commit_failed").await;
        return Err(error.into());
    }
    progress.report_commit(&result, outermost);
    Ok(outcome)
}

/// Rolls back, and records the failed action if the write says so. Errors here are only reported to
/// telemetry, so that they do not hide the error of the write.
async fn roll_back(
    conn: &mut AsyncPgConnection,
    progress: &WorkInProgress<'_>,
    reason: &'static str,
) {
    match AnsiTransactionManager::rollback_transaction(conn).await {
        Ok(()) => record_failure(conn, progress, reason).await,
        Err(_) => telemetry::failure_unrecorded("rollback"),
    }
}

/// Records the failed action if the write says so.
async fn record_failure(
    conn: &mut AsyncPgConnection,
    progress: &WorkInProgress<'_>,
    reason: &'static str,
) {
    if let Some(failed) = progress.failed_action(reason) {
        report_failure(&failed.get_result::<Uuid>(conn).await);
    }
}

/// Records an action without a write, for operations that change no row: a login, an export, a read.
/// Inside a transaction it is part of the transaction, otherwise it is recorded at once.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::action;
/// use threadline_core::actor::ActorRef;
/// use threadline_core::context::AuditContext;
/// use threadline_diesel::record_action;
///
/// let context = AuditContext::new(ActorRef::admin("rita")?);
/// let id = record_action(conn, &context, &action!("report.export")).await?;
/// println!("recorded as {id}");
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`AuditError`] when the context has no actor, or the database reports an error.
pub async fn record_action(
    conn: &mut AsyncPgConnection,
    context: &AuditContext,
    action: &Action,
) -> Result<ActionId, AuditError> {
    let (id, statement) = record_action_statement(context, action)?;
    statement.get_result::<Uuid>(conn).await?;
    telemetry::action_recorded(action.get_status().as_str());
    Ok(id)
}
