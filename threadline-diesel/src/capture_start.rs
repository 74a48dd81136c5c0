//! When capture of a table began, and how many of its rows are older.

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
use crate::query::CaptureGap;

/// Whether rows are counted, which reads the whole tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Counting {
    /// Counts all rows, and those without history.
    #[default]
    Rows,
    /// Counts nothing and reads only the catalog and the trail.
    Nothing,
}

/// A query for when capture of tables began, read by [`capture_start`](crate::capture_start()).
///
/// ```
/// use threadline_diesel::capture_start::CaptureStart;
///
/// let query = CaptureStart::new().table("billing.invoices".parse()?);
/// # let _ = query;
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

    /// Sets whether rows are counted; they are by default.
    #[must_use]
    pub fn counting(mut self, counting: Counting) -> Self {
        self.counting = counting;
        self
    }
}

/// When capture of a table began.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TableCaptureStart {
    /// The table.
    pub table: TableName,
    /// Whether the table is captured now.
    pub captured: bool,
    /// Whether the table has a key. Without one there is no history and no baseline.
    pub has_key: bool,
    /// When capture was enabled last; none while it is disabled.
    pub captured_since: Option<DateTime<Utc>>,
    /// The instant before which retention removed changes; none if it removed none.
    pub purged_before: Option<DateTime<Utc>>,
    /// When its oldest change was captured.
    pub first_recorded_at: Option<DateTime<Utc>>,
    /// The numbers of rows; none if they were not or cannot be counted.
    pub rows: Option<RowCounts>,
    /// Its newest baseline; none if there is none.
    pub baseline: Option<LastBaseline>,
    /// The number of rows that all baselines recorded.
    pub baselined_rows: i64,
    /// Recorded gaps of its trail, in the order of capture.
    pub gaps: Vec<CaptureGap>,
}

impl TableCaptureStart {
    /// Whether the trail has every row that the table has now.
    #[must_use]
    pub fn is_unbroken(&self) -> bool {
        self.captured
            && self
                .rows
                .as_ref()
                .is_none_or(|rows| rows.unknown_count == 0)
    }
}

/// The numbers of rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
#[non_exhaustive]
pub struct RowCounts {
    /// All rows.
    #[diesel(sql_type = BigInt)]
    pub row_count: i64,
    /// Rows without history, which a baseline would record.
    #[diesel(sql_type = BigInt)]
    pub unknown_count: i64,
}

/// The newest baseline of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LastBaseline {
    /// The id of the run.
    pub run: i64,
    /// The state of the run.
    pub state: RunState,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; none while it runs, or if its process was killed.
    pub ended_at: Option<DateTime<Utc>>,
    /// The session user that ran it.
    pub started_by: String,
}
