//! What an erasure reached, and what it did not.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;
use uuid::Uuid;

use super::ErasureError;
use super::plan::check_installed;
use super::run::ErasureRun;
use super::statements::{self, ArchiveRow, ReachRow, RunRow};

/// The report of an erasure.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ErasureReport {
    /// The run.
    pub run: ErasureRun,
    /// The copies of the data, and what became of each.
    pub reach: Vec<Reach>,
}

/// A copy of the data.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Reach {
    /// The copy.
    pub place: String,
    /// What became of it.
    #[serde(flatten)]
    pub state: ReachState,
    /// What to do, or why nothing is to do.
    pub note: String,
}

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[non_exhaustive]
pub enum ReachState {
    /// The data is erased.
    Done,
    /// The erasure is not finished.
    Unfinished,
    /// The copy expires.
    By {
        /// The last copy expires then.
        at: DateTime<Utc>,
    },
    /// The library cannot reach it.
    OutOfReach,
}

/// The report of a run. `backup_retention` is how long the host keeps backups.
///
/// # Errors
/// [`ErasureError::NoSuchRun`], or when the database reports an error.
pub async fn erasure_report<C>(
    conn: &mut C,
    id: Uuid,
    backup_retention: Option<TimeDelta>,
) -> Result<ErasureReport, ErasureError>
where
    C: AsyncConnection<Backend = Pg>,
{
    check_installed(conn).await?;
    let rows: Vec<RunRow> = statements::run(id).load(conn).await?;
    let row = rows.into_iter().next().ok_or(ErasureError::NoSuchRun(id))?;
    let run = ErasureRun::try_from(row)?;
    let copies: ReachRow = statements::reach().get_result(conn).await?;
    let archives: Vec<ArchiveRow> = statements::archives().load(conn).await?;
    let reach = reach(&run, &copies, &archives, backup_retention);
    Ok(ErasureReport { run, reach })
}

fn item(place: &str, state: ReachState, note: &str) -> Reach {
    Reach {
        place: place.to_owned(),
        state,
        note: note.to_owned(),
    }
}

/// The archives of the trail, each as two copies if it has days that are no longer in the trail.
fn archived(run: &ErasureRun, archives: &[ArchiveRow]) -> Vec<Reach> {
    const RESTORE: &str = "restore these months, run the erasure again, then `archive run`";
    let mut reach = Vec::new();
    for archive in archives {
        let place = format!("archive {}", archive.storage);
        let is_rewritten = run.finished_at.is_some_and(|at| archive.checked_at > at);
        let (state, note) = if !is_rewritten {
            let note = "values that were archived before are rewritten by the next `archive run`";
            (ReachState::Unfinished, note)
        } else if archive.pending_days > 0 {
            (ReachState::Unfinished, RESTORE)
        } else {
            (
                ReachState::Done,
                "the days with erased records are rewritten",
            )
        };
        reach.push(item(&place, state, note));
        if archive.has_removed_days {
            let place = format!("{place}, days that are no longer in the trail");
            reach.push(item(&place, ReachState::OutOfReach, RESTORE));
        }
    }
    reach
}

fn reach(
    run: &ErasureRun,
    copies: &ReachRow,
    archives: &[ArchiveRow],
    backup_retention: Option<TimeDelta>,
) -> Vec<Reach> {
    let done = match run.finished_at {
        Some(_) => ReachState::Done,
        None => ReachState::Unfinished,
    };
    let mut reach = vec![
        item(
            "trail",
            done,
            "values, actors and the chosen parts of the context; schedules of the person are paused",
        ),
        item("standby servers", done, "replication copies the erasure"),
    ];
    reach.extend(archived(run, archives));
    if copies.stored_results > 0 {
        let state = match copies.results_expire_at {
            Some(at) => ReachState::By { at },
            None => ReachState::OutOfReach,
        };
        let note = format!(
            "{} files of background exports are stored; remove those with the person",
            copies.stored_results
        );
        reach.push(item("stored exports", state, &note));
    }
    for consumer in &copies.consumers {
        let place = format!("feed consumer {consumer}");
        let note = "delivered changes have the values; ask its receiver to erase them";
        reach.push(item(&place, ReachState::OutOfReach, note));
    }
    let ended_at = run.finished_at.unwrap_or(run.updated_at);
    let (state, note) = match backup_retention.and_then(|kept| ended_at.checked_add_signed(kept)) {
        Some(at) => (ReachState::By { at }, "after a restore: erase replay"),
        None => (
            ReachState::OutOfReach,
            "the retention of backups is not given; after a restore: erase replay",
        ),
    };
    reach.push(item("backups and archived WAL", state, note));
    reach.extend([
        item(
            "row keys, and correlation, request and job ids",
            ReachState::OutOfReach,
            "they connect records and stay; a key must not be personal data",
        ),
        item(
            "actors of evidence and baseline runs; filters of jobs, schedules and other actors' views",
            ReachState::OutOfReach,
            "they name the actor without a pseudonym; evidence is append-only",
        ),
        item(
            "text of others that mentions the person",
            ReachState::OutOfReach,
            "find it with timeline --scan-values, and erase it by SQL",
        ),
        item(
            "downloaded files, logs and the application's tables",
            ReachState::OutOfReach,
            "they are not part of the trail",
        ),
    ]);
    reach
}
