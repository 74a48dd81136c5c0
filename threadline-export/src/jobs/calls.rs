//! The functions on single jobs.

use diesel::OptionalExtension;
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use threadline_diesel::feed::LeaseTime;
use uuid::Uuid;

use super::error::JobError;
use super::job::{Job, JobKind, JobProgress};
use super::lease::{ClaimedJob, JobFailure, JobLease, Renewal};
use super::new_job::{KeepDays, NewJob};
use super::statements::{self, BoolRow, JobRow, Query};

/// Enqueues a job. In a transaction of the caller, the job is enqueued when that commits.
///
/// With an idempotency key that exists, the existing job is returned.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::json;
/// use threadline_export::jobs::{self, JobKind, NewJob};
///
/// let job = NewJob::new(JobKind::Check, json!({ "check": "coverage" })).actor("admin:rita".parse()?);
/// println!("{}", jobs::enqueue(conn, &job).await?.id);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`JobError::TooManyOpen`]; [`JobError::IdempotencyKeyTaken`] if the existing job differs; errors of the
/// request; or when the database reports an error.
pub async fn enqueue(conn: &mut AsyncPgConnection, job: &NewJob) -> Result<Job, JobError> {
    job.validate()?;
    conn.transaction(async |conn| {
        if let Some(actor) = &job.actor {
            lock_actor(conn, &actor.to_string()).await?;
        }
        if let Some(inserted) = read_one(conn, statements::enqueue(job)).await? {
            return Ok(inserted);
        }
        let Some(key) = &job.idempotency_key else {
            return Err(JobError::TooManyOpen);
        };
        let existing = read_one(conn, statements::find_by_key(key.as_str())).await?;
        let existing = existing.ok_or(JobError::TooManyOpen)?;
        let is_equal = existing.kind == job.kind
            && existing.request == job.request
            && existing.actor == job.actor
            && existing.scope_key == job.scope_key;
        if is_equal {
            Ok(existing)
        } else {
            Err(JobError::IdempotencyKeyTaken(existing.id))
        }
    })
    .await
}

/// Finds a job by its id; none if there is none.
///
/// # Errors
/// When the database reports an error.
pub async fn find<C>(conn: &mut C, id: Uuid) -> Result<Option<Job>, JobError>
where
    C: AsyncConnection<Backend = Pg>,
{
    read_one(conn, statements::find(id)).await
}

/// Claims the job of one of these kinds that waits longest; none if there is none.
///
/// No other worker gets the job until the lease expires. [`renew`] extends the lease.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::json;
/// use threadline_diesel::feed::LeaseTime;
/// use threadline_export::jobs::{self, JobKind};
///
/// if let Some(claimed) = jobs::claim(conn, &[JobKind::Check], LeaseTime::default()).await? {
///     println!("{}", claimed.job.request);
///     jobs::finish(conn, &claimed.lease, &json!({}), None).await?;
/// }
/// # Ok(()) }
/// ```
///
/// Only a [`Worker`](crate::Worker) ends jobs whose lease expired in their last attempt.
///
/// # Errors
/// When the database reports an error.
pub async fn claim<C>(
    conn: &mut C,
    kinds: &[JobKind],
    time: LeaseTime,
) -> Result<Option<ClaimedJob>, JobError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let row: Option<JobRow> = statements::claim(kinds, time)
        .get_result(conn)
        .await
        .optional()?;
    let Some((row, token)) = row.and_then(|row| row.lease_token.map(|token| (row, token))) else {
        return Ok(None);
    };
    let job = Job::try_from(row)?;
    let lease = JobLease {
        job: job.id,
        token,
        time,
    };
    Ok(Some(ClaimedJob { job, lease }))
}

/// Renews a lease for its full time, and reports the progress.
///
/// # Errors
/// When the database reports an error.
pub async fn renew<C>(
    conn: &mut C,
    lease: &JobLease,
    progress: Option<&JobProgress>,
) -> Result<Renewal, JobError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let renewed: Option<BoolRow> = statements::renew(lease, progress)
        .get_result(conn)
        .await
        .optional()?;
    Ok(match renewed {
        None => Renewal::Lost,
        Some(BoolRow { value: true }) => Renewal::Cancel,
        Some(BoolRow { value: false }) => Renewal::Go,
    })
}

/// Completes a job with its result: a JSON object without row values. Its stored objects expire after `keep`.
///
/// In a transaction of the caller, the job is completed together with the other work of the transaction. A job
/// that was asked to stop can complete.
///
/// # Errors
/// [`JobError::LeaseLost`], or when the database reports an error.
pub async fn finish<C>(
    conn: &mut C,
    lease: &JobLease,
    result: &Value,
    keep: Option<KeepDays>,
) -> Result<(), JobError>
where
    C: AsyncConnection<Backend = Pg>,
{
    end(conn, lease, statements::finish(lease, result, keep)).await
}

/// Ends an attempt. The job is queued again with a delay if the failure can be retried and attempts are left;
/// otherwise it is failed, or cancelled if it was asked to stop.
///
/// # Errors
/// [`JobError::LeaseLost`], or when the database reports an error.
pub async fn fail<C>(conn: &mut C, lease: &JobLease, failure: &JobFailure) -> Result<(), JobError>
where
    C: AsyncConnection<Backend = Pg>,
{
    end(conn, lease, statements::fail(lease, failure)).await
}

/// Cancels a queued job, or asks the worker of a running one to stop; returns the job.
///
/// # Errors
/// [`JobError::NotFound`]; [`JobError::HasEnded`]; or when the database reports an error.
pub async fn cancel<C>(conn: &mut C, id: Uuid) -> Result<Job, JobError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if let Some(job) = read_one(conn, statements::cancel(id)).await? {
        return Ok(job);
    }
    let state = existing(conn, id).await?.state;
    Err(JobError::HasEnded { id, state })
}

/// Queues a failed or cancelled job again, with five more attempts; returns the job.
///
/// # Errors
/// [`JobError::NotFound`]; [`JobError::NotFailed`]; [`JobError::TooManyOpen`]; or when the database reports an
/// error.
pub async fn retry(conn: &mut AsyncPgConnection, id: Uuid) -> Result<Job, JobError> {
    conn.transaction(async |conn| {
        let job = existing(conn, id).await?;
        if let (Some(actor), None) = (&job.actor, &job.schedule) {
            let actor = actor.to_string();
            lock_actor(conn, &actor).await?;
            let may_open: BoolRow = statements::may_open(&actor).get_result(conn).await?;
            if !may_open.value {
                return Err(JobError::TooManyOpen);
            }
        }
        if let Some(job) = read_one(conn, statements::retry(id)).await? {
            return Ok(job);
        }
        let state = existing(conn, id).await?.state;
        Err(JobError::NotFailed { id, state })
    })
    .await
}

async fn lock_actor<C>(conn: &mut C, actor: &str) -> Result<(), JobError>
where
    C: AsyncConnection<Backend = Pg>,
{
    statements::lock_actor(actor).execute(conn).await?;
    Ok(())
}

async fn existing<C>(conn: &mut C, id: Uuid) -> Result<Job, JobError>
where
    C: AsyncConnection<Backend = Pg>,
{
    find(conn, id).await?.ok_or(JobError::NotFound(id))
}

async fn read_one<C>(conn: &mut C, query: Query) -> Result<Option<Job>, JobError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let row: Option<JobRow> = query.get_result(conn).await.optional()?;
    Ok(row.map(Job::try_from).transpose()?)
}

async fn end<C>(conn: &mut C, lease: &JobLease, query: Query) -> Result<(), JobError>
where
    C: AsyncConnection<Backend = Pg>,
{
    match query.execute(conn).await? {
        0 => Err(JobError::LeaseLost(lease.job)),
        _ => Ok(()),
    }
}
