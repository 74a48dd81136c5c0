//! What the changes of a row do not say themselves.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::sql_types::{Jsonb, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Deserialize;
use threadline_core::row_key::RowKeyText;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use crate::json::StoredJson;

/// What is to be known beside the changes of a row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct HistoryNotes {
    /// Moves of the row between partitions.
    pub moves: Vec<RowMove>,
    /// Other rows that had the key earlier.
    pub earlier_holders: Vec<EarlierHolder>,
    /// The truncate of the table that removed the row.
    pub truncated: Option<TruncatedWith>,
    /// The history begins here because the key of the table was defined anew: the changes before are
    /// recorded under other keys.
    pub key_defined_at: Option<DateTime<Utc>>,
}

/// A move of a row between partitions. It is stored as PostgreSQL executes it, as a delete and an insert
/// of one transaction; a genuine delete and insert of rows with equal keys, but for the partition, looks
/// the same.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct RowMove {
    /// The change that is stored as the delete.
    pub left_id: i64,
    /// The key that the row had.
    pub previous_key: String,
    /// The change that is stored as the insert.
    pub arrived_id: i64,
    /// The old values of the columns that the move changed, as of an update.
    pub changed_from: StoredJson,
}

/// A row that had a key which another has now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct EarlierHolder {
    /// When it left the key.
    pub until: DateTime<Utc>,
    /// The key that it came to.
    pub became: String,
}

/// A truncate of the table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct TruncatedWith {
    /// The change.
    pub change_id: i64,
    /// When it was captured.
    pub at: DateTime<Utc>,
}

/// What is to be known beside the changes of a row.
///
/// # Errors
/// When the database reports an error.
pub async fn history_notes<C>(
    conn: &mut C,
    table: &TableName,
    key: &RowKeyText,
) -> QueryResult<HistoryNotes>
where
    C: AsyncConnection<Backend = Pg>,
{
    let found =
        diesel::sql_query(include_str!("notes.sql").replace("@threadline@", STORAGE_SCHEMA))
            .bind::<Text, _>(table.schema())
            .bind::<Text, _>(table.name())
            .bind::<Text, _>(key.as_str())
            .get_result::<NotesRow>(conn)
            .await?;
    found
        .notes
        .read()
        .map_err(|error| diesel::result::Error::DeserializationError(error.into()))
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct NotesRow {
    #[diesel(sql_type = Jsonb)]
    notes: StoredJson,
}
