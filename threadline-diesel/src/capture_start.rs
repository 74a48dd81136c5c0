//! Since when captured tables are known, and how many of their rows are older than that.

#[cfg(feature = "async")]
mod answer;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::sql_types::BigInt;
use serde::Serialize;
use threadline_core::table::TableName;

#[cfg(feature = "async")]
pub use self::answer::capture_start;
use crate::baseline::RunState;

/// Whether rows are counted, which reads the whole tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Counting {
    /// Every row, and whether it has history.
    #[default]
    Rows,
    /// Nothing: only what the catalog and the trail say at once.
    Nothing,
}

/// A question: since when are tables known, and what of them is not?
///
/// ```
/// use threadline_diesel::capture_start::CaptureStart;
///
/// let question = CaptureStart::new().table("billing.invoices".parse()?);
/// # let _ = question;
/// # Ok::<(), threadline_core::table::InvalidTableName>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(not(feature = "async"), allow(dead_code))]
pub struct CaptureStart {
    table: Option<TableName>,
    counting: Counting,
}

impl CaptureStart {
    /// All captured tables, with their rows counted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only one table.
    #[must_use]
    pub fn table(mut self, table: TableName) -> Self {
        self.table = Some(table);
        self
    }

    /// Whether rows are counted; they are unless this says otherwise.
    #[must_use]
    pub fn counting(mut self, counting: Counting) -> Self {
        self.counting = counting;
        self
    }
}

/// Since when a captured table is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TableCaptureStart {
    /// The table.
    pub table: TableName,
    /// Whether it is captured now.
    pub captured: bool,
    /// Whether its rows can be told apart: without that there is no history and no baseline.
    pub has_key: bool,
    /// When capture began, or began again after it was off; none while it is off.
    pub captured_since: Option<DateTime<Utc>>,
    /// Retention removed changes before this instant; none where it removed nothing.
    pub purged_before: Option<DateTime<Utc>>,
    /// The oldest change there is of it.
    pub first_recorded_at: Option<DateTime<Utc>>,
    /// How many rows there are, and how many without history; none where that was not asked for
    /// or cannot be told.
    pub rows: Option<RowCounts>,
    /// The newest baseline; none if there was none.
    pub baseline: Option<LastBaseline>,
    /// How many rows baselines have recorded in all.
    pub baselined_rows: i64,
}

impl TableCaptureStart {
    /// Whether everything that is there now is known: nothing is older than the trail.
    #[must_use]
    pub fn is_unbroken(&self) -> bool {
        self.captured
            && self
                .rows
                .as_ref()
                .is_none_or(|rows| rows.unknown_count == 0)
    }
}

/// How many rows a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
#[non_exhaustive]
pub struct RowCounts {
    /// All of them.
    #[diesel(sql_type = BigInt)]
    pub row_count: i64,
    /// Those of which the trail knows nothing; what a baseline would record.
    #[diesel(sql_type = BigInt)]
    pub unknown_count: i64,
}

/// The newest baseline of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LastBaseline {
    /// Its number.
    pub run: i64,
    /// How far it came.
    pub state: RunState,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; none while it runs, or if it was killed.
    pub ended_at: Option<DateTime<Utc>>,
    /// The session's user who ran it.
    pub started_by: String,
}
