//! What an erasure reached, and what it did not.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;
use uuid::Uuid;

use super::ErasureError;
use super::plan::check_installed;
use super::run::ErasureRun;
use super::statements::{self, ReachRow, RunRow};

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
    let reach = reach(&run, &copies, backup_retention);
    Ok(ErasureReport { run, reach })
}

fn reach(run: &ErasureRun, copies: &ReachRow, backup_retention: Option<TimeDelta>) -> Vec<Reach> {
    let item = |place: &str, state, note: &str| Reach {
        place: place.to_owned(),
        state,
        note: note.to_owned(),
    };
    let done = match run.finished_at {
        Some(_) => ReachState::Done,
        None => ReachState::Unfinished,
    };
    let mut reach = vec![
        item(
            "trail",
            done,
            "values, actors and the chosen parts of the context",
        ),
        item("standby servers", done, "replication copies the erasure"),
    ];
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
            "actors of evidence, jobs, schedules and baseline runs; filters of other actors' views",
            ReachState::OutOfReach,
            "they name the actor without a pseudonym; evidence is append-only",
        ),
        item(
            "text of others that mentions the person",
            ReachState::OutOfReach,
            "find it with timeline --scan-values, and erase it by SQL",
        ),
        item(
            "downloaded files, archived partitions, logs and the application's tables",
            ReachState::OutOfReach,
            "they are not part of the trail",
        ),
    ]);
    reach
}
