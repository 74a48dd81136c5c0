//! A run of the archive.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::Serialize;
use threadline_core::telemetry;
use threadline_diesel::evidence::{CheckResult, EvidenceSubject, Outcome, record_check_result};

use super::ArchiveError;
use super::day::{Done, Task, archive_day};
use super::layout::{ArchiveFile, day_start, next_day};
use super::plan::{Plan, plan};
use super::trail::{next_record, seal_state};
use crate::snapshot;
use crate::storage::Storage;

/// How long a run waits for the sealer, whose usual pause is a minute.
const SEALER_WAIT: Duration = Duration::from_secs(90);

/// The pause between two looks at the state of the sealer.
const SEALER_PAUSE: Duration = Duration::from_millis(500);

/// The options of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    storage: String,
    before: Option<NaiveDate>,
    wait: Duration,
}

impl RunOptions {
    /// Archives all days that have ended. The name of the storage is recorded in evidence.
    #[must_use]
    pub fn new(storage: impl Into<String>) -> Self {
        Self {
            storage: storage.into(),
            before: None,
            wait: SEALER_WAIT,
        }
    }

    /// Archives the days before one, in UTC. By default the day of the server's clock.
    #[must_use]
    pub fn before(mut self, day: NaiveDate) -> Self {
        self.before = Some(day);
        self
    }

    /// Sets how long to wait until the sealer has sealed the last record. By default 90 seconds.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

/// Progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunProgress {
    /// The day that is being archived.
    pub day: NaiveDate,
    /// The number of records of the current file that were written.
    pub rows: u64,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ArchiveRun {
    /// The days whose files were written.
    pub days: Vec<ArchivedDay>,
    /// Archived days of which values were erased that the files still have, and whose records are no longer all in the
    /// trail: restore them, run the erasure again, then the archive.
    pub pending: Vec<NaiveDate>,
    /// All records before this instant are archived, except those that retention had removed.
    pub archived_to: DateTime<Utc>,
}

/// A day whose files were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ArchivedDay {
    /// The day.
    pub day: NaiveDate,
    /// Why.
    pub work: DayWork,
    /// The number of new files.
    pub files: u64,
    /// The number of records in them.
    pub rows: u64,
    /// Their size.
    pub bytes: u64,
}

/// Why the files of a day were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DayWork {
    /// The day was not archived.
    New,
    /// Records of the day were made or sealed after it was archived, such as a transaction that began before midnight.
    Extended,
    /// Values of the day were erased.
    Rewritten,
}

/// Archives the days that have ended and are not archived, and writes those again of which values were erased.
///
/// Each day is a transaction of its own, which compares every record with its seal, uploads the files, reads them back
/// and compares them again, and then writes the manifest. A run that was killed leaves a day without manifest, which the
/// next run archives. At the end a passing record of evidence says up to when records are archived. The connection must
/// not be in a transaction. Its role needs SELECT on the trail and the tables of the seals, and EXECUTE on
/// `seal_fields(jsonb)` and `record_check(jsonb)`.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_export::archive::{self, RunOptions};
/// use threadline_export::storage::Storage;
///
/// let storage = Storage::local("/var/lib/app/archive")?;
/// let run = archive::run(conn, &storage, &RunOptions::new("local"), |_| {}).await?;
/// println!("archived {} days", run.days.len());
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ArchiveError`]. Days that were archived before the error stay archived.
pub async fn run(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    options: &RunOptions,
    mut progress: impl FnMut(RunProgress) + Send,
) -> Result<ArchiveRun, ArchiveError> {
    let outcome = run_days(conn, storage, options, &mut progress).await;
    match &outcome {
        Ok(run) => {
            let (rows, bytes) = run.totals();
            telemetry::archive_finished(run.days.len(), run.pending.len(), rows, bytes);
        }
        Err(error) => {
            if error.is_bad_archive() {
                let failed = check_result(options, Outcome::Fail).summary(error.kind());
                // The first error is returned; the evidence of it may be refused for the same reason.
                let _: Result<(), ArchiveError> = record(conn, &failed).await;
            }
            telemetry::archive_failed(error.kind());
        }
    }
    outcome
}

async fn run_days(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    options: &RunOptions,
    progress: &mut (impl FnMut(RunProgress) + Send),
) -> Result<ArchiveRun, ArchiveError> {
    storage.require_directory()?;
    let (before, planned_at) = wait_for_seals(conn, options).await?;
    let plan = plan(conn, storage).await?;
    let mut run = ArchiveRun {
        days: Vec::new(),
        pending: Vec::new(),
        archived_to: day_start(plan.next_day.map_or(before, |next| next.max(before))),
    };
    for task in &plan.tasks {
        run.add(conn, storage, task, progress).await?;
    }
    let mut from = plan.next_day.unwrap_or(first_day());
    while let Some(instant) = find_next(conn, day_start(from)).await? {
        let day = instant.date_naive();
        if day >= before {
            break;
        }
        let task = Task {
            day,
            work: DayWork::New,
            manifest: None,
        };
        run.add(conn, storage, &task, progress).await?;
        from = next_day(day);
    }
    run.record(conn, options, &plan, planned_at).await?;
    Ok(run)
}

impl ArchiveRun {
    async fn add(
        &mut self,
        conn: &mut AsyncPgConnection,
        storage: &Storage,
        task: &Task,
        progress: &mut (impl FnMut(RunProgress) + Send),
    ) -> Result<(), ArchiveError> {
        let day = task.day;
        let mut progress = |rows| progress(RunProgress { day, rows });
        match archive_day(conn, storage, task, &mut progress).await? {
            Done::Pending => self.pending.push(day),
            Done::Written(files) if !files.is_empty() => {
                self.days.push(ArchivedDay::new(task, &files));
            }
            Done::Written(_) | Done::Nothing => {}
        }
        Ok(())
    }

    /// The number of records and bytes that were written.
    fn totals(&self) -> (u64, u64) {
        let rows = self.days.iter().map(|day| day.rows).sum();
        (rows, self.days.iter().map(|day| day.bytes).sum())
    }

    async fn record(
        &self,
        conn: &mut AsyncPgConnection,
        options: &RunOptions,
        plan: &Plan,
        planned_at: DateTime<Utc>,
    ) -> Result<(), ArchiveError> {
        let (rows, bytes) = self.totals();
        let first = plan.first_day.or(self.days.iter().map(|it| it.day).min());
        let from = first.map_or(self.archived_to, day_start);
        let pending: Vec<String> = self.pending.iter().map(NaiveDate::to_string).collect();
        let passed = check_result(options, Outcome::Pass)
            .detail("days", self.days.len())
            .detail("files", self.days.iter().map(|it| it.files).sum::<u64>())
            .detail("rows", rows)
            .detail("bytes", bytes)
            .detail("pending", pending)
            // Later erasures are left to the next run.
            .detail("planned_at", planned_at.to_rfc3339())
            .observed(from, self.archived_to);
        record(conn, &passed).await
    }
}

impl ArchivedDay {
    fn new(task: &Task, files: &[ArchiveFile]) -> Self {
        Self {
            day: task.day,
            work: task.work,
            files: files.len() as u64,
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
        }
    }
}

/// Days before this one are not archived: the clock was wrong.
fn first_day() -> NaiveDate {
    DateTime::UNIX_EPOCH.date_naive()
}

fn check_result(options: &RunOptions, outcome: Outcome) -> CheckResult {
    let subject = EvidenceSubject::ArchiveVerification;
    CheckResult::new(subject, "archive_verification", outcome)
        .subject_ref("storage", options.storage.as_str())
}

async fn record(conn: &mut AsyncPgConnection, result: &CheckResult) -> Result<(), ArchiveError> {
    conn.transaction(async |conn| record_check_result(conn, result).await)
        .await?;
    Ok(())
}

/// Waits until all records up to the last one are sealed and in a checkpoint: ids are assigned before a commit, and only
/// settled records are sealed, so those of the days that have ended are then complete. Returns the day before which
/// days are archived, and the server's clock at the beginning.
async fn wait_for_seals(
    conn: &mut AsyncPgConnection,
    options: &RunOptions,
) -> Result<(NaiveDate, DateTime<Utc>), ArchiveError> {
    let deadline = tokio::time::Instant::now() + options.wait;
    let mut state = read_state(conn).await?;
    let planned_at = state.read_at;
    let before = options.before.unwrap_or(state.today);
    if before > state.today {
        return Err(ArchiveError::NotEnded {
            before,
            today: state.today,
        });
    }
    let last_id = state.last_id;
    while state.checkpointed_to < last_id {
        if tokio::time::Instant::now() >= deadline {
            return Err(ArchiveError::NotSealed {
                sealed_to: state.checkpointed_to,
                last_id,
            });
        }
        tokio::time::sleep(SEALER_PAUSE.min(options.wait)).await;
        state = read_state(conn).await?;
    }
    Ok((before, planned_at))
}

async fn read_state(conn: &mut AsyncPgConnection) -> Result<super::trail::SealState, ArchiveError> {
    snapshot::begin(conn).await?;
    let outcome = seal_state(conn).await;
    snapshot::end(conn, outcome).await
}

async fn find_next(
    conn: &mut AsyncPgConnection,
    from: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, ArchiveError> {
    snapshot::begin(conn).await?;
    let outcome = next_record(conn, from).await;
    snapshot::end(conn, outcome).await
}
