//! Executes an erasure in batches.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;
use uuid::Uuid;

use super::ErasureError;
use super::plan::{ErasurePlan, TablePlan, check_installed};
use super::statements::{
    self, ContextRecords, ErasedChangesRow, ErasedContextRow, ErasedRow, ErasedWorkRow, RunRow,
};
use crate::json::StoredJson;
use crate::retention::execute::{load, load_one};
use crate::transaction_state::is_in_transaction;

/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// The most records of a batch.
const MAX_BATCH: u32 = 10_000;

/// The reason of an erasure, which every record of it has: a ticket, never data of the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureReason(String);

/// A text is not the reason of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reason has 1 to {MAX_REASON_BYTES} bytes without NUL; name a ticket: erasure request 17"
)]
pub struct InvalidReason;

impl FromStr for ErasureReason {
    type Err = InvalidReason;

    fn from_str(text: &str) -> Result<Self, InvalidReason> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_REASON_BYTES || text.contains('\0') {
            return Err(InvalidReason);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ErasureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an erasure works through the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EraseOptions {
    batch: u32,
    pause: Duration,
}

impl Default for EraseOptions {
    fn default() -> Self {
        Self {
            batch: 500,
            pause: Duration::ZERO,
        }
    }
}

impl EraseOptions {
    /// Sets the number of records of a batch, 1 to 10,000; 500 unless set.
    #[must_use]
    pub fn batch(mut self, records: u32) -> Self {
        self.batch = records.clamp(1, MAX_BATCH);
        self
    }

    /// Sets the pause between two batches; none unless set.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }
}

/// A batch that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErasureStep {
    /// What was erased: `values` of changes, actors of `changes`, `transactions`, `actions`, `jobs`, `schedules` or
    /// `views`.
    pub records: &'static str,
    /// The number of records.
    pub count: i64,
}

/// An erasure: its state and what it did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ErasureRun {
    /// The id.
    pub id: Uuid,
    /// The id of the pseudonym: actors are `user:` and this text.
    pub pseudonym: String,
    /// The reason.
    pub reason: String,
    /// The numbers of erased records by kind. A transaction or action by the person and on their behalf counts twice.
    pub progress: StoredJson,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The session user that began it.
    pub started_by: String,
    /// When it committed a batch last.
    pub updated_at: DateTime<Utc>,
    /// When it ended; none while it runs or was interrupted.
    pub finished_at: Option<DateTime<Utc>>,
}

impl TryFrom<RunRow> for ErasureRun {
    type Error = diesel::result::Error;

    fn try_from(row: RunRow) -> Result<Self, Self::Error> {
        Ok(Self {
            id: row.id,
            pseudonym: row.pseudonym,
            reason: row.reason,
            progress: serde_json::from_str(&row.progress)
                .map_err(|error| diesel::result::Error::DeserializationError(Box::new(error)))?,
            started_at: row.started_at,
            started_by: row.started_by,
            updated_at: row.updated_at,
            finished_at: row.finished_at,
        })
    }
}

/// What the statements of a run need of it.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) id: Uuid,
    pub(super) pseudonym: String,
    pub(super) reason: String,
}

/// Erases the data of a plan in batches, each of which is one transaction and is recorded. Calls `progress` after
/// each batch. A run that was interrupted is continued under its pseudonym and its reason by the next call for the
/// same subject.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::actor::ActorType;
/// use threadline_diesel::erasure::{EraseOptions, SubjectMap, erase, plan_erasure};
///
/// let map = SubjectMap::new().actor(ActorType::User).row("members".parse()?, ["email"]);
/// let plan = plan_erasure(conn, &map, &"42".parse()?).await?;
/// let reason = "erasure request 17".parse()?;
/// let run = erase(conn, &plan, &reason, EraseOptions::default(), &mut |step| println!("{step:?}")).await?;
/// println!("{}", run.progress.as_str());
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErasureError::InTransaction`], or when the database reports an error; batches before it stay committed.
pub async fn erase<C>(
    conn: &mut C,
    plan: &ErasurePlan,
    reason: &ErasureReason,
    options: EraseOptions,
    progress: &mut (dyn FnMut(ErasureStep) + Send),
) -> Result<ErasureRun, ErasureError>
where
    C: AsyncConnection<Backend = Pg>,
{
    // Steps are committed one by one.
    if is_in_transaction(conn)? {
        return Err(ErasureError::InTransaction);
    }
    let row: RunRow = load_one(conn, statements::begin(&plan.subject, reason)).await?;
    let run = Run {
        id: row.id,
        pseudonym: row.pseudonym,
        reason: row.reason,
    };
    let mut work = Work {
        run: &run,
        options,
        progress,
    };
    for table in &plan.tables {
        work.erase_values(conn, table).await?;
    }
    for actor in &plan.actors {
        work.erase_changes(conn, actor).await?;
        work.erase_context(conn, plan, actor).await?;
    }
    let found: ErasedWorkRow =
        load_one(conn, statements::erase_work(&run, plan.actors.clone())).await?;
    work.report("jobs", found.jobs).await;
    work.report("schedules", found.schedules).await;
    let views: ErasedRow =
        load_one(conn, statements::remove_views(&run, plan.actors.clone())).await?;
    work.report("views", views.records).await;
    let row: RunRow = load_one(conn, statements::finish(&run)).await?;
    Ok(row.try_into()?)
}

/// The newest runs, newest first.
///
/// # Errors
/// When the database reports an error.
pub async fn erasure_runs<C>(conn: &mut C, limit: u32) -> Result<Vec<ErasureRun>, ErasureError>
where
    C: AsyncConnection<Backend = Pg>,
{
    check_installed(conn).await?;
    let rows: Vec<RunRow> = statements::runs(i64::from(limit)).load(conn).await?;
    let runs: Result<Vec<_>, _> = rows.into_iter().map(ErasureRun::try_from).collect();
    Ok(runs?)
}

/// The batches of a run.
struct Work<'a> {
    run: &'a Run,
    options: EraseOptions,
    progress: &'a mut (dyn FnMut(ErasureStep) + Send),
}

impl Work<'_> {
    fn batch(&self) -> i64 {
        i64::from(self.options.batch)
    }

    async fn report(&mut self, records: &'static str, count: i64) {
        (self.progress)(ErasureStep { records, count });
        tokio::time::sleep(self.options.pause).await;
    }

    async fn erase_values<C>(&mut self, conn: &mut C, table: &TablePlan) -> Result<(), ErasureError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let batch = usize::try_from(self.options.batch).unwrap_or(usize::MAX);
        for places in table.places.chunks(batch) {
            let columns = table.columns.clone();
            let places = places.iter().copied().unzip();
            let query = statements::erase_values(self.run, &table.table, columns, places);
            let erased: ErasedRow = load_one(conn, query).await?;
            self.report("values", erased.records).await;
        }
        Ok(())
    }

    async fn erase_changes<C>(&mut self, conn: &mut C, actor: &str) -> Result<(), ErasureError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let mut after = (DateTime::UNIX_EPOCH, 0);
        loop {
            let query = statements::erase_changes(self.run, actor, after, self.batch());
            let erased: Vec<ErasedChangesRow> = load(conn, query).await?;
            let Some(erased) = erased.into_iter().next() else {
                return Ok(());
            };
            after = (erased.last_at, erased.last_id);
            self.report("changes", erased.records).await;
        }
    }

    /// Erases the fields of transactions and actions by the actor, then of those on their behalf.
    async fn erase_context<C>(
        &mut self,
        conn: &mut C,
        plan: &ErasurePlan,
        actor: &str,
    ) -> Result<(), ErasureError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        for records in ["transactions", "actions"] {
            for column in ["actor", "on_behalf_of"] {
                let target = ContextRecords { records, column };
                let fields = fields(plan, target);
                let mut after = Uuid::nil();
                loop {
                    let erased = (fields.clone(), plan.map.meta_keys.clone());
                    let page = (after, self.batch());
                    let query = statements::erase_context(self.run, target, actor, page, erased);
                    let erased: Vec<ErasedContextRow> = load(conn, query).await?;
                    let Some(erased) = erased.into_iter().next() else {
                        break;
                    };
                    after = erased.last_id;
                    self.report(records, erased.records).await;
                }
            }
        }
        Ok(())
    }
}

/// The fields to erase: the address of a transaction belongs to its actor, not to the represented one.
fn fields(plan: &ErasurePlan, target: ContextRecords) -> Vec<&'static str> {
    let chosen = plan
        .map
        .fields
        .iter()
        .copied()
        .filter(|field| match *field {
            "remote_addr" => target.records == "transactions" && target.column == "actor",
            _ => target.records == "actions",
        });
    std::iter::once(target.column).chain(chosen).collect()
}
