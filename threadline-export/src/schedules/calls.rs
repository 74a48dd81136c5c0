//! The functions on schedules.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::OptionalExtension;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::{Value, json};
use threadline_core::instant::{InstantInput, Tz, parse_zone};
use threadline_core::telemetry;

use super::cron::Cron;
use super::error::ScheduleError;
use super::schedule::{NewSchedule, Schedule, ScheduleName};
use super::statements::{self, InstantRow, ScheduleRow};
use crate::jobs::statements::JobRow;
use crate::jobs::{Job, JobError, JobKind, Span};

/// Adds a schedule; returns it.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::json;
/// use threadline_core::instant::Tz;
/// use threadline_export::jobs::JobKind;
/// use threadline_export::schedules::{self, NewSchedule};
///
/// let checks = json!({ "check": "coverage" });
/// let nightly = NewSchedule::new("nightly".parse()?, "0 2 * * *".parse()?, Tz::UTC, JobKind::Check, checks);
/// println!("due at {}", schedules::add(conn, &nightly).await?.next_due_at);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ScheduleError`].
pub async fn add(
    conn: &mut AsyncPgConnection,
    schedule: &NewSchedule,
) -> Result<Schedule, ScheduleError> {
    schedule.validate()?;
    conn.transaction(async |conn| {
        let now: InstantRow = statements::now().get_result(conn).await?;
        let next = schedule.cron.next_after(now.value, schedule.zone)?;
        if statements::add(schedule, next).execute(conn).await? == 0 {
            return Err(ScheduleError::Exists(schedule.name.clone()));
        }
        let row: ScheduleRow = statements::find(&schedule.name).get_result(conn).await?;
        Ok(row.try_into()?)
    })
    .await
}

/// Lists the schedules by name.
///
/// # Errors
/// When the database reports an error.
pub async fn list(conn: &mut AsyncPgConnection) -> Result<Vec<Schedule>, ScheduleError> {
    let rows: Vec<ScheduleRow> = statements::list().load(conn).await?;
    let schedules = rows.into_iter().map(Schedule::try_from);
    Ok(schedules.collect::<Result<_, _>>()?)
}

/// Finds a schedule; none if there is none of this name.
///
/// # Errors
/// When the database reports an error.
pub async fn find(
    conn: &mut AsyncPgConnection,
    name: &ScheduleName,
) -> Result<Option<Schedule>, ScheduleError> {
    let row: Option<ScheduleRow> = statements::find(name).get_result(conn).await.optional()?;
    Ok(row.map(Schedule::try_from).transpose()?)
}

/// Pauses a schedule: it enqueues no jobs until it is resumed.
///
/// # Errors
/// [`ScheduleError::NotFound`], or when the database reports an error.
pub async fn pause(conn: &mut AsyncPgConnection, name: &ScheduleName) -> Result<(), ScheduleError> {
    let paused = statements::pause(name.as_str()).execute(conn).await?;
    found(paused, name)
}

/// Resumes a schedule. Times that passed while it was paused are not due any more.
///
/// # Errors
/// [`ScheduleError::NotFound`], or when the database reports an error.
pub async fn resume(
    conn: &mut AsyncPgConnection,
    name: &ScheduleName,
) -> Result<(), ScheduleError> {
    conn.transaction(async |conn| {
        let (schedule, now) = lock(conn, name).await?;
        if schedule.paused_at.is_some() {
            let (cron, zone) = times(&schedule)?;
            let next = cron.next_after(now, zone)?;
            statements::set_next_due(&schedule.name, next)
                .execute(conn)
                .await?;
        }
        Ok(())
    })
    .await
}

/// Removes a schedule. Its jobs stay.
///
/// # Errors
/// [`ScheduleError::NotFound`], or when the database reports an error.
pub async fn remove(
    conn: &mut AsyncPgConnection,
    name: &ScheduleName,
) -> Result<(), ScheduleError> {
    let removed = statements::remove(name).execute(conn).await?;
    found(removed, name)
}

/// Enqueues a job of a schedule now, unless one is queued or running; returns it. An export has the period from the
/// last time of the schedule until now. The schedule stays due as before.
///
/// # Errors
/// [`ScheduleError::NotFound`], or when the database reports an error.
pub async fn run_now(
    conn: &mut AsyncPgConnection,
    name: &ScheduleName,
) -> Result<Job, ScheduleError> {
    conn.transaction(async |conn| {
        let (schedule, now) = lock(conn, name).await?;
        let open: Option<JobRow> = statements::open_job(name)
            .get_result(conn)
            .await
            .optional()?;
        if let Some(row) = open {
            return Ok(row.try_into()?);
        }
        let (cron, zone) = times(&schedule)?;
        let from = cron.last_before(now, zone)?;
        let request = job_request(&schedule, from, now);
        let row: JobRow = statements::enqueue(&schedule, request, now)
            .get_result(conn)
            .await?;
        Ok(row.try_into()?)
    })
    .await
}

/// Enqueues the jobs of due schedules of these kinds.
pub(crate) async fn enqueue_due(
    conn: &mut AsyncPgConnection,
    kinds: &[JobKind],
) -> Result<(), JobError> {
    while conn
        .transaction(async |conn| enqueue_next(conn, kinds).await)
        .await?
    {}
    Ok(())
}

/// Enqueues the job of the schedule that has been due for the longest time; returns whether there was one. A
/// schedule that cannot be read is paused.
async fn enqueue_next(
    conn: &mut AsyncPgConnection,
    kinds: &[JobKind],
) -> Result<bool, ScheduleError> {
    let due = statements::lock_due(kinds);
    let row: Option<ScheduleRow> = due.get_result(conn).await.optional()?;
    let Some(row) = row else {
        return Ok(false);
    };
    let (name, now) = (row.name.clone(), row.read_at);
    let next = Schedule::try_from(row)
        .map_err(ScheduleError::from)
        .and_then(|schedule| Ok((next_job(&schedule, now)?, schedule)));
    let Ok((next, schedule)) = next else {
        telemetry::worker_failed("invalid_schedule");
        statements::pause(&name).execute(conn).await?;
        return Ok(true);
    };
    let job: Option<JobRow> = statements::enqueue(&schedule, next.request, next.due_at)
        .get_result(conn)
        .await
        .optional()?;
    statements::set_next_due(&name, next.next_due_at)
        .execute(conn)
        .await?;
    if job.is_some() {
        telemetry::schedule_due(schedule.kind.as_str());
    }
    Ok(true)
}

struct NextJob {
    due_at: DateTime<Utc>,
    request: Value,
    next_due_at: DateTime<Utc>,
}

/// The job for all times that passed, with the period from the time before the first of them to the last one.
fn next_job(schedule: &Schedule, now: DateTime<Utc>) -> Result<NextJob, ScheduleError> {
    let (cron, zone) = times(schedule)?;
    let from = cron.last_before(schedule.next_due_at, zone)?;
    // Cron times are whole seconds.
    let last = cron.last_before(now + TimeDelta::seconds(1), zone)?;
    let due_at = last.max(schedule.next_due_at);
    Ok(NextJob {
        due_at,
        request: job_request(schedule, from, due_at),
        next_due_at: cron.next_after(now, zone)?,
    })
}

/// The request of a job: that of the schedule, for exports with the window of the period.
fn job_request(schedule: &Schedule, from: DateTime<Utc>, until: DateTime<Utc>) -> Value {
    let mut request = schedule.request.clone();
    if schedule.kind != JobKind::Export {
        return request;
    }
    // As JSON, because another worker can have formats that this one does not have.
    let since_last = json!(Span::SinceLast);
    if request.get("span") != Some(&since_last) {
        request["span"] = json!(Span::PreviousPeriod);
        request["filters"]["from"] = json!(InstantInput::from(from).as_str());
        // The end of a window is inclusive.
        let end = until - TimeDelta::microseconds(1);
        request["filters"]["to"] = json!(InstantInput::from(end).as_str());
    }
    request
}

fn times(schedule: &Schedule) -> Result<(Cron, Tz), ScheduleError> {
    let cron: Cron = schedule.cron.parse()?;
    let zone = parse_zone(&schedule.time_zone)
        .map_err(|error| diesel::result::Error::DeserializationError(Box::new(error)))?;
    Ok((cron, zone))
}

async fn lock(
    conn: &mut AsyncPgConnection,
    name: &ScheduleName,
) -> Result<(Schedule, DateTime<Utc>), ScheduleError> {
    let row: Option<ScheduleRow> = statements::lock(name).get_result(conn).await.optional()?;
    let row = row.ok_or_else(|| ScheduleError::NotFound(name.clone()))?;
    let now = row.read_at;
    Ok((row.try_into()?, now))
}

fn found(rows: usize, name: &ScheduleName) -> Result<(), ScheduleError> {
    if rows == 0 {
        Err(ScheduleError::NotFound(name.clone()))
    } else {
        Ok(())
    }
}
