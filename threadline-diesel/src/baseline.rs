//! Recording the rows that are older than capture: as what they are, never as changes.
//!
//! A baseline walks through a table along its key, in bounded batches, each a transaction of its own,
//! while the application goes on writing. One statement reads the next rows, decides which of them the
//! trail does not know, locks those `FOR SHARE`, and records the ones that did not change in between.
//! So a row has either a baseline that comes before all its changes, or the change that was captured
//! meanwhile. A run can be killed at any point: the next one continues.
//!
//! It runs with the rights of the connection's role: `SELECT` on the trail and on the table, `UPDATE` on
//! a column of the table (PostgreSQL asks for it where rows are locked), `INSERT` and `UPDATE` on
//! `audit_baseline_runs`, and `EXECUTE` on `record_baseline_row`, `record_action` and `row_key`.

mod outcome;
#[cfg(feature = "async")]
mod record;
#[cfg(feature = "async")]
mod statements;
#[cfg(feature = "async")]
mod walk;

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;
use threadline_core::action::Action;
use threadline_core::context::AuditContext;
use threadline_core::table::TableName;

pub use self::outcome::{BaselineOutcome, BaselineProgress, RunState};
#[cfg(feature = "async")]
pub use self::record::record_baseline;

/// How many rows a batch has unless something else is asked for.
pub const DEFAULT_BATCH_SIZE: u32 = 1_000;

/// The most rows a batch can have: writers of these rows wait for it.
pub const MAX_BATCH_SIZE: u32 = 10_000;

/// Under which action baselines are recorded unless another is named.
pub const BASELINE_ACTION: &str = "threadline.baseline";

/// How long locked rows are waited for unless something else is asked for.
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

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
#[cfg_attr(not(feature = "async"), allow(dead_code))]
pub struct Baseline {
    table: TableName,
    context: AuditContext,
    action: Option<Action>,
    selection: Selection,
    batch_size: BatchSize,
    lock_timeout: Duration,
}

impl Baseline {
    /// The rows of a table that nothing is known of, recorded by the actor of the context.
    #[must_use]
    pub fn new(table: TableName, context: AuditContext) -> Self {
        Self {
            table,
            context,
            action: None,
            selection: Selection::default(),
            batch_size: BatchSize::default(),
            lock_timeout: DEFAULT_LOCK_TIMEOUT,
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

    /// How long, at the end, rows that other transactions have locked are waited for; ten seconds unless
    /// set. No writer waits for the baseline in that time.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }
}

/// A baseline could not be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// The context has no actor.
    #[error("the context names no actor: a baseline is recorded by somebody")]
    MissingActor,
    /// The connection is in a transaction.
    #[error(
        "every batch of a baseline needs a transaction of its own, and the connection is in one"
    )]
    InTransaction,
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
    /// Its rows cannot be walked through.
    #[error(
        "table {table} has no unique index over ({key}), so its rows cannot be walked through: \
         correct the key in the code, then generate and apply its capture migration again \
         (gen-triggers)"
    )]
    NoIndex {
        /// The table.
        table: TableName,
        /// The columns of its key.
        key: String,
    },
    /// A later run took the table over.
    #[error(
        "baseline run {0} is not running: it is interrupted, because a later run of the same table \
         took it over (audit_baseline_runs has who)"
    )]
    TakenOver(i64),
    /// The database refused.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
