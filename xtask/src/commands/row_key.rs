//! Keys of rows as typed on the command line.

use diesel_async::AsyncPgConnection;
use threadline_core::row_key::{RowKeyInput, RowKeyText};
use threadline_core::table::TableName;
use threadline_diesel::query::KeyError;

use crate::exit::Failure;

/// The stored form of a key. A key that does not fit the key columns of the table is wrong usage.
pub(super) async fn resolve_key(
    conn: &mut AsyncPgConnection,
    table: &TableName,
    key: &RowKeyInput,
) -> Result<RowKeyText, Failure> {
    threadline_diesel::resolve_key(conn, table, key)
        .await
        .map_err(|error| match error {
            KeyError::Key(wrong) => Failure::usage(wrong),
            KeyError::Read(error) => error.into(),
            other => Failure::CouldNotRun(other.into()),
        })
}
