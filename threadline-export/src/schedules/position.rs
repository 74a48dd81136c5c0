//! Positions: which changes the next file of a schedule with [`Span::SinceLast`](super::Span::SinceLast) has.
//!
//! Every transaction gets its xid before it takes ids for changes. So the last id is read first, then an xid is
//! assigned, and when all transactions with smaller xids have ended, all changes with ids up to the last id
//! are committed or rolled back.

use std::time::{Duration, Instant};

use chrono::Utc;
use diesel::OptionalExtension;
use diesel::result::QueryResult;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_diesel::Timeline;

use super::schedule::ScheduleName;
use super::statements::{self, BigIntRow, CaptureTimesRow, ScheduleRow, TextRow};
use crate::jobs::statements::{BoolRow, Query};
use crate::jobs::{ErrorCode, JobError, JobFailure, JobRun, Retry};
use crate::schedules::Schedule;

/// The pause between two looks at the running transactions.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How long a job waits for running transactions.
const MAX_WAIT: Duration = Duration::from_secs(10 * 60);

/// The ids of a file, and the change of the schedule's position when the job completes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PositionChange {
    schedule: String,
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
        let moved = statements::set_position(&self.schedule, self.from, self.to);
        Ok(moved.execute(conn).await? > 0)
    }

    /// Restricts a timeline to the ids, and to the time in which they were captured.
    pub(crate) async fn restrict(
        &self,
        conn: &mut AsyncPgConnection,
        timeline: Timeline,
    ) -> Result<Timeline, JobFailure> {
        let (first, last) = (self.after_id() + 1, self.to);
        let times: CaptureTimesRow = read_one(conn, statements::capture_times(first, last))
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
    run: &JobRun,
) -> Result<PositionChange, JobFailure> {
    let failed = |error| JobFailure::of_database(&error, "position");
    let final_failure = |code| JobFailure::new(ErrorCode::new(code), "position", Retry::Never);
    let name: ScheduleName = schedule
        .parse()
        .map_err(|_| final_failure("schedule_removed"))?;
    let row: Option<ScheduleRow> = read_one(conn, statements::find(&name))
        .await
        .optional()
        .map_err(failed)?;
    let row = row.ok_or_else(|| final_failure("schedule_removed"))?;
    let from = Schedule::try_from(row).map_err(failed)?.position;
    let last: BigIntRow = read_one(conn, statements::last_id())
        .await
        .map_err(failed)?;
    if last.value < from.unwrap_or(0) {
        return Err(final_failure("sequence_set_back"));
    }
    let xid: TextRow = read_one(conn, statements::assign_xid())
        .await
        .map_err(failed)?;
    let started = Instant::now();
    loop {
        let settled: BoolRow = read_one(conn, statements::is_settled(&xid.value))
            .await
            .map_err(failed)?;
        if settled.value {
            return Ok(PositionChange {
                schedule: schedule.to_owned(),
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
