//! What is known of the completeness of tables' trails.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Array, Jsonb, Nullable, Text, Timestamptz};
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::error::ReadError;
use super::gaps::{CaptureGap, GapsRow, gaps_sql};
use crate::json::StoredJson;

/// What is known of the completeness of a table's trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableCompleteness {
    /// The table.
    #[serde(flatten)]
    pub table: TableName,
    /// The audit horizon: from when changes are known; none if the table was never captured.
    pub known_since: Option<DateTime<Utc>>,
    /// The recorded gaps, in the order of capture, without erasures of values.
    pub gaps: Vec<CaptureGap>,
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct CompletenessRow {
    #[diesel(sql_type = Text)]
    table_schema: String,
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    known_since: Option<DateTime<Utc>>,
    #[diesel(sql_type = Jsonb)]
    gaps: StoredJson,
}

impl CompletenessRow {
    fn read(self) -> QueryResult<TableCompleteness> {
        Ok(TableCompleteness {
            table: TableName::new(self.table_schema, self.table_name),
            known_since: self.known_since,
            gaps: GapsRow { gaps: self.gaps }.read()?,
        })
    }
}

fn select_completeness(tables: &[TableName]) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    let part = |of: fn(&TableName) -> &str| -> Vec<String> {
        tables.iter().map(|table| of(table).to_owned()).collect()
    };
    let gaps = gaps_sql("named.table_schema", "named.table_name", "NULL::text");
    diesel::sql_query(format!(
        "SELECT named.table_schema, named.table_name, \
         {STORAGE_SCHEMA}.audit_horizon(named.table_schema, named.table_name) AS known_since, \
         (\n{gaps}) AS gaps \
         FROM unnest($1, $2) WITH ORDINALITY AS named (table_schema, table_name, place) \
         ORDER BY named.place"
    ))
    .into_boxed()
    .bind::<Array<Text>, _>(part(TableName::schema))
    .bind::<Array<Text>, _>(part(TableName::name))
}

/// Reads from when the changes of tables are known, and their recorded gaps, in one statement; in the order
/// of `tables`.
///
/// The facts are about whole tables: do not show them under a [`Scope`](super::Scope) whose readers may not
/// know them.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// for facts in threadline_diesel::table_completeness(conn, &["invoices".parse()?]).await? {
///     println!("{}: {:?}, {} gaps", facts.table, facts.known_since, facts.gaps.len());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the database reports an error.
pub async fn table_completeness<C>(
    conn: &mut C,
    tables: &[TableName],
) -> Result<Vec<TableCompleteness>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let rows = select_completeness(tables)
        .load::<CompletenessRow>(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(CompletenessRow::read)
        .collect::<QueryResult<_>>()?)
}
