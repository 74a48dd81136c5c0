//! The SQL that restores a row from the trail.
//!
//! The plan is a script for a person to review and run. Nothing is written: the plan is read in a read-only
//! transaction that is rolled back.

pub(crate) mod catalog;
mod children;
mod error;
mod image;
mod plan;
mod read;
mod row_statement;
mod script;
mod statement;

use chrono::{DateTime, Utc};
use threadline_core::row_key::RowKeyText;
use threadline_core::table::TableName;

pub use self::error::RestoreError;
pub use self::plan::{
    MissingColumn, MissingEffect, RestoreOperation, RestorePlan, RestoreStatement, SkipReason,
    SkippedRow,
};
pub use self::read::restore_plan;

/// The largest number of deleted rows that a plan reads.
pub const MAX_RESTORED_ROWS: usize = 10_000;

/// A query for the SQL that restores a row, read by [`restore_plan`](crate::restore_plan()).
///
/// Without [`as_of`](Self::as_of) the state to restore is the last one before the row was deleted.
///
/// ```
/// use threadline_core::row_key::RowKeyText;
/// use threadline_diesel::Restore;
///
/// let key = RowKeyText::from_values(vec!["42".to_owned()]);
/// let query = Restore::new("invoices".parse()?, &key).with_children();
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    table: TableName,
    key: RowKeyText,
    instant: Option<DateTime<Utc>>,
    with_children: bool,
}

impl Restore {
    /// The row of a table with this key: the row that has it now, or had it last.
    #[must_use]
    pub fn new(table: TableName, key: &RowKeyText) -> Self {
        Self {
            table,
            key: key.clone(),
            instant: None,
            with_children: false,
        }
    }

    /// Restores the state of the row as of an instant.
    #[must_use]
    pub fn as_of(mut self, instant: DateTime<Utc>) -> Self {
        self.instant = Some(instant);
        self
    }

    /// Also restores the rows that the transaction of the deletion deleted from tables whose foreign keys
    /// refer to the row, directly or through other deleted rows.
    #[must_use]
    pub fn with_children(mut self) -> Self {
        self.with_children = true;
        self
    }
}
