//! Why a row cannot be restored.

use chrono::{DateTime, Utc};
use threadline_core::table::TableName;

use super::MAX_RESTORED_ROWS;
use crate::query::{AsOfError, ChangeRef, UnknownColumn};

/// A row that cannot be restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The table does not exist.
    #[error("table {0} does not exist; create it before its rows are restored")]
    NoSuchTable(TableName),
    /// The trail has no change of the row.
    #[error("no changes are recorded for row {row_key} of {table}")]
    NotRecorded {
        /// The table.
        table: TableName,
        /// The key of the row.
        row_key: String,
    },
    /// The row is not deleted, and no instant was named.
    #[error(
        "row {row_key} of {table} is not deleted; name the instant of the state to restore (--as-of)"
    )]
    NotDeleted {
        /// The table.
        table: TableName,
        /// The key of the row.
        row_key: String,
    },
    /// The row did not exist at the instant.
    #[error(
        "row {row_key} of {table} did not exist at {instant}: change {} ({}) had removed it at {}",
        change.id, change.op, change.captured_at
    )]
    RemovedBefore {
        /// The table.
        table: TableName,
        /// The key of the row.
        row_key: String,
        /// The instant.
        instant: DateTime<Utc>,
        /// The change that removed the row.
        change: Box<ChangeRef>,
    },
    /// The trail does not show the row at the instant.
    #[error(
        "row {row_key} of {table} is not known at {instant}; choose an instant after its first change, which `history` shows"
    )]
    NotKnown {
        /// The table.
        table: TableName,
        /// The key of the row.
        row_key: String,
        /// The instant.
        instant: DateTime<Utc>,
    },
    /// The trail identifies the row by a column that the table does not have.
    #[error(
        "the trail identifies rows of {table} by column {column:?}, which the table does not have; deploy its capture again (redeploy-triggers)"
    )]
    KeyChanged {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// The stored key of the row is not a value of the present type of its column.
    #[error(
        "the trail identifies the row of {table} by {column}; change the row once, so that it is recorded with its present key"
    )]
    KeyIncompatible {
        /// The table.
        table: TableName,
        /// The key column.
        column: UnknownColumn,
    },
    /// The transaction deleted too many rows.
    #[error(
        "the transaction deleted more than {MAX_RESTORED_ROWS} rows of the tables that refer to {0}; restore without children, or table by table"
    )]
    TooManyRows(TableName),
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

impl From<AsOfError> for RestoreError {
    fn from(error: AsOfError) -> Self {
        match error {
            AsOfError::Database(error) => Self::Database(error),
            other => Self::Database(diesel::result::Error::DeserializationError(Box::new(other))),
        }
    }
}
