//! Converts texts that a user typed to values of columns. PostgreSQL casts them, under the settings of
//! capture.

use diesel::pg::Pg;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{Bool, Nullable, Text};
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};
use threadline_core::identifier::quote_literal;
use threadline_core::row_key::{RowKeyInput, RowKeyText};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::error::ReadError;
use super::filter_values::{ColumnName, FieldValue};
use super::key_columns::{
    InvalidColumnValue, KeyColumnsRow, KeyError, ValueError, select_key_columns, typed_values,
};
use crate::captured_table::CANONICAL_SETTINGS;

/// A column and the cast to its type.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct ColumnCast {
    /// The present name of the column.
    #[diesel(sql_type = Text)]
    column_name: String,
    /// The name in the newest policy.
    #[diesel(sql_type = Text)]
    stored_name: String,
    /// The type, with its modifier; of a domain, its base type.
    #[diesel(sql_type = Text)]
    type_name: String,
    /// The type without its modifier.
    #[diesel(sql_type = Text)]
    unconstrained: String,
    /// The equality operator.
    #[diesel(sql_type = Text)]
    equals: String,
    /// Whether equal values have equal texts.
    #[diesel(sql_type = Bool)]
    has_one_text: bool,
    /// Whether the trail may have values that the present type rejects.
    #[diesel(sql_type = Bool)]
    has_other_values: bool,
}

/// A value as PostgreSQL renders it.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct Rendered {
    #[diesel(sql_type = Text)]
    as_text: String,
    #[diesel(sql_type = Text)]
    as_json: String,
}

/// The result of a cast.
enum CastResult {
    Value(Rendered),
    /// The value can only be compared as text: the type rejects it, but the trail may have values of an
    /// earlier type; or the role has no privilege on the type.
    AsText,
    Rejected(InvalidColumnValue),
}

#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct StoredKey {
    #[diesel(sql_type = Nullable<Text>)]
    row_key: Option<String>,
}

/// Resolves a key that was typed as text by the table's key columns, or the names that they had before
/// they were renamed. PostgreSQL casts the values to the types of the columns: `73.5` is the key `73.50`
/// of a `numeric(10,2)`.
///
/// # Errors
/// [`KeyError`] when the key does not fit the table, a value is none of its column's type, or the
/// database reports an error.
pub async fn resolve_key<C>(
    conn: &mut C,
    table: &TableName,
    key: &RowKeyInput,
) -> Result<RowKeyText, KeyError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let names = select_key_columns(table)
        .load::<KeyColumnsRow>(conn)
        .await?;
    let values = typed_values(key, table, &names)?;
    // Nothing is written. Rolling back restores the settings, also inside a transaction of the caller.
    C::TransactionManager::begin_transaction(conn).await?;
    let stored = stored_key(conn, table, values).await;
    let ended = C::TransactionManager::rollback_transaction(conn).await;
    let stored = stored?;
    ended?;
    Ok(stored)
}

/// Converts a value that was typed as text for a filter by a column. PostgreSQL casts it to the type of
/// the column: `73.5` equals a stored `73.50`. Values of an earlier type of the column are compared as
/// text.
///
/// # Errors
/// [`ValueError`] when the text is no value of the column's type, or the database reports an error.
pub async fn resolve_value<C>(
    conn: &mut C,
    table: &TableName,
    column: &ColumnName,
    text: &str,
) -> Result<FieldValue, ValueError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let typed = FieldValue::typed(text)?;
    C::TransactionManager::begin_transaction(conn).await?;
    let value = stored_value(conn, table, column, text).await;
    let ended = C::TransactionManager::rollback_transaction(conn).await;
    let value = value?;
    ended?;
    Ok(value.unwrap_or(typed))
}

/// The stored forms of a value; `None` if it can only be compared as text.
async fn stored_value<C>(
    conn: &mut C,
    table: &TableName,
    column: &ColumnName,
    text: &str,
) -> Result<Option<FieldValue>, ValueError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let types = column_casts(conn, table, Some(column.as_str())).await?;
    let [column] = types.as_slice() else {
        return Ok(None);
    };
    match column.cast(conn, text).await? {
        CastResult::Value(value) => {
            // Capture stores a value as JSON or as text, depending on its type.
            let as_text = (column.type_name != "jsonb").then_some(value.as_text);
            let as_typed = column.has_other_values.then(|| text.to_owned());
            let texts: Vec<_> = as_text.into_iter().chain(as_typed).collect();
            Ok(Some(FieldValue::any_of(value.as_json, texts)))
        }
        CastResult::AsText => Ok(None),
        CastResult::Rejected(invalid) => Err(invalid.into()),
    }
}

async fn stored_key<C>(
    conn: &mut C,
    table: &TableName,
    texts: Vec<String>,
) -> Result<RowKeyText, KeyError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let types = column_casts(conn, table, None).await?;
    if types.len() != texts.len() {
        return Ok(RowKeyText::from_values(texts));
    }
    let mut values = Vec::with_capacity(texts.len());
    for (column, text) in types.iter().zip(&texts) {
        match column.cast(conn, text).await? {
            CastResult::Value(value) => values.push(value.as_text),
            CastResult::AsText => return Ok(RowKeyText::from_values(texts)),
            CastResult::Rejected(invalid) => return Err(invalid.into()),
        }
    }
    let key = RowKeyText::from_values(values.clone());
    if types.iter().all(|column| column.has_one_text)
        || types.iter().any(|column| column.has_other_values)
    {
        return Ok(key);
    }
    let equal = equal_key(conn, table, &types, &key, values).await?;
    Ok(equal.map_or(key, RowKeyText::from_stored))
}

/// The casts to the types of the key columns, or of one column. Applies the settings of capture to the transaction.
async fn column_casts<C>(
    conn: &mut C,
    table: &TableName,
    column: Option<&str>,
) -> Result<Vec<ColumnCast>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    conn.batch_execute(CANONICAL_SETTINGS).await?;
    let types = diesel::sql_query(include_str!("column_types.sql"))
        .bind::<Text, _>(table.schema())
        .bind::<Text, _>(table.name())
        .bind::<Nullable<Text>, _>(column)
        .load(conn)
        .await?;
    Ok(types)
}

impl ColumnCast {
    /// Casts a text to the type.
    async fn cast<C>(&self, conn: &mut C, text: &str) -> Result<CastResult, ReadError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let (exact, any) = (&self.type_name, &self.unconstrained);
        // A cast to a type with a modifier rounds and truncates, so that it could find another value.
        let value = if exact == any {
            format!("$1::{any}")
        } else {
            let equals = &self.equals;
            format!("CASE WHEN $1::{any} {equals} $1::{exact} THEN $1::{exact} ELSE $1::{any} END")
        };
        let statement = diesel::sql_query(format!(
            "SELECT value::text AS as_text, to_jsonb(value)::text AS as_json FROM (SELECT {value}) AS cast_text (value)"
        ))
        .bind::<Text, _>(text);
        C::TransactionManager::begin_transaction(conn).await?;
        let rendered = statement.get_result::<Rendered>(conn).await;
        C::TransactionManager::rollback_transaction(conn).await?;
        match rendered {
            Ok(value) => Ok(CastResult::Value(value)),
            Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, details))
                if self.has_other_values || details.message().starts_with("permission denied") =>
            {
                Ok(CastResult::AsText)
            }
            Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, details)) => {
                Ok(CastResult::Rejected(InvalidColumnValue {
                    column: self.column_name.clone(),
                    type_name: self.type_name.clone(),
                    value: text.to_owned(),
                    message: details.message().to_owned(),
                }))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The newest stored key with equal values, if the trail does not have the key itself: `1.50` for `1.5`.
/// Reads the changes of the table, because no index compares values of these types.
async fn equal_key<C>(
    conn: &mut C,
    table: &TableName,
    types: &[ColumnCast],
    key: &RowKeyText,
    values: Vec<String>,
) -> Result<Option<String>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let equal: Vec<_> = types
        .iter()
        .zip(4..)
        .map(|(column, parameter)| {
            format!(
                "(change.table_pk ->> {name})::{any} {equals} ${parameter}::{any}",
                name = quote_literal(&column.stored_name),
                any = column.unconstrained,
                equals = column.equals,
            )
        })
        .collect();
    let mut statement = diesel::sql_query(format!(
        "SELECT CASE WHEN EXISTS (
             SELECT FROM {STORAGE_SCHEMA}.audit_changes
             WHERE table_schema = $1 AND table_name = $2 AND row_key = $3
         ) OR EXISTS (
             SELECT FROM {STORAGE_SCHEMA}.audit_key_changes
             WHERE table_schema = $1 AND table_name = $2 AND previous_key = $3
         ) THEN $3 ELSE (
             SELECT change.row_key FROM {STORAGE_SCHEMA}.audit_changes AS change
             WHERE change.table_schema = $1 AND change.table_name = $2 AND change.row_key IS NOT NULL
                 AND change.id > COALESCE(({STORAGE_SCHEMA}.current_enrolment($1, $2)).key_since, 0)
                 AND {equal}
             ORDER BY change.captured_at DESC, change.id DESC LIMIT 1
         ) END AS row_key",
        equal = equal.join(" AND ")
    ))
    .into_boxed::<Pg>()
    .bind::<Text, _>(table.schema().to_owned())
    .bind::<Text, _>(table.name().to_owned())
    .bind::<Text, _>(key.as_str().to_owned());
    for value in values {
        statement = statement.bind::<Text, _>(value);
    }
    Ok(statement.get_result::<StoredKey>(conn).await?.row_key)
}
