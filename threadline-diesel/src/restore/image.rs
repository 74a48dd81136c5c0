//! The rows to restore, and how the trail has them.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::catalog::Catalog;
use super::{MAX_RESTORED_ROWS, RestoreError};
use crate::json::StoredJson;
use crate::models::{Op, RecordedActor};
use crate::query::ChangeRef;

/// A row to restore.
#[derive(Debug)]
pub(super) struct ImageOfRow {
    pub(super) table: TableName,
    pub(super) row_key: String,
    pub(super) image: StoredJson,
    pub(super) source: ChangeRef,
    pub(super) is_recorded_later: bool,
}

impl ImageOfRow {
    /// The values of columns as text; none if one of them is null or not stored.
    pub(super) fn values_of(&self, columns: &[String]) -> Option<Vec<String>> {
        let value = |column: &String| {
            let value = self.image.field(column)?;
            (!value.is_null()).then(|| value.to_text())
        };
        columns.iter().map(value).collect()
    }
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct DeletedRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Timestamptz)]
    captured_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    actor: Option<RecordedActor>,
    #[diesel(sql_type = Text)]
    table_schema: String,
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    row_key: String,
    #[diesel(sql_type = Jsonb)]
    changed_from: StoredJson,
    #[diesel(sql_type = Bool)]
    is_recorded_later: bool,
}

/// The other rows that the transaction of a delete deleted from the tables of the catalog.
pub(super) async fn deleted_with<C>(
    conn: &mut C,
    table: &TableName,
    catalog: &Catalog,
    removal: &ChangeRef,
) -> Result<Vec<ImageOfRow>, RestoreError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let (schemas, names): (Vec<_>, Vec<_>) = catalog
        .tables
        .iter()
        .map(|table| (table.name.schema(), table.name.name()))
        .unzip();
    let limit = i64::try_from(MAX_RESTORED_ROWS + 1).unwrap_or(i64::MAX);
    let rows =
        diesel::sql_query(include_str!("deleted.sql").replace("@threadline@", STORAGE_SCHEMA))
            .bind::<SqlUuid, _>(removal.transaction_id.as_uuid())
            .bind::<Array<Text>, _>(schemas)
            .bind::<Array<Text>, _>(names)
            .bind::<BigInt, _>(removal.id)
            .bind::<BigInt, _>(limit)
            .load::<DeletedRow>(conn)
            .await?;
    if rows.len() > MAX_RESTORED_ROWS {
        return Err(RestoreError::TooManyRows(table.clone()));
    }
    let rows = rows.into_iter().map(|row| ImageOfRow {
        table: TableName::new(row.table_schema, row.table_name),
        row_key: row.row_key,
        image: row.changed_from,
        source: ChangeRef {
            id: row.id,
            op: Op::Delete,
            captured_at: row.captured_at,
            transaction_id: removal.transaction_id,
            actor: row.actor,
        },
        is_recorded_later: row.is_recorded_later,
    });
    Ok(rows.collect())
}
