//! The tables and foreign keys of a restoration, as the database has them now.

use diesel::pg::Pg;
use diesel::sql_types::{Bool, Jsonb, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Deserialize;
use threadline_core::table::{DEFAULT_MASK, TableName};

use crate::json::StoredJson;
use crate::query::UnknownReason;

/// Tables, and the foreign keys among them.
#[derive(Debug, Deserialize)]
pub(crate) struct Catalog {
    pub(crate) tables: Vec<TableInfo>,
    pub(crate) references: Vec<Reference>,
}

/// A table.
#[derive(Debug, Deserialize)]
pub(crate) struct TableInfo {
    pub(crate) name: TableName,
    pub(crate) is_captured: bool,
    mask_with: Option<String>,
    pub(crate) columns: Vec<ColumnInfo>,
}

/// A column.
#[derive(Debug, Deserialize)]
pub(crate) struct ColumnInfo {
    pub(crate) name: String,
    /// The type with its schema and modifiers, as a cast names it.
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    pub(crate) is_not_null: bool,
    pub(crate) has_default: bool,
    pub(crate) kind: ColumnKind,
    rule: Option<String>,
}

/// Whether a column takes values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ColumnKind {
    /// It does.
    Plain,
    /// `GENERATED ALWAYS AS IDENTITY`: only with `OVERRIDING SYSTEM VALUE`.
    AlwaysIdentity,
    /// PostgreSQL computes it from other columns.
    Generated,
}

/// A foreign key.
#[derive(Debug, Deserialize)]
pub(crate) struct Reference {
    pub(crate) child: TableName,
    pub(crate) child_columns: Vec<String>,
    pub(crate) parent: TableName,
    pub(crate) parent_columns: Vec<String>,
}

impl Catalog {
    /// Reads a table, and with its children every table that refers to it.
    pub(crate) async fn read<C>(
        conn: &mut C,
        table: &TableName,
        with_children: bool,
    ) -> QueryResult<Self>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let row = diesel::sql_query(include_str!("catalog.sql"))
            .bind::<Text, _>(table.schema())
            .bind::<Text, _>(table.name())
            .bind::<Bool, _>(with_children)
            .get_result::<CatalogRow>(conn)
            .await?;
        row.catalog
            .read()
            .map_err(|error| diesel::result::Error::DeserializationError(error.into()))
    }

    pub(crate) fn table(&self, name: &TableName) -> Option<&TableInfo> {
        self.tables.iter().find(|table| &table.name == name)
    }
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct CatalogRow {
    #[diesel(sql_type = Jsonb)]
    catalog: StoredJson,
}

impl TableInfo {
    /// Why the value of a column is not known, by the rule of `row_as_of`; none if an image has it.
    pub(crate) fn unknown_reason(
        &self,
        column: &ColumnInfo,
        stored: Option<&StoredJson>,
    ) -> Option<UnknownReason> {
        let Some(stored) = stored else {
            return Some(match column.rule.as_deref() {
                Some("exclude") => UnknownReason::Excluded,
                _ => UnknownReason::NotCaptured,
            });
        };
        match stored.to_text().as_str() {
            "[ERASED]" => Some(UnknownReason::Erased),
            text if is_digest(text) => Some(UnknownReason::TooLarge),
            _ if stored.is_null() => None,
            text if matches!(column.rule.as_deref(), Some("mask" | "mask_keep_null"))
                || text == DEFAULT_MASK
                || self.mask_with.as_deref() == Some(text) =>
            {
                Some(UnknownReason::Masked)
            }
            _ => None,
        }
    }
}

/// Whether a stored text stands for a value that was too large to store.
fn is_digest(text: &str) -> bool {
    text.starts_with("[TOO LARGE: ") && text.contains(" bytes, sha256:") && text.ends_with(']')
}
