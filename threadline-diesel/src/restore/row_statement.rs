//! The statements that restore rows, with the values read from their images.

use diesel::pg::Pg;
use diesel::sql_types::{Array, Nullable, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::identifier::quote_identifier;
use threadline_core::storage::STORAGE_SCHEMA;

use super::RestoreError;
use super::catalog::{Catalog, TableInfo};
use super::image::ImageOfRow;
use super::plan::{RestoreOperation, RestoreStatement};
use super::statement::{ImageColumns, insert, text_of, typed_literal, update};
use crate::json::StoredJson;

#[derive(Debug, QueryableByName)]
struct Values {
    #[diesel(sql_type = Array<Nullable<Text>>)]
    row_values: Vec<Option<String>>,
}

/// The values of an image's known columns, as the column types write them.
async fn image_values<C>(
    conn: &mut C,
    table: &TableInfo,
    columns: &ImageColumns<'_>,
    image: &StoredJson,
) -> QueryResult<Vec<Option<String>>>
where
    C: AsyncConnection<Backend = Pg>,
{
    let known: Vec<_> = columns.known.iter().map(|c| c.name.clone()).collect();
    // Placeholders of unknown values cannot be read as values of their columns.
    let sql = format!(
        "SELECT ARRAY[{}]::text[] AS row_values \
         FROM {STORAGE_SCHEMA}.row_from_image(NULL::{}, (\
             SELECT pg_catalog.jsonb_object_agg(f.key, f.value) FROM pg_catalog.jsonb_each($1::jsonb) AS f \
             WHERE f.key = ANY ($2)\
         )) AS r",
        texts_of("r", columns),
        table.name.quoted(),
    );
    let values = diesel::sql_query(sql)
        .bind::<Text, _>(image.as_str())
        .bind::<Array<Text>, _>(known)
        .get_result::<Values>(conn)
        .await?;
    Ok(values.row_values)
}

fn texts_of(alias: &str, columns: &ImageColumns<'_>) -> String {
    let texts: Vec<_> = columns.known.iter().map(|c| text_of(alias, c)).collect();
    texts.join(", ")
}

/// The inserts of deleted rows.
pub(super) async fn insert_all<C>(
    conn: &mut C,
    catalog: &Catalog,
    rows: Vec<ImageOfRow>,
) -> Result<Vec<RestoreStatement>, RestoreError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut statements = Vec::with_capacity(rows.len());
    for row in rows {
        let table = catalog
            .table(&row.table)
            .ok_or_else(|| RestoreError::NoSuchTable(row.table.clone()))?;
        statements.push(insert_row(conn, table, row).await?);
    }
    Ok(statements)
}

async fn insert_row<C>(
    conn: &mut C,
    table: &TableInfo,
    row: ImageOfRow,
) -> Result<RestoreStatement, RestoreError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let columns = ImageColumns::new(table, &row.image);
    let values = image_values(conn, table, &columns, &row.image).await?;
    Ok(RestoreStatement {
        operation: RestoreOperation::Insert,
        sql: insert(table, &columns, &values),
        table: row.table,
        row_key: row.row_key,
        source: row.source,
        missing: columns.missing_in_insert(),
        generated: columns.generated,
    })
}

/// The update of a row that is not deleted; its insert if the table does not have the row, because its delete
/// was not captured; nothing if no known column differs.
pub(super) async fn restore_present<C>(
    conn: &mut C,
    table: &TableInfo,
    row: ImageOfRow,
    present_key: Option<&StoredJson>,
) -> Result<Vec<RestoreStatement>, RestoreError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let condition = key_condition(table, present_key)?;
    let columns = ImageColumns::new(table, &row.image);
    let present = diesel::sql_query(format!(
        "SELECT ARRAY[{}]::text[] AS row_values FROM {} AS r WHERE {condition}",
        texts_of("r", &columns),
        table.name.quoted(),
    ))
    .load::<Values>(conn)
    .await?;
    let Some(present) = present.into_iter().next() else {
        return Ok(vec![insert_row(conn, table, row).await?]);
    };
    let values = image_values(conn, table, &columns, &row.image).await?;
    let sql = update(table, &columns, &values, &present.row_values, &condition);
    let statement = sql.map(|sql| RestoreStatement {
        operation: RestoreOperation::Update,
        sql,
        missing: columns.missing_in_update(),
        table: row.table,
        row_key: row.row_key,
        source: row.source,
        generated: columns.generated,
    });
    Ok(statement.into_iter().collect())
}

/// The condition that identifies a row by its present key.
fn key_condition(
    table: &TableInfo,
    present_key: Option<&StoredJson>,
) -> Result<String, RestoreError> {
    let fields = present_key.into_iter().flat_map(StoredJson::fields);
    let equals = fields.map(|(name, value)| {
        let column = table.columns.iter().find(|column| column.name == name);
        let column = column.ok_or_else(|| RestoreError::KeyChanged {
            table: table.name.clone(),
            column: name.clone(),
        })?;
        let literal = typed_literal(Some(&value.to_text()), &column.type_name);
        Ok(format!("{} = {literal}", quote_identifier(&name)))
    });
    let equals: Result<Vec<_>, RestoreError> = equals.collect();
    Ok(equals?.join(" AND "))
}
