//! The key columns of a table, as the trail knows them.

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Array, Text};
use threadline_core::row_key::{InvalidRowKey, RowKeyInput};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::error::ReadError;
use super::filter_values::InvalidFilterValue;

/// A key that was typed as text and cannot be resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key does not fit the table's key columns.
    #[error(transparent)]
    Key(#[from] InvalidRowKey),
    /// A value is none of its column's type.
    #[error(transparent)]
    Value(#[from] InvalidColumnValue),
    /// The key columns cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<diesel::result::Error> for KeyError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Read(error.into())
    }
}

/// A value that was typed as text for a filter and cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// No stored value can be equal.
    #[error(transparent)]
    Filter(#[from] InvalidFilterValue),
    /// The text is no value of the column's type.
    #[error(transparent)]
    Value(#[from] InvalidColumnValue),
    /// The column's type cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<diesel::result::Error> for ValueError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Read(error.into())
    }
}

/// A text that PostgreSQL does not accept as a value of a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a value of column {column} ({type_name}): {message}")]
#[non_exhaustive]
pub struct InvalidColumnValue {
    /// The column.
    pub column: String,
    /// Its type.
    pub type_name: String,
    /// The text.
    pub value: String,
    /// The error message of PostgreSQL.
    pub message: String,
}

#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct KeyColumnsRow {
    #[diesel(sql_type = Array<Text>)]
    pub(crate) key_columns: Vec<String>,
}

/// The statement that reads the names of a table's key columns, in declared order: the present names
/// first, then earlier ones under the same definition of the key.
pub(crate) fn select_key_columns(table: &TableName) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    diesel::sql_query(format!(
        "WITH policies AS (
             SELECT order_id, key_columns, key_since,
                 first_value(key_since) OVER (ORDER BY order_id DESC) AS present_key_since
             FROM {STORAGE_SCHEMA}.audit_enrolments
             WHERE table_name = $1 AND table_schema = $2 AND event = 'enabled'
         )
         SELECT key_columns FROM policies
         WHERE key_columns IS NOT NULL AND key_since IS NOT DISTINCT FROM present_key_since
         GROUP BY key_columns ORDER BY max(order_id) DESC"
    ))
    .into_boxed::<Pg>()
    .bind::<Text, _>(table.name().to_owned())
    .bind::<Text, _>(table.schema().to_owned())
}

/// The values of a typed key by the first names of the key columns that fit. For a table that the trail
/// does not know, the text is the key.
pub(crate) fn typed_values(
    key: &RowKeyInput,
    table: &TableName,
    names: &[KeyColumnsRow],
) -> Result<Vec<String>, InvalidRowKey> {
    let table = table.to_string();
    let resolved = |row: &KeyColumnsRow| key.values(&table, &row.key_columns);
    let Some(present) = names.first() else {
        return Ok(vec![key.as_str().to_owned()]);
    };
    let fitting = names.iter().skip(1).find_map(|row| resolved(row).ok());
    match (resolved(present), fitting) {
        (Err(_), Some(fitting)) => Ok(fitting),
        // A key of one column takes any text as its value, also one that begins with an earlier name.
        (present, _) => present,
    }
}
