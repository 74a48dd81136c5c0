//! Executes maintenance of partitions, and purges.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::retention::RetentionPolicy;
use threadline_core::table::TableName;
use threadline_core::telemetry;

use super::cutoffs::Cutoffs;
use super::execute::{execute, load, load_one};
use super::walk::{Halt, Walk};
use super::{
    FeedConsumers, Maintenance, PurgeOptions, PurgeOutcome, PurgeStep, RetentionError,
    RetentionRun, RunState, statements, steps,
};
use crate::query::error::ReadError;
use crate::transaction_state::is_in_transaction;

/// Creates partitions for the coming months, and moves rows out of the default partitions.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::maintain_partitions;
/// use threadline_diesel::retention::PurgeOptions;
///
/// let done = maintain_partitions(conn, &PurgeOptions::new()).await?;
/// println!("{} partitions created", done.created);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`RetentionError`] when the database reports an error, or the connection is in a transaction.
pub async fn maintain_partitions<C>(
    conn: &mut C,
    options: &PurgeOptions,
) -> Result<Maintenance, RetentionError>
where
    C: AsyncConnection<Backend = Pg>,
{
    // Steps are committed one by one.
    if is_in_transaction(conn)? {
        return Err(RetentionError::InTransaction);
    }
    let mut done = Maintenance::default();
    let mut locked = 0;
    loop {
        let rows: Vec<statements::MaintenanceRow> =
            load(conn, statements::maintain(options)).await?;
        let has = |result| rows.iter().any(|row| row.result == result);
        let moved = rows.iter().map(|row| row.rows_moved).sum::<i64>();
        done.unfinished = has("left") || has("locked");
        done.moved += moved;
        done.created += rows
            .iter()
            .map(|row| i64::from(row.result == "created"))
            .sum::<i64>();
        // One call moves the rows of one period.
        let has_more = has("left") && moved > 0;
        locked += i32::from(has("locked"));
        if options.stop.is_given()
            || !(has_more || has("locked"))
            || locked >= options.lock_attempts
        {
            break;
        }
        tokio::time::sleep(if has_more {
            options.pause
        } else {
            options.rest_after_lock()
        })
        .await;
    }
    Ok(done)
}

/// Maintains the partitions, then removes the expired records under a policy.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::retention::{Keep, RetentionPolicy};
/// use threadline_diesel::purge;
/// use threadline_diesel::retention::PurgeOptions;
///
/// let policy = RetentionPolicy::keep(Keep::days(365)?).enabled().build()?;
/// let outcome = purge(conn, &policy, &PurgeOptions::new()).await?;
/// println!("run {}: {:?}", outcome.run.id, outcome.run.state);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`RetentionError`] when the policy is not enabled, another purge is running, or a step fails; the
/// run records the failure.
pub async fn purge<C>(
    conn: &mut C,
    policy: &RetentionPolicy,
    options: &PurgeOptions,
) -> Result<PurgeOutcome, RetentionError>
where
    C: AsyncConnection<Backend = Pg>,
{
    purge_with_progress(conn, policy, options, &mut |_| ()).await
}

/// [`purge`], with a function that is called after every step.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::retention::{Keep, RetentionPolicy};
/// use threadline_diesel::purge_with_progress;
/// use threadline_diesel::retention::PurgeOptions;
///
/// let policy = RetentionPolicy::keep(Keep::days(365)?).enabled().build()?;
/// purge_with_progress(conn, &policy, &PurgeOptions::new(), &mut |step| println!("{step:?}")).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`purge`].
pub async fn purge_with_progress<C>(
    conn: &mut C,
    policy: &RetentionPolicy,
    options: &PurgeOptions,
    progress: &mut (dyn FnMut(&PurgeStep) + Send),
) -> Result<PurgeOutcome, RetentionError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let purged = try_to_purge(conn, policy, options, progress).await;
    if let Err(error) = &purged
        && error.is_failure()
    {
        telemetry::retention_failed(error.kind());
    }
    purged
}

/// Reads a run of a purge by its id; none if there is no such run.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// if let Some(run) = threadline_diesel::retention_run(conn, 7).await? {
///     println!("{} changes removed", run.changes);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`RetentionError`] when the database reports an error.
pub async fn retention_run<C>(conn: &mut C, id: i64) -> Result<Option<RetentionRun>, RetentionError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let found: Vec<steps::RunRow> = load(conn, steps::run(id)).await?;
    let run = found.into_iter().next().map(RetentionRun::try_from);
    Ok(run.transpose()?)
}

/// Reads the newest runs of purges, at most `most`, newest first.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// for run in threadline_diesel::retention_runs(conn, 10).await? {
///     println!("{} {:?}", run.started_at, run.state);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`RetentionError`] when the database reports an error.
pub async fn retention_runs<C>(conn: &mut C, most: u32) -> Result<Vec<RetentionRun>, RetentionError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let found: Vec<steps::RunRow> = load(conn, steps::newest_runs(most)).await?;
    let runs = found.into_iter().map(RetentionRun::try_from);
    Ok(runs.collect::<Result<_, _>>()?)
}

/// Reads the audit horizon of a table: when capture was first enabled, or the cut-off of the last purge. None if
/// the table was never captured.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// let horizon = threadline_diesel::audit_horizon(conn, &"invoices".parse()?).await?;
/// println!("changes are known from {horizon:?}");
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the database reports an error.
pub async fn audit_horizon<C>(
    conn: &mut C,
    table: &TableName,
) -> Result<Option<DateTime<Utc>>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let row = statements::horizon(table)
        .get_result::<statements::Instant>(conn)
        .await?;
    Ok(row.instant)
}

async fn try_to_purge<C>(
    conn: &mut C,
    policy: &RetentionPolicy,
    options: &PurgeOptions,
    progress: &mut (dyn FnMut(&PurgeStep) + Send),
) -> Result<PurgeOutcome, RetentionError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if !policy.is_enabled() {
        return Err(RetentionError::Disabled);
    }
    let maintenance = maintain_partitions(conn, options).await?;
    let (run, cutoffs) = begin(conn, policy, options).await?;
    telemetry::retention_started(run);
    let mut walk = Walk::new(conn, run, policy, cutoffs, options, progress);
    let (state, failure) = match walk.work().await {
        Ok(()) => (RunState::Completed, None),
        Err(Halt::Stopped) => (RunState::Stopped, None),
        Err(Halt::Failed(error)) => (RunState::Failed, Some(error)),
    };
    // If the connection no longer works, the next run finds this one abandoned.
    let reason = failure.as_ref().map(RetentionError::place);
    let ended = execute(conn, steps::end(run, state, reason)).await;
    if let Some(error) = failure {
        return Err(error);
    }
    if ended? == 0 {
        return Err(RetentionError::Lost { run });
    }
    let run: steps::RunRow = load_one(conn, steps::run(run)).await?;
    let run = RetentionRun::try_from(run)?;
    telemetry::retention_finished(
        run.id,
        run.state.as_str(),
        run.changes,
        run.transactions,
        run.actions,
        run.partitions,
    );
    Ok(PurgeOutcome { maintenance, run })
}

/// Marks a run with an expired lease as abandoned, then begins a run.
async fn begin<C>(
    conn: &mut C,
    policy: &RetentionPolicy,
    options: &PurgeOptions,
) -> Result<(i64, Cutoffs), RetentionError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let cutoffs = cutoffs(conn, policy, options.archived_to).await?;
    if options.feed_consumers == FeedConsumers::Block && is_feed_behind(conn, &cutoffs).await? {
        return Err(RetentionError::FeedBehind);
    }
    execute(conn, steps::abandon()).await?;
    // A policy and its instants serialize without errors: they consist of numbers and texts.
    let policy = serde_json::to_value(policy).unwrap_or_default();
    let stored = serde_json::to_value(&cutoffs).unwrap_or_default();
    let begun: Vec<steps::RunId> = load(conn, steps::begin(policy, stored, options)).await?;
    if let [run] = begun.as_slice() {
        return Ok((run.id, cutoffs));
    }
    let holders: Vec<steps::Holder> = load(conn, steps::holder()).await?;
    let holder = holders.into_iter().next();
    Err(RetentionError::AtWork {
        run: holder.as_ref().map(|holder| holder.id),
        until: holder.map(|holder| holder.lease_until),
    })
}

/// The cut-offs of a policy now, by the server's clock; of archived records, if it is given until when they are.
pub(super) async fn cutoffs<C>(
    conn: &mut C,
    policy: &RetentionPolicy,
    archived_to: Option<DateTime<Utc>>,
) -> diesel::QueryResult<Cutoffs>
where
    C: AsyncConnection<Backend = Pg>,
{
    let now = server_now(conn).await?;
    let cutoffs = cutoffs_at(conn, policy, now).await?;
    Ok(cutoffs.archived_to(archived_to))
}

/// The cut-offs of a policy at an instant.
pub(super) async fn cutoffs_at<C>(
    conn: &mut C,
    policy: &RetentionPolicy,
    at: DateTime<Utc>,
) -> diesel::QueryResult<Cutoffs>
where
    C: AsyncConnection<Backend = Pg>,
{
    let kept: statements::Instant = load_one(conn, statements::kept_before(at)).await?;
    let mut cutoffs = Cutoffs::new(policy, at);
    cutoffs.kept_before = kept.instant;
    Ok(cutoffs)
}

/// The server's clock.
pub(super) async fn server_now<C>(conn: &mut C) -> diesel::QueryResult<DateTime<Utc>>
where
    C: AsyncConnection<Backend = Pg>,
{
    let row: statements::Instant = load_one(conn, statements::now()).await?;
    Ok(row.instant.unwrap_or_default())
}

/// Whether consumers of the feed have not acknowledged all expired items.
pub(super) async fn is_feed_behind<C>(conn: &mut C, cutoffs: &Cutoffs) -> diesel::QueryResult<bool>
where
    C: AsyncConnection<Backend = Pg>,
{
    let row: statements::Answer = load_one(conn, statements::is_feed_behind(cutoffs)).await?;
    Ok(row.answer)
}
