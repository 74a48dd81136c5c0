//! Notes on the history of a row: moves, reuse of its key, truncates.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::sql_types::{Jsonb, Text};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use threadline_core::row_key::RowKeyText;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::change_by_id::ChangeById;
use super::definition_changes::{DefinitionChange, definition_changes_sql};
use super::error::ReadError;
use super::gaps::{CaptureGap, GapsRow, select_gaps};
use super::pagination::Order;
use super::scope::Scope;
use super::timeline::Timeline;
use crate::json::StoredJson;

/// Events that concern a row and are not among its changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// The columns of the table that are defined otherwise now than when the oldest change of the row was
    /// captured.
    pub definition_changes: Vec<DefinitionChange>,
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
    /// The change of the key.
    #[serde(skip_serializing)]
    change_id: i64,
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

/// A query about a row, read by [`history_notes`](crate::history_notes()).
///
/// ```
/// use threadline_core::row_key::RowKeyText;
/// use threadline_diesel::Scope;
/// use threadline_diesel::query::RowQuery;
///
/// let support = Scope::new().tables(["invoices".parse()?]);
/// let key = RowKeyText::from_values(vec!["42".to_owned()]);
/// let query = RowQuery::new("invoices".parse()?, &key).scope(&support);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RowQuery {
    table: TableName,
    key: RowKeyText,
    scope: Option<Scope>,
}

impl RowQuery {
    /// A query about the row of a table that has this key now, or had it last.
    #[must_use]
    pub fn new(table: TableName, key: &RowKeyText) -> Self {
        Self {
            table,
            key: key.clone(),
            scope: None,
        }
    }

    /// Restricts the answer to a scope: to events whose changes are visible. Of a row without a visible
    /// change nothing is answered.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    async fn is_hidden<C>(&self, conn: &mut C) -> Result<bool, ReadError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let Some(scope) = &self.scope else {
            return Ok(false);
        };
        let row = Timeline::new().row(self.table.clone(), &self.key);
        let newest = row.scope(scope).one_entry(Order::NewestFirst);
        Ok(crate::timeline(conn, &newest).await?.entries.is_empty())
    }
}

impl HistoryNotes {
    /// Removes the events whose changes a scope hides.
    async fn restrict<C>(&mut self, conn: &mut C, scope: &Scope) -> Result<(), ReadError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let moves = self.moves.iter();
        let mut ids: Vec<_> = moves
            .flat_map(|one| [one.left_id, one.arrived_id])
            .collect();
        ids.extend(self.earlier_holders.iter().map(|holder| holder.change_id));
        ids.extend(self.truncated.iter().map(|truncated| truncated.change_id));
        let mut visible = BTreeSet::new();
        for id in ids {
            let query = ChangeById::new(id).scope(scope);
            visible.extend(
                crate::change(conn, query)
                    .await?
                    .map(|entry| entry.change.id),
            );
        }
        self.moves
            .retain(|one| visible.contains(&one.left_id) && visible.contains(&one.arrived_id));
        self.earlier_holders
            .retain(|holder| visible.contains(&holder.change_id));
        self.truncated
            .take_if(|truncated| !visible.contains(&truncated.change_id));
        Ok(())
    }
}

/// Reads the events that concern a row and are not among its changes.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::row_key::RowKeyText;
/// use threadline_diesel::history_notes;
/// use threadline_diesel::query::RowQuery;
///
/// let key = RowKeyText::from_values(vec!["42".to_owned()]);
/// let notes = history_notes(conn, &RowQuery::new("invoices".parse()?, &key)).await?;
/// println!("{} moves between partitions", notes.moves.len());
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the scope cannot be applied, or the database reports an error.
pub async fn history_notes<C>(conn: &mut C, query: &RowQuery) -> Result<HistoryNotes, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if query.is_hidden(conn).await? {
        return Ok(HistoryNotes::default());
    }
    let (table, key) = (&query.table, query.key.as_str());
    let oldest = "(SELECT first_change.id FROM first_change)";
    let definition_changes = definition_changes_sql("$1", "$2", oldest);
    let sql = include_str!("history_notes.sql")
        .replace("@definition_changes@", &definition_changes)
        .replace("@threadline@", STORAGE_SCHEMA);
    let row = diesel::sql_query(sql)
        .bind::<Text, _>(table.schema())
        .bind::<Text, _>(table.name())
        .bind::<Text, _>(key)
        .get_result::<NotesRow>(conn)
        .await?;
    let mut notes: HistoryNotes = row
        .notes
        .read()
        .map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
    let gaps = select_gaps(table, Some(key))
        .get_result::<GapsRow>(conn)
        .await?;
    notes.gaps = gaps.read()?;
    let created_id = notes.created_id.unwrap_or(0);
    notes
        .gaps
        .retain(|gap| gap.last_id.is_none_or(|id| id >= created_id));
    if let Some(scope) = &query.scope {
        notes.restrict(conn, scope).await?;
        // The reason of a suspension can be about other rows of the table.
        for gap in &mut notes.gaps {
            gap.reason = None;
        }
    }
    Ok(notes)
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct NotesRow {
    #[diesel(sql_type = Jsonb)]
    notes: StoredJson,
}
