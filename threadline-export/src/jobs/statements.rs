//! The statements on jobs and their rows. Each is a transaction of its own unless the caller opened one.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::result::Error;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use serde_json::Value;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_diesel::feed::LeaseTime;
use uuid::Uuid;

use super::job::{Job, JobKind, JobProgress};
use super::lease::{JobFailure, JobLease, Retry};
use super::list::JobFilter;
use super::new_job::{KeepDays, MAX_OPEN_JOBS, NewJob};

pub(crate) type Query = BoxedSqlQuery<'static, Pg, SqlQuery>;

/// The columns of a [`JobRow`].
const COLUMNS: &str = "id, kind, state, request, actor, scope_key, schedule, due_at, run_at, attempt, \
    max_attempts, lease_token, leased_until, progress, cancel_requested_at, result, error_code, error_place, \
    created_at, created_by, started_at, ended_at, expires_at, object_gone_at";

pub(crate) fn query(sql: &str) -> Query {
    let sql = sql
        .replace("@threadline@", STORAGE_SCHEMA)
        .replace("@columns@", COLUMNS);
    diesel::sql_query(sql).into_boxed()
}

fn about(sql: &str, id: Uuid) -> Query {
    query(sql).bind::<SqlUuid, _>(id)
}

fn under(sql: &str, lease: &JobLease) -> Query {
    about(sql, lease.job).bind::<SqlUuid, _>(lease.token)
}

fn seconds(time: LeaseTime) -> f64 {
    time.duration().as_secs_f64()
}

/// Waits for other transactions that enqueue jobs of an actor, so that each counts the jobs of the others.
pub(crate) fn lock_actor(actor: &str) -> Query {
    query("SELECT pg_advisory_xact_lock(hashtextextended('@threadline@.audit_jobs ' || $1, 0))")
        .bind::<Text, _>(actor.to_owned())
}

/// Inserts a job: a [`JobRow`], or none if its idempotency key exists or the actor has too many open jobs.
pub(crate) fn enqueue(job: &NewJob) -> Query {
    query(include_str!("sql/enqueue.sql"))
        .bind::<SqlUuid, _>(Uuid::now_v7())
        .bind::<Text, _>(job.kind.as_str())
        .bind::<Jsonb, _>(job.request.clone())
        .bind::<Nullable<Text>, _>(job.actor.as_ref().map(ToString::to_string))
        .bind::<Nullable<Text>, _>(job.scope_key.clone())
        .bind::<Nullable<Text>, _>(
            job.idempotency_key
                .as_ref()
                .map(|key| key.as_str().to_owned()),
        )
        .bind::<Nullable<Timestamptz>, _>(job.run_at)
        .bind::<Integer, _>(i32::from(job.max_attempts.get()))
        .bind::<BigInt, _>(i64::from(MAX_OPEN_JOBS))
}

/// The job with an idempotency key.
pub(crate) fn find_by_key(key: &str) -> Query {
    query("SELECT @columns@ FROM @threadline@.audit_jobs WHERE idempotency_key = $1")
        .bind::<Text, _>(key.to_owned())
}

pub(crate) fn find(id: Uuid) -> Query {
    about(
        "SELECT @columns@ FROM @threadline@.audit_jobs WHERE id = $1",
        id,
    )
}

/// Whether an actor may have another open job: a [`BoolRow`].
pub(crate) fn may_open(actor: &str) -> Query {
    query(
        "SELECT count(*) < $2 AS value FROM @threadline@.audit_jobs
         WHERE actor = $1 AND state IN ('queued', 'running') AND schedule IS NULL",
    )
    .bind::<Text, _>(actor.to_owned())
    .bind::<BigInt, _>(i64::from(MAX_OPEN_JOBS))
}

pub(crate) fn list(filter: &JobFilter) -> Query {
    query(include_str!("sql/list.sql"))
        .bind::<Nullable<Text>, _>(filter.kind.map(JobKind::as_str))
        .bind::<Nullable<Text>, _>(filter.state.map(super::JobState::as_str))
        .bind::<Nullable<Text>, _>(filter.actor.as_ref().map(ToString::to_string))
        .bind::<Nullable<Text>, _>(filter.schedule.clone())
        .bind::<Nullable<Text>, _>(filter.scope_key.clone())
        .bind::<Nullable<SqlUuid>, _>(filter.before)
        .bind::<BigInt, _>(i64::from(filter.size.get()) + 1)
}

/// Ends jobs whose lease expired in their last attempt, or after they were asked to stop.
pub(crate) fn end_lost(kinds: &[JobKind]) -> Query {
    query(include_str!("sql/end_lost.sql")).bind::<Array<Text>, _>(names(kinds))
}

pub(crate) fn claim(kinds: &[JobKind], time: LeaseTime) -> Query {
    query(include_str!("sql/claim.sql"))
        .bind::<Array<Text>, _>(names(kinds))
        .bind::<Double, _>(seconds(time))
}

/// Renews a lease: a [`BoolRow`] that says whether the job was asked to stop, or none if the lease is lost.
pub(crate) fn renew(lease: &JobLease, progress: Option<&JobProgress>) -> Query {
    under(include_str!("sql/renew.sql"), lease)
        .bind::<Double, _>(seconds(lease.time))
        .bind::<Nullable<Jsonb>, _>(progress.and_then(|it| serde_json::to_value(it).ok()))
}

/// Completes a job; affects no row if the lease is lost.
pub(crate) fn finish(lease: &JobLease, result: &Value, keep: Option<KeepDays>) -> Query {
    under(include_str!("sql/finish.sql"), lease)
        .bind::<Jsonb, _>(result.clone())
        .bind::<Nullable<Integer>, _>(keep.map(|keep| i32::from(keep.days())))
}

/// Ends an attempt; affects no row if the lease is lost.
pub(crate) fn fail(lease: &JobLease, failure: &JobFailure) -> Query {
    under(include_str!("sql/fail.sql"), lease)
        .bind::<Text, _>(failure.code.as_str().to_owned())
        .bind::<Text, _>(failure.place)
        .bind::<Bool, _>(failure.retry == Retry::Later)
}

pub(crate) fn cancel(id: Uuid) -> Query {
    about(include_str!("sql/cancel.sql"), id)
}

pub(crate) fn retry(id: Uuid) -> Query {
    about(include_str!("sql/retry.sql"), id)
}

/// Queues a job again, unless it was asked to stop; affects no row if the lease is lost. The attempt does not
/// count.
pub(crate) fn release(lease: &JobLease) -> Query {
    under(
        "UPDATE @threadline@.audit_jobs
         SET state = CASE WHEN cancel_requested_at IS NULL THEN 'queued' ELSE 'cancelled' END,
             max_attempts = max_attempts + 1,
             ended_at = CASE WHEN cancel_requested_at IS NOT NULL THEN clock_timestamp() END,
             lease_token = NULL, leased_until = NULL, leased_by = NULL
         WHERE id = $1 AND lease_token = $2",
        lease,
    )
}

/// Marks completed jobs as expired.
pub(crate) fn expire() -> Query {
    query(
        "UPDATE @threadline@.audit_jobs SET state = 'expired'
         WHERE state = 'completed' AND expires_at < clock_timestamp() AND object_gone_at IS NULL",
    )
}

pub(crate) fn with_objects_to_delete(kinds: &[JobKind]) -> Query {
    query(include_str!("sql/with_objects_to_delete.sql")).bind::<Array<Text>, _>(names(kinds))
}

pub(crate) fn mark_objects_gone(id: Uuid) -> Query {
    about(
        "UPDATE @threadline@.audit_jobs SET object_gone_at = clock_timestamp()
         WHERE id = $1 AND state IN ('expired', 'failed', 'cancelled')",
        id,
    )
}

pub(crate) fn delete_old() -> Query {
    query(include_str!("sql/delete_old.sql"))
}

pub(crate) fn names(kinds: &[JobKind]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.as_str()).collect()
}

#[derive(Debug, QueryableByName)]
pub(crate) struct BoolRow {
    #[diesel(sql_type = Bool)]
    pub(crate) value: bool,
}

/// A row with [`COLUMNS`].
#[derive(Debug, QueryableByName)]
pub(crate) struct JobRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Jsonb)]
    request: Value,
    #[diesel(sql_type = Nullable<Text>)]
    actor: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    scope_key: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    schedule: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    due_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    run_at: DateTime<Utc>,
    #[diesel(sql_type = Integer)]
    attempt: i32,
    #[diesel(sql_type = Integer)]
    max_attempts: i32,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(crate) lease_token: Option<Uuid>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    leased_until: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    progress: Option<Value>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    cancel_requested_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    result: Option<Value>,
    #[diesel(sql_type = Nullable<Text>)]
    error_code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    error_place: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    created_by: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    started_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ended_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    expires_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    object_gone_at: Option<DateTime<Utc>>,
}

pub(crate) fn into_jobs(rows: Vec<JobRow>) -> Result<Vec<Job>, Error> {
    rows.into_iter().map(Job::try_from).collect()
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::DeserializationError(Box::new(error))
}

impl TryFrom<JobRow> for Job {
    type Error = Error;

    fn try_from(row: JobRow) -> Result<Self, Error> {
        let actor = row.actor.map(|actor| actor.parse()).transpose();
        let progress = row.progress.map(serde_json::from_value).transpose();
        Ok(Self {
            id: row.id,
            kind: row.kind.parse().map_err(unreadable)?,
            state: row.state.parse().map_err(unreadable)?,
            request: row.request,
            actor: actor.map_err(unreadable)?,
            scope_key: row.scope_key,
            schedule: row.schedule,
            due_at: row.due_at,
            run_at: row.run_at,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            leased_until: row.leased_until,
            progress: progress.map_err(unreadable)?,
            cancel_requested_at: row.cancel_requested_at,
            result: row.result,
            error_code: row.error_code,
            error_place: row.error_place,
            created_at: row.created_at,
            created_by: row.created_by,
            started_at: row.started_at,
            ended_at: row.ended_at,
            expires_at: row.expires_at,
            object_gone_at: row.object_gone_at,
        })
    }
}
