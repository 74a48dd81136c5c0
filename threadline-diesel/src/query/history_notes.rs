//! Notes on the history of a row: moves, reuse of its key, truncates.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::sql_types::{Jsonb, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use threadline_core::row_key::RowKeyText;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::gaps::{CaptureGap, GapsRow, select_gaps};
use crate::json::StoredJson;

/// Events that concern a row and are not among its changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryNotes {
    /// Moves of the row between partitions.
    pub moves: Vec<RowMove>,
    /// Other rows that had the key earlier.
    pub earlier_holders: Vec<EarlierHolder>,
    /// The truncate of the table that removed the row.
    pub truncated: Option<TableTruncate>,
    /// When the key of the table was redefined, where the history begins for that reason: earlier changes
    /// are recorded under other keys.
    pub key_defined_at: Option<DateTime<Utc>>,
    /// Recorded gaps since the row was created, in the order of capture: changes of the row may be missing
    /// there. If the trail does not have its creation, all gaps of the table.
    #[serde(default)]
    pub gaps: Vec<CaptureGap>,
    /// The change that created the row.
    #[serde(skip_serializing)]
    created_id: Option<i64>,
}

/// A move of a row between partitions. It is stored as PostgreSQL executes it, as a delete and an insert
/// in one transaction; a genuine delete and insert of rows whose keys differ only in partition columns
/// looks the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RowMove {
    /// The change that is stored as the delete.
    pub left_id: i64,
    /// The key that the row had.
    pub previous_key: String,
    /// The change that is stored as the insert.
    pub arrived_id: i64,
    /// The old values of the columns that the move changed, as for an update.
    pub changed_from: StoredJson,
}

/// Another row that had the key earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EarlierHolder {
    /// When its key was changed.
    pub until: DateTime<Utc>,
    /// Its next key.
    pub next_key: String,
}

/// A truncate of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TableTruncate {
    /// The change.
    pub change_id: i64,
    /// When it was captured.
    pub at: DateTime<Utc>,
}

/// Reads the events that concern a row and are not among its changes.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::row_key::RowKeyText;
/// use threadline_diesel::history_notes;
///
/// let key = RowKeyText::from_values(vec!["42".to_owned()]);
/// let notes = history_notes(conn, &"invoices".parse()?, &key).await?;
/// println!("{} moves between partitions", notes.moves.len());
/// # Ok(()) }
/// ```
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
    let row = diesel::sql_query(
        include_str!("history_notes.sql").replace("@threadline@", STORAGE_SCHEMA),
    )
    .bind::<Text, _>(table.schema())
    .bind::<Text, _>(table.name())
    .bind::<Text, _>(key.as_str())
    .get_result::<NotesRow>(conn)
    .await?;
    let mut notes: HistoryNotes = row
        .notes
        .read()
        .map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
    let gaps = select_gaps(table, Some(key.as_str()))
        .get_result::<GapsRow>(conn)
        .await?;
    notes.gaps = gaps.read()?;
    let created_id = notes.created_id.unwrap_or(0);
    notes
        .gaps
        .retain(|gap| gap.last_id.is_none_or(|id| id >= created_id));
    Ok(notes)
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct NotesRow {
    #[diesel(sql_type = Jsonb)]
    notes: StoredJson,
}
