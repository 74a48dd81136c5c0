//! Recording the rows that are older than capture: as what they are, never as changes.
//!
//! A baseline walks through a table by its key, in bounded batches, each a transaction of its own,
//! while the application goes on writing. A row is recorded under a lock that keeps others from
//! changing it, and only if nothing is known of it by then; so it has either a baseline that comes
//! before all its changes, or the change that was captured meanwhile. It can be killed at any point:
//! the next one goes on.

mod calls;

pub(crate) mod blocking {
    //! On sync connections.
    super::calls::baseline_calls!(
        diesel::connection::LoadConnection<Backend = Pg>,
        diesel::RunQueryDsl
    );
}

#[cfg(feature = "async")]
pub(crate) mod nonblocking {
    //! On async connections.
    super::calls::baseline_calls!(
        diesel_async::AsyncConnection<Backend = Pg>,
        diesel_async::RunQueryDsl,
        async,
        await
    );
}

use std::num::NonZeroU32;
use std::time::Duration;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{BigInt, Bool, Integer, Jsonb, Nullable, Text};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use threadline_core::action::{Action, ActionId};
use threadline_core::context::AuditContext;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;
use threadline_core::work::open_document;

/// How many rows a batch has unless something else is asked for.
pub const DEFAULT_BATCH_SIZE: u32 = 1_000;

/// The most rows a batch can have: writers of these rows wait for it.
pub const MAX_BATCH_SIZE: u32 = 10_000;

/// Under which action baselines are recorded unless another is named.
pub const BASELINE_ACTION: &str = "threadline.baseline";

/// How long rows that others have locked are waited for unless something else is asked for.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);

/// A run remembers no more rows that others had locked, and stops: somebody locks the table.
const MAX_LEFT_BEHIND: usize = 100_000;

/// Which rows a baseline records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Selection {
    /// Those of which the trail knows nothing.
    #[default]
    Unknown,
    /// All of them, as they are: after a time in which changes may have gone by.
    All,
}

impl Selection {
    /// The name used in SQL, JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::All => "all",
        }
    }
}

/// A number of rows that a batch cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch has 1 to {MAX_BATCH_SIZE} rows, not {0}")]
pub struct InvalidBatchSize(pub u32);

/// How many rows a batch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize(u32);

impl BatchSize {
    /// A size from 1 to [`MAX_BATCH_SIZE`].
    ///
    /// # Errors
    /// [`InvalidBatchSize`] outside of that.
    pub fn new(rows: u32) -> Result<Self, InvalidBatchSize> {
        NonZeroU32::new(rows)
            .filter(|rows| rows.get() <= MAX_BATCH_SIZE)
            .map(|rows| Self(rows.get()))
            .ok_or(InvalidBatchSize(rows))
    }

    fn rows(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }
}

impl Default for BatchSize {
    fn default() -> Self {
        Self(DEFAULT_BATCH_SIZE)
    }
}

/// What is to be recorded, and who does it.
///
/// ```
/// use threadline_core::actor::ActorRef;
/// use threadline_core::context::AuditContext;
/// use threadline_diesel::baseline::{Baseline, BatchSize};
///
/// let context = AuditContext::new(ActorRef::admin("rita")?);
/// let baseline = Baseline::new("invoices".parse()?, context).batch_size(BatchSize::new(500)?);
/// # let _ = baseline;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Baseline {
    table: TableName,
    context: AuditContext,
    action: Option<Action>,
    selection: Selection,
    batch_size: BatchSize,
    patience: Duration,
}

impl Baseline {
    /// The rows of a table that nothing is known of, recorded by whoever the context names.
    #[must_use]
    pub fn new(table: TableName, context: AuditContext) -> Self {
        Self {
            table,
            context,
            action: None,
            selection: Selection::default(),
            batch_size: BatchSize::default(),
            patience: DEFAULT_PATIENCE,
        }
    }

    /// Under which action, and why; [`BASELINE_ACTION`] unless another is named.
    #[must_use]
    pub fn action(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    /// Which rows; those that nothing is known of, unless all are asked for.
    #[must_use]
    pub fn selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// How many rows a transaction looks at; [`DEFAULT_BATCH_SIZE`] unless set.
    #[must_use]
    pub fn batch_size(mut self, size: BatchSize) -> Self {
        self.batch_size = size;
        self
    }

    /// How long, at the end, rows that others have locked are waited for; ten seconds unless set.
    /// Nobody waits for the baseline in that time.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn begin(&self) -> Result<BoxedSqlQuery<'static, Pg, SqlQuery>, BaselineError> {
        if self.context.actor().is_none() {
            return Err(BaselineError::MissingActor);
        }
        let default = Action::new(BASELINE_ACTION).ok();
        let action = self.action.as_ref().or(default.as_ref());
        let work = open_document(
            &self.context,
            action.map(|action| (ActionId::generate(), action)),
        );
        Ok(diesel::sql_query(format!(
            "SELECT run, continues FROM {STORAGE_SCHEMA}.begin_baseline($1, $2, $3, $4)"
        ))
        .into_boxed::<Pg>()
        .bind::<Text, _>(self.table.schema().to_owned())
        .bind::<Text, _>(self.table.name().to_owned())
        .bind::<Text, _>(self.selection.as_str())
        .bind::<Jsonb, _>(work))
    }

    /// The next batch, or rows that an earlier one had to leave behind.
    fn batch(&self, run: i64, keys: Option<Value>) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
        diesel::sql_query(format!(
            "SELECT rows_seen, rows_recorded, left_behind, reached_end \
             FROM {STORAGE_SCHEMA}.baseline_batch($1, $2, $3)"
        ))
        .into_boxed::<Pg>()
        .bind::<BigInt, _>(run)
        .bind::<Nullable<Jsonb>, _>(keys)
        .bind::<Integer, _>(self.batch_size.rows())
    }
}

/// The query that ends a run, and says in which state.
fn end(run: i64) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    diesel::sql_query(format!("SELECT {STORAGE_SCHEMA}.end_baseline($1) AS state"))
        .into_boxed::<Pg>()
        .bind::<BigInt, _>(run)
}

/// A pause on the server, which is one on any kind of connection.
const PAUSE: &str = "SELECT pg_catalog.pg_sleep(0.1)";

/// A baseline could not be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// Nobody is named who does it.
    #[error("the context names no actor: a baseline is recorded by somebody")]
    MissingActor,
    /// The table is not captured, so a baseline of it would be wrong at once.
    #[error(
        "table {0} is not captured, so a baseline of it would be wrong at once: generate and \
         apply its capture migration first (gen-triggers)"
    )]
    NotCaptured(TableName),
    /// Its rows cannot be told apart.
    #[error(
        "table {0} has no key, so its rows cannot be told apart: add a primary key, then generate \
         and apply its capture migration again (gen-triggers)"
    )]
    NoKey(TableName),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

/// How far a baseline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BaselineProgress {
    /// How many rows were looked at.
    pub rows_seen: i64,
    /// How many were recorded.
    pub rows_recorded: i64,
    /// How many others have locked; they are tried again at the end.
    pub rows_left: i64,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, FromSqlRow)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RunState {
    /// It runs, or was killed.
    Running,
    /// It went through the whole table and left nothing out.
    Finished,
    /// It was stopped, or had to leave rows out. The next run goes on.
    Stopped,
    /// It was killed, and a later run went on; or a later run took the table over.
    Interrupted,
}

impl RunState {
    /// The name used in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
        }
    }
}

impl FromSql<Text, Pg> for RunState {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = std::str::from_utf8(value.as_bytes())?;
        [
            Self::Running,
            Self::Finished,
            Self::Stopped,
            Self::Interrupted,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| format!("`{text}` is no state of a baseline run").into())
    }
}

/// What came of a baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BaselineOutcome {
    /// The table.
    pub table: TableName,
    /// Its number in `audit_baseline_runs`.
    pub run: i64,
    /// The unfinished run that it went on with.
    pub continues: Option<i64>,
    /// How far it came.
    pub state: RunState,
    /// How many rows this run looked at.
    pub rows_seen: i64,
    /// How many it recorded.
    pub rows_recorded: i64,
    /// How many it had to leave out, because others had them locked all the time.
    pub rows_left: i64,
}

#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(crate) struct BegunRun {
    #[diesel(sql_type = BigInt)]
    run: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    continues: Option<i64>,
}

#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(crate) struct EndedRun {
    #[diesel(sql_type = Nullable<Text>)]
    state: Option<RunState>,
}

#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(crate) struct Batch {
    #[diesel(sql_type = BigInt)]
    rows_seen: i64,
    #[diesel(sql_type = BigInt)]
    rows_recorded: i64,
    /// The keys of rows that others had locked, as they were given to `baseline_batch`: texts.
    #[diesel(sql_type = Jsonb)]
    left_behind: Value,
    #[diesel(sql_type = Bool)]
    reached_end: bool,
}

impl Batch {
    fn left_behind(&mut self) -> Vec<Value> {
        match self.left_behind.take() {
            Value::Array(keys) => keys,
            _ => Vec::new(),
        }
    }
}

/// A run under way: what is done, and which rows wait.
#[derive(Debug)]
pub(crate) struct UnderWay {
    run: BegunRun,
    progress: BaselineProgress,
    waiting: Vec<Value>,
}

impl UnderWay {
    fn new(run: BegunRun) -> Self {
        Self {
            run,
            progress: BaselineProgress::default(),
            waiting: Vec::new(),
        }
    }

    /// Takes a batch of the walk into account. Returns whether the walk goes on.
    fn walked(&mut self, mut batch: Batch) -> bool {
        self.progress.rows_seen += batch.rows_seen;
        self.progress.rows_recorded += batch.rows_recorded;
        self.waiting.extend(batch.left_behind());
        self.count_waiting(0);
        !batch.reached_end && self.waiting.len() <= MAX_LEFT_BEHIND
    }

    /// Some of the rows that wait, to try them again.
    fn next_waiting(&mut self, size: BatchSize) -> Vec<Value> {
        let at_most = usize::try_from(size.0).unwrap_or(usize::MAX);
        let first = self.waiting.len().saturating_sub(at_most);
        self.waiting.split_off(first)
    }

    /// Takes rows that were tried again into account. Returns those that are still locked.
    fn tried(&mut self, mut batch: Batch, still: usize) -> Vec<Value> {
        self.progress.rows_recorded += batch.rows_recorded;
        let left = batch.left_behind();
        self.count_waiting(still + left.len());
        left
    }

    fn count_waiting(&mut self, besides: usize) {
        self.progress.rows_left = i64::try_from(self.waiting.len() + besides).unwrap_or(i64::MAX);
    }

    fn outcome(self, table: &TableName, state: RunState) -> BaselineOutcome {
        BaselineOutcome {
            table: table.clone(),
            run: self.run.run,
            continues: self.run.continues,
            state,
            rows_seen: self.progress.rows_seen,
            rows_recorded: self.progress.rows_recorded,
            rows_left: self.progress.rows_left,
        }
    }
}
