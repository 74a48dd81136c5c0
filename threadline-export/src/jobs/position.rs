//! Positions: which changes the next file of a schedule with [`Span::SinceLast`](super::Span::SinceLast) has.
//!
//! Every transaction gets its xid before it takes ids for changes. So the last id is read first, then an xid is
//! assigned, and when all transactions with smaller xids have ended, all changes with ids up to the last id
//! are committed or rolled back.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz};
use diesel::{OptionalExtension, QueryableByName};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_diesel::Timeline;

use super::error::JobError;
use super::handler::JobRun;
use super::lease::{ErrorCode, JobFailure, Retry};
use super::statements::{BoolRow, Query, query};

/// The pause between two looks at the running transactions.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How long a job waits for running transactions.
const MAX_WAIT: Duration = Duration::from_secs(10 * 60);

/// The ids of a file, and the change of the schedule's position when the job completes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PositionChange {
    schedule: String,
    enqueued_at: DateTime<Utc>,
    from: Option<i64>,
    to: i64,
}

impl PositionChange {
    pub(crate) fn after_id(&self) -> i64 {
        self.from.unwrap_or(0)
    }

    pub(crate) fn to_id(&self) -> i64 {
        self.to
    }

    /// Stores the position; returns whether the schedule had the position from which this one was made.
    pub(crate) async fn store(&self, conn: &mut AsyncPgConnection) -> Result<bool, JobError> {
        let moved = set_position(self);
        Ok(moved.execute(conn).await? > 0)
    }

    /// Restricts a timeline to the ids, and to the time in which they were captured.
    pub(crate) async fn restrict(
        &self,
        conn: &mut AsyncPgConnection,
        timeline: Timeline,
    ) -> Result<Timeline, JobFailure> {
        let (first, last) = (self.after_id() + 1, self.to);
        let times: CaptureTimesRow = read_one(conn, capture_times(first, last))
            .await
            .map_err(|error| JobFailure::of_database(&error, "position"))?;
        let now = Utc::now();
        Ok(timeline
            .ids(first..=last)
            .from(times.first_at.unwrap_or(now))
            .to(times.last_at.unwrap_or(now)))
    }
}

/// Waits until all changes up to the last id are committed or rolled back.
pub(crate) async fn settle(
    conn: &mut AsyncPgConnection,
    schedule: &str,
    enqueued_at: DateTime<Utc>,
    run: &JobRun,
) -> Result<PositionChange, JobFailure> {
    let failed = |error| JobFailure::of_database(&error, "position");
    let final_failure = |code| JobFailure::new(ErrorCode::new(code), "position", Retry::Never);
    let row: Option<PositionRow> = read_one(conn, position(schedule, enqueued_at))
        .await
        .optional()
        .map_err(failed)?;
    let from = row
        .ok_or_else(|| final_failure("schedule_removed"))?
        .position;
    let last: LastIdRow = read_one(conn, last_id()).await.map_err(failed)?;
    if last.has_cache {
        return Err(final_failure("sequence_has_cache"));
    }
    if last.value < from.unwrap_or(0) {
        return Err(final_failure("sequence_set_back"));
    }
    let xid: TextRow = read_one(conn, assign_xid()).await.map_err(failed)?;
    let started = Instant::now();
    loop {
        let settled: BoolRow = read_one(conn, is_settled(&xid.value))
            .await
            .map_err(failed)?;
        if settled.value {
            return Ok(PositionChange {
                schedule: schedule.to_owned(),
                enqueued_at,
                from,
                to: last.value,
            });
        }
        let wait_failure = |code| JobFailure::new(ErrorCode::new(code), "position", Retry::Later);
        if started.elapsed() > MAX_WAIT {
            return Err(wait_failure("running_transactions"));
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = run.stopped() => return Err(wait_failure("stopped")),
        }
    }
}

/// Reads one row in a transaction of its own, which `PgBouncer` in transaction mode needs.
async fn read_one<T>(conn: &mut AsyncPgConnection, query: Query) -> QueryResult<T>
where
    T: diesel::deserialize::QueryableByName<diesel::pg::Pg> + Send + 'static,
{
    conn.transaction(async |conn| query.get_result(conn).await)
        .await
}

/// The position of the schedule that enqueued a job: a [`PositionRow`]. A schedule of the same name that was added
/// afterwards has a position of its own.
fn position(schedule: &str, enqueued_at: DateTime<Utc>) -> Query {
    query("SELECT position FROM @threadline@.audit_schedules WHERE name = $1 AND created_at <= $2")
        .bind::<Text, _>(schedule.to_owned())
        .bind::<Timestamptz, _>(enqueued_at)
}

/// The last id of the trail: a [`LastIdRow`]. With a cache, sessions use ids that they reserved earlier.
fn last_id() -> Query {
    query(
        "SELECT last_id AS value, (
             SELECT seqcache <> 1 FROM pg_sequence
             WHERE seqrelid = '@threadline@.audit_changes_id_seq'::regclass
         ) AS has_cache
         FROM @threadline@.audit_feed_end",
    )
}

/// Assigns an xid: a [`TextRow`].
fn assign_xid() -> Query {
    query("SELECT pg_current_xact_id()::text AS value")
}

/// Whether the transactions before an xid have ended.
fn is_settled(xid: &str) -> Query {
    query(include_str!("sql/is_settled.sql")).bind::<Text, _>(xid.to_owned())
}

/// The first and the last capture time of changes in a range of ids. `OFFSET 0` keeps the planner from reading
/// the trail in the order of time until it finds an id of the range.
fn capture_times(first: i64, last: i64) -> Query {
    query(
        "SELECT min(captured_at) AS first_at, max(captured_at) AS last_at FROM (
             SELECT captured_at FROM @threadline@.audit_changes WHERE id BETWEEN $1 AND $2 OFFSET 0
         ) AS change",
    )
    .bind::<BigInt, _>(first)
    .bind::<BigInt, _>(last)
}

/// Moves the position of a schedule; affects no row if it is not the given one.
fn set_position(change: &PositionChange) -> Query {
    query(
        "UPDATE @threadline@.audit_schedules SET position = $3
         WHERE name = $1 AND position IS NOT DISTINCT FROM $2 AND created_at <= $4",
    )
    .bind::<Text, _>(change.schedule.clone())
    .bind::<Nullable<BigInt>, _>(change.from)
    .bind::<BigInt, _>(change.to)
    .bind::<Timestamptz, _>(change.enqueued_at)
}

#[derive(Debug, QueryableByName)]
struct PositionRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    position: Option<i64>,
}

#[derive(Debug, QueryableByName)]
struct LastIdRow {
    #[diesel(sql_type = BigInt)]
    value: i64,
    #[diesel(sql_type = Bool)]
    has_cache: bool,
}

#[derive(Debug, QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(Debug, QueryableByName)]
struct CaptureTimesRow {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    first_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_at: Option<DateTime<Utc>>,
}
