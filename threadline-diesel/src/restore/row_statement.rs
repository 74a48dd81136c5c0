//! The statements that restore rows, with the values read from their images.

use std::collections::BTreeMap;

use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::identifier::{quote_identifier, quote_literal};
use threadline_core::storage::STORAGE_SCHEMA;

use super::RestoreError;
use super::catalog::{Catalog, TableInfo};
use super::image::ImageOfRow;
use super::plan::{RestoreOperation, RestoreStatement};
use super::statement::{ImageColumns, insert, text_of, typed_literal, update};
use crate::json::StoredJson;
use crate::query::definition_changes::definition_changes_sql;
use crate::query::{DefinitionChange, IncompatibleValue, UnknownColumn};

#[derive(Debug, QueryableByName)]
struct Values {
    #[diesel(sql_type = Array<Nullable<Text>>)]
    row_values: Vec<Option<String>>,
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct Incompatible {
    #[diesel(sql_type = Jsonb)]
    incompatible: StoredJson,
}

impl Incompatible {
    fn read(&self) -> QueryResult<BTreeMap<String, IncompatibleValue>> {
        self.incompatible.read().map_err(invalid_json)
    }
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct ImageFacts {
    #[diesel(embed)]
    incompatible: Incompatible,
    #[diesel(sql_type = Jsonb)]
    definition_changes: StoredJson,
}

/// What an image has for the present columns of its table.
struct ImageValues<'a> {
    columns: ImageColumns<'a>,
    /// The values of the known columns, as the column types write them.
    values: Vec<Option<String>>,
    definition_changes: Vec<DefinitionChange>,
}

impl<'a> ImageValues<'a> {
    async fn read<C>(conn: &mut C, table: &'a TableInfo, row: &ImageOfRow) -> QueryResult<Self>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let mut columns = ImageColumns::new(table, &row.image);
        let facts = diesel::sql_query(format!(
            "SELECT {STORAGE_SCHEMA}.incompatible_columns({}::regclass, {KNOWN_FIELDS}) AS incompatible, \
             {} AS definition_changes",
            quote_literal(&table.name.quoted()),
            definition_changes_sql("$3", "$4", "$5"),
        ))
        .bind::<Text, _>(row.image.as_str())
        .bind::<Array<Text>, _>(columns.known_names())
        .bind::<Text, _>(table.name.schema())
        .bind::<Text, _>(table.name.name())
        .bind::<BigInt, _>(row.source.id)
        .get_result::<ImageFacts>(conn)
        .await?;
        columns.reject(facts.incompatible.read()?);
        let values = diesel::sql_query(format!(
            "SELECT ARRAY[{}]::text[] AS row_values \
             FROM {STORAGE_SCHEMA}.row_from_image(NULL::{}, {KNOWN_FIELDS}) AS r",
            texts_of("r", &columns),
            table.name.quoted(),
        ))
        .bind::<Text, _>(row.image.as_str())
        .bind::<Array<Text>, _>(columns.known_names())
        .get_result::<Values>(conn)
        .await?;
        Ok(Self {
            columns,
            values: values.row_values,
            definition_changes: facts.definition_changes.read().map_err(invalid_json)?,
        })
    }
}

/// The fields $2 of the image $1: placeholders of unknown values cannot be read as values of their columns.
const KNOWN_FIELDS: &str = "(SELECT COALESCE(pg_catalog.jsonb_object_agg(f.key, f.value), '{}') \
    FROM pg_catalog.jsonb_each($1::jsonb) AS f WHERE f.key = ANY ($2))";

fn invalid_json(error: serde_json::Error) -> diesel::result::Error {
    diesel::result::Error::DeserializationError(error.into())
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
    let ImageValues {
        columns,
        values,
        definition_changes,
    } = ImageValues::read(conn, table, &row).await?;
    Ok(RestoreStatement {
        operation: RestoreOperation::Insert,
        sql: insert(table, &columns, &values),
        table: row.table,
        row_key: row.row_key,
        source: row.source,
        missing: columns.missing_in_insert(),
        definition_changes,
        gaps: Vec::new(),
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
    let condition = key_condition(conn, table, present_key).await?;
    let ImageValues {
        columns,
        values,
        definition_changes,
    } = ImageValues::read(conn, table, &row).await?;
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
    let sql = update(table, &columns, &values, &present.row_values, &condition);
    let statement = sql.map(|sql| RestoreStatement {
        operation: RestoreOperation::Update,
        sql,
        missing: columns.missing_in_update(),
        table: row.table,
        row_key: row.row_key,
        source: row.source,
        definition_changes,
        gaps: Vec::new(),
        generated: columns.generated,
    });
    Ok(statement.into_iter().collect())
}

/// The condition that identifies a row by its present key.
async fn key_condition<C>(
    conn: &mut C,
    table: &TableInfo,
    present_key: Option<&StoredJson>,
) -> Result<String, RestoreError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if let Some(key) = present_key {
        let sql = format!(
            "SELECT {STORAGE_SCHEMA}.incompatible_columns({}::regclass, $1::jsonb) AS incompatible",
            quote_literal(&table.name.quoted())
        );
        let found = diesel::sql_query(sql)
            .bind::<Text, _>(key.as_str())
            .get_result::<Incompatible>(conn)
            .await?;
        if let Some((column, value)) = found.read()?.pop_first() {
            return Err(RestoreError::KeyIncompatible {
                table: table.name.clone(),
                column: UnknownColumn::incompatible(column, value),
            });
        }
    }
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
