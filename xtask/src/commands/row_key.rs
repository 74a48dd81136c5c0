//! Keys of rows and values of columns as typed on the command line.

use diesel_async::AsyncPgConnection;
use threadline_core::row_key::{RowKeyInput, RowKeyText};
use threadline_core::table::TableName;
use threadline_diesel::query::{ColumnName, FieldValue, KeyError, ValueError};

use crate::exit::Failure;

/// The stored form of a key. A key that does not fit the key columns of the table, or their types,
/// is wrong usage.
pub(super) async fn resolve_key(
    conn: &mut AsyncPgConnection,
    table: &TableName,
    key: &RowKeyInput,
) -> Result<RowKeyText, Failure> {
    threadline_diesel::resolve_key(conn, table, key)
        .await
        .map_err(|error| match error {
            KeyError::Key(wrong) => Failure::usage(wrong),
            KeyError::Value(wrong) => Failure::usage(wrong),
            KeyError::Read(error) => error.into(),
            other => Failure::CouldNotRun(other.into()),
        })
}

/// A value for a filter by a column. A text that is no value of the column's type is wrong usage.
pub(super) async fn resolve_value(
    conn: &mut AsyncPgConnection,
    table: &TableName,
    column: &ColumnName,
    text: &str,
) -> Result<FieldValue, Failure> {
    threadline_diesel::resolve_value(conn, table, column, text)
        .await
        .map_err(|error| match error {
            ValueError::Filter(wrong) => Failure::usage(wrong),
            ValueError::Value(wrong) => Failure::usage(wrong),
            ValueError::Read(error) => error.into(),
            other => Failure::CouldNotRun(other.into()),
        })
}
