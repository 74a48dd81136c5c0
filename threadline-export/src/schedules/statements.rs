//! The statements on schedules and their rows.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::result::Error;
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::schedule::{NewSchedule, Schedule, ScheduleName};
use crate::jobs::JobKind;
use crate::jobs::statements::{Query, names, query};

/// The columns of a [`ScheduleRow`].
const COLUMNS: &str = "name, kind, cron, time_zone, request, actor, scope_key, next_due_at, paused_at, position, \
    created_at, created_by, clock_timestamp() AS read_at";

fn select(condition: &str) -> Query {
    query(&format!(
        "SELECT {COLUMNS} FROM @threadline@.audit_schedules {condition}"
    ))
}

pub(crate) fn list() -> Query {
    select("ORDER BY name")
}

pub(crate) fn find(name: &ScheduleName) -> Query {
    select("WHERE name = $1").bind::<Text, _>(name.as_str().to_owned())
}

/// Locks the schedule that has been due for the longest time, if another worker has not locked it.
pub(crate) fn lock_due(kinds: &[JobKind]) -> Query {
    select(
        "WHERE paused_at IS NULL AND next_due_at <= clock_timestamp() AND kind = ANY ($1)
         ORDER BY next_due_at LIMIT 1 FOR UPDATE SKIP LOCKED",
    )
    .bind::<Array<Text>, _>(names(kinds))
}

pub(crate) fn lock(name: &ScheduleName) -> Query {
    select("WHERE name = $1 FOR UPDATE").bind::<Text, _>(name.as_str().to_owned())
}

pub(crate) fn now() -> Query {
    query("SELECT clock_timestamp() AS value")
}

/// Affects no row if a schedule of the name exists.
pub(crate) fn add(schedule: &NewSchedule, next_due_at: DateTime<Utc>) -> Query {
    query(
        "INSERT INTO @threadline@.audit_schedules
             (name, kind, cron, time_zone, request, actor, scope_key, next_due_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO NOTHING",
    )
    .bind::<Text, _>(schedule.name.as_str().to_owned())
    .bind::<Text, _>(schedule.kind.as_str())
    .bind::<Text, _>(schedule.cron.as_str().to_owned())
    .bind::<Text, _>(schedule.zone.name())
    .bind::<Jsonb, _>(schedule.request.clone())
    .bind::<Nullable<Text>, _>(schedule.actor.as_ref().map(ToString::to_string))
    .bind::<Nullable<Text>, _>(schedule.scope_key.clone())
    .bind::<Timestamptz, _>(next_due_at)
}

pub(crate) fn remove(name: &ScheduleName) -> Query {
    query("DELETE FROM @threadline@.audit_schedules WHERE name = $1")
        .bind::<Text, _>(name.as_str().to_owned())
}

pub(crate) fn pause(name: &str) -> Query {
    query(
        "UPDATE @threadline@.audit_schedules SET paused_at = COALESCE(paused_at, clock_timestamp())
         WHERE name = $1",
    )
    .bind::<Text, _>(name.to_owned())
}

/// Sets when a schedule is due next; it is not paused then.
pub(crate) fn set_next_due(name: &str, next_due_at: DateTime<Utc>) -> Query {
    query(
        "UPDATE @threadline@.audit_schedules SET next_due_at = $2, paused_at = NULL WHERE name = $1",
    )
    .bind::<Text, _>(name.to_owned())
    .bind::<Timestamptz, _>(next_due_at)
}

/// The queued or running job of a schedule.
pub(crate) fn open_job(name: &ScheduleName) -> Query {
    query(
        "SELECT @columns@ FROM @threadline@.audit_jobs
         WHERE schedule = $1 AND state IN ('queued', 'running')
             -- An earlier schedule can have had the name.
             AND created_at >= (SELECT created_at FROM @threadline@.audit_schedules WHERE name = $1)
         ORDER BY id LIMIT 1",
    )
    .bind::<Text, _>(name.as_str().to_owned())
}

/// Inserts the job of a schedule; affects no row if there is one for the time.
pub(crate) fn enqueue(schedule: &Schedule, request: Value, due_at: DateTime<Utc>) -> Query {
    query(
        "INSERT INTO @threadline@.audit_jobs (id, kind, request, actor, scope_key, schedule, due_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (schedule, due_at) DO NOTHING
         RETURNING @columns@",
    )
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(schedule.kind.as_str())
    .bind::<Jsonb, _>(request)
    .bind::<Nullable<Text>, _>(schedule.actor.as_ref().map(ToString::to_string))
    .bind::<Nullable<Text>, _>(schedule.scope_key.clone())
    .bind::<Text, _>(schedule.name.clone())
    .bind::<Timestamptz, _>(due_at)
}

#[derive(Debug, QueryableByName)]
pub(crate) struct InstantRow {
    #[diesel(sql_type = Timestamptz)]
    pub(crate) value: DateTime<Utc>,
}

/// A row with [`COLUMNS`].
#[derive(Debug, QueryableByName)]
pub(crate) struct ScheduleRow {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    cron: String,
    #[diesel(sql_type = Text)]
    time_zone: String,
    #[diesel(sql_type = Jsonb)]
    request: Value,
    #[diesel(sql_type = Nullable<Text>)]
    actor: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    scope_key: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    next_due_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    paused_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    position: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    created_by: String,
    /// The time of the database's clock.
    #[diesel(sql_type = Timestamptz)]
    pub(crate) read_at: DateTime<Utc>,
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::DeserializationError(Box::new(error))
}

impl TryFrom<ScheduleRow> for Schedule {
    type Error = Error;

    fn try_from(row: ScheduleRow) -> Result<Self, Error> {
        let actor = row.actor.map(|actor| actor.parse()).transpose();
        Ok(Self {
            name: row.name,
            kind: row.kind.parse().map_err(unreadable)?,
            cron: row.cron,
            time_zone: row.time_zone,
            request: row.request,
            actor: actor.map_err(unreadable)?,
            scope_key: row.scope_key,
            next_due_at: row.next_due_at,
            paused_at: row.paused_at,
            position: row.position,
            created_at: row.created_at,
            created_by: row.created_by,
        })
    }
}
