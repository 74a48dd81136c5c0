//! Baselines: records of rows that existed before capture began. A baseline is not a change.
//!
//! A run reads a table along its key, in bounded batches, each a transaction of its own, while the
//! application writes. One statement reads the next rows, selects those that are not in the trail, locks
//! them `FOR SHARE`, and records those that did not change in between. So a row has either a baseline
//! before all its changes, or the change that was captured meanwhile. A run can be killed at any point: the
//! next one continues.
//!
//! It runs with the privileges of the connection's role: `SELECT` on the trail and on the table, `UPDATE` on
//! a column of the table (PostgreSQL requires it for row locks), `INSERT` and `UPDATE` on
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

/// The default number of rows of a batch.
pub const DEFAULT_BATCH_SIZE: u32 = 1_000;

/// The maximum number of rows of a batch. Writers of these rows wait until the batch ends.
pub const MAX_BATCH_SIZE: u32 = 10_000;

/// The default action of a baseline.
pub const BASELINE_ACTION: &str = "threadline.baseline";

/// The default time to wait for locked rows.
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Which rows a baseline records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Selection {
    /// Rows without history.
    #[default]
    Unknown,
    /// All rows: after a time in which changes may have been missed.
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

/// A batch size out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch has 1 to {MAX_BATCH_SIZE} rows, not {0}")]
pub struct InvalidBatchSize(pub u32);

/// The number of rows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize(u32);

impl BatchSize {
    /// A size from 1 to [`MAX_BATCH_SIZE`].
    ///
    /// # Errors
    /// [`InvalidBatchSize`] for other sizes.
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

/// A baseline of a table to record, and its actor; [`record_baseline`] records it.
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
    /// Records the rows of a table without history, by the actor of the context.
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

    /// Sets the action; [`BASELINE_ACTION`] by default.
    #[must_use]
    pub fn action(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    /// Sets which rows are recorded; by default those without history.
    #[must_use]
    pub fn selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Sets the number of rows that a transaction reads; [`DEFAULT_BATCH_SIZE`] by default.
    #[must_use]
    pub fn batch_size(mut self, size: BatchSize) -> Self {
        self.batch_size = size;
        self
    }

    /// Sets how long the run waits at its end for rows that other transactions have locked; ten seconds by
    /// default. No writer waits for the baseline in that time.
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
    #[error("the context has no actor: a baseline needs one")]
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
    /// The table has no key.
    #[error(
        "table {0} has no key, so its rows cannot be identified: add a primary key, then generate \
         and apply its capture migration again (gen-triggers)"
    )]
    NoKey(TableName),
    /// The table has no unique index over its key.
    #[error(
        "table {table} has no unique index over ({key}), so its rows cannot be read in batches: \
         correct the key in the code, then generate and apply its capture migration again \
         (gen-triggers)"
    )]
    NoIndex {
        /// The table.
        table: TableName,
        /// The key columns.
        key: String,
    },
    /// A later run of the same table has started.
    #[error(
        "baseline run {0} is not running: it is interrupted, because a later run of the same table \
         took it over (audit_baseline_runs has who)"
    )]
    TakenOver(i64),
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
