//! The plan of checks: how often each runs, and which are due.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;

use super::EvidenceError;
use super::check::{Check, CheckOptions, hours};
use super::recording::require_migration;
use super::run::{CheckRun, run_check};
use super::statements::{self, Instant, LastRunRow};

/// The least interval of a check.
const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// The greatest interval of a check: 400 days.
const MAX_INTERVAL: Duration = hours(400 * 24);

/// Which checks run, and how often.
///
/// A result is valid for one and a half intervals: if one run is missing, the result becomes out of date before the
/// next run.
///
/// ```
/// use threadline_diesel::evidence::{Check, CheckOptions, EvidencePlan, days};
///
/// let plan = EvidencePlan::new(CheckOptions::registered()?.application_role("app"))
///     .every(Check::Coverage, days(1))
///     .every(Check::Roles, days(7));
/// # let _ = plan;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EvidencePlan {
    options: CheckOptions,
    checks: Vec<(Check, Duration)>,
}

impl EvidencePlan {
    /// A plan without checks, and the options of its checks.
    #[must_use]
    pub fn new(options: CheckOptions) -> Self {
        Self {
            options,
            checks: Vec::new(),
        }
    }

    /// Adds a check, or replaces its interval. An interval has at least a minute and at most 400 days.
    #[must_use]
    pub fn every(mut self, check: Check, interval: Duration) -> Self {
        self.checks.retain(|(planned, _)| *planned != check);
        let interval = interval.clamp(MIN_INTERVAL, MAX_INTERVAL);
        self.checks.push((check, interval));
        self
    }

    /// The checks with their intervals, in the order in which they were added.
    pub fn checks(&self) -> impl Iterator<Item = (Check, Duration)> {
        self.checks.iter().copied()
    }

    /// The options of a check, with the validity of its result. Of a check that is not planned, they are those of the
    /// plan.
    #[must_use]
    pub fn options(&self, check: Check) -> CheckOptions {
        let planned = self.checks.iter().find(|(planned, _)| *planned == check);
        match planned {
            Some((_, interval)) => self.options.clone().valid_for(validity(*interval)),
            None => self.options.clone(),
        }
    }
}

/// How long the result of a check with this interval is valid.
fn validity(interval: Duration) -> Duration {
    interval + interval / 2
}

/// Whether a check is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DueState {
    /// It ran within its interval.
    Current,
    /// Its interval is over; its last result is still valid.
    Due,
    /// Its last result is out of date, or it never ran to its end.
    Overdue,
}

impl DueState {
    /// The name in JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Due => "due",
            Self::Overdue => "overdue",
        }
    }
}

/// A planned check, its last run and when the next is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckSchedule {
    /// The check.
    pub check: Check,
    /// The interval in seconds.
    pub interval_seconds: u64,
    /// When it ran to its end last.
    pub last_run_at: Option<DateTime<Utc>>,
    /// When it is due; none if it never ran to its end.
    pub due_at: Option<DateTime<Utc>>,
    /// Whether it is due.
    pub state: DueState,
}

impl CheckSchedule {
    fn new(
        check: Check,
        interval: Duration,
        last_run_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Self {
        let after = |duration| Some(last_run_at? + TimeDelta::from_std(duration).ok()?);
        let due_at = after(interval);
        let is_past = |instant: Option<DateTime<Utc>>| instant.is_none_or(|at| at <= now);
        let state = if is_past(after(validity(interval))) {
            DueState::Overdue
        } else if is_past(due_at) {
            DueState::Due
        } else {
            DueState::Current
        };
        Self {
            check,
            interval_seconds: interval.as_secs(),
            last_run_at,
            due_at,
            state,
        }
    }
}

/// Reads when the checks of a plan ran last, and which are due by the clock of the server.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::{Check, CheckOptions, EvidencePlan, days, due_checks};
///
/// let plan = EvidencePlan::new(CheckOptions::registered()?).every(Check::Coverage, days(1));
/// for schedule in due_checks(conn, &plan).await? {
///     println!("{}: {}", schedule.check, schedule.state.as_str());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`EvidenceError`] when migration `threadline_0002` is not applied, or the database reports an error.
pub async fn due_checks<C>(
    conn: &mut C,
    plan: &EvidencePlan,
) -> Result<Vec<CheckSchedule>, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    require_migration(conn).await?;
    let names = plan.checks().map(|(check, _)| check.as_str().to_owned());
    let runs: Vec<LastRunRow> = statements::last_runs(names.collect()).load(conn).await?;
    let now = statements::now().get_result::<Instant>(conn).await?.instant;
    let schedules = plan.checks().map(|(check, interval)| {
        let run = runs.iter().find(|run| run.check_name == check.as_str());
        CheckSchedule::new(check, interval, run.map(|run| run.recorded_at), now)
    });
    Ok(schedules.collect())
}

/// Runs the checks of a plan that are due, one after the other, and records their results.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::{Check, CheckOptions, EvidencePlan, days, run_due};
///
/// let plan = EvidencePlan::new(CheckOptions::registered()?).every(Check::Coverage, days(1));
/// for run in run_due(conn, &plan).await? {
///     println!("{}: {}", run.check, run.result.summary_status());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`run_check`]; the checks after that one are not run.
pub async fn run_due<C>(conn: &mut C, plan: &EvidencePlan) -> Result<Vec<CheckRun>, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut runs = Vec::new();
    for schedule in due_checks(conn, plan).await? {
        if schedule.state != DueState::Current {
            let options = plan.options(schedule.check);
            runs.push(run_check(conn, schedule.check, &options).await?);
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::days;

    #[test]
    fn a_check_is_due_after_its_interval_and_overdue_after_one_and_a_half() {
        let now: DateTime<Utc> = "2026-03-10T00:00:00Z".parse().unwrap();
        let state = |hours: Option<i64>| {
            let last = hours.map(|hours| now - TimeDelta::hours(hours));
            CheckSchedule::new(Check::Coverage, days(1), last, now).state
        };
        assert_eq!(state(Some(23)), DueState::Current);
        assert_eq!(state(Some(24)), DueState::Due);
        assert_eq!(state(Some(35)), DueState::Due);
        assert_eq!(state(Some(36)), DueState::Overdue);
        assert_eq!(state(None), DueState::Overdue);
    }
}
