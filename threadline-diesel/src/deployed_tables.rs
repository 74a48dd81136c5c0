//! The declarations of captured tables, as their deployed functions carry them.

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::Jsonb;
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::AuditedTable;

use crate::json::StoredJson;
use crate::query::ReadError;

/// The statement that reads the deployed declarations.
fn select_declarations() -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    diesel::sql_query(format!(
        "SELECT policy -> 'table' AS declared FROM {STORAGE_SCHEMA}.deployed_policies \
         ORDER BY table_schema, table_name"
    ))
    .into_boxed::<Pg>()
}

/// A declaration, as its capture function carries it.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct Declaration {
    #[diesel(sql_type = Jsonb)]
    declared: StoredJson,
}

impl Declaration {
    fn read(&self) -> Result<AuditedTable, diesel::result::Error> {
        self.declared
            .read()
            .map_err(|error| diesel::result::Error::DeserializationError(error.into()))
    }
}

/// Reads the captured tables with their rules, as they are deployed.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// for table in threadline_diesel::deployed_tables(conn).await? {
///     println!("{}", table.name());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the database reports an error, or a newer release deployed a declaration that this
/// one cannot read.
pub async fn deployed_tables<C>(conn: &mut C) -> Result<Vec<AuditedTable>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let rows = select_declarations().load::<Declaration>(conn).await?;
    Ok(rows
        .iter()
        .map(Declaration::read)
        .collect::<Result<_, _>>()?)
}
