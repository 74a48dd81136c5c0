//! The questions to the database on which a journey rests.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Bool, Jsonb, Nullable, Text, Timestamptz};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::narrowing::KeysAsked;
use crate::json::StoredJson;

/// Asks what stands for tables as of an instant, in the order in which they are named.
#[derive(Debug)]
pub(crate) struct TableSources {
    pub(crate) schemas: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) instant: DateTime<Utc>,
    pub(crate) allow_unknown: bool,
    pub(crate) trail_only: bool,
}

/// Problem, detail, horizon, unknown columns and SQL of a table; whether the SQL reads the table
/// itself; what stands for it while PostgreSQL is asked which keys a query is about, and their column.
pub(crate) type SourceRow = (
    Option<String>,
    Option<String>,
    Option<DateTime<Utc>>,
    Option<StoredJson>,
    Option<String>,
    bool,
    Option<String>,
    Option<String>,
);

impl QueryFragment<Pg> for TableSources {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Compiling the statements of a journey takes several times as long as running them. The
        // setting ends with the transaction.
        out.push_sql(
            "SELECT found.* FROM pg_catalog.set_config('jit', 'off', true) AS compiling \
             CROSS JOIN ROWS FROM (pg_catalog.unnest(",
        );
        out.push_bind_param::<Array<Text>, _>(&self.schemas)?;
        out.push_sql("), pg_catalog.unnest(");
        out.push_bind_param::<Array<Text>, _>(&self.names)?;
        out.push_sql(")) WITH ORDINALITY AS given (schema, name, place) CROSS JOIN LATERAL ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".table_rewound(given.schema, given.name, ");
        out.push_bind_param::<Timestamptz, _>(&self.instant)?;
        out.push_sql(", ");
        out.push_bind_param::<Bool, _>(&self.allow_unknown)?;
        out.push_sql(", ");
        out.push_bind_param::<Bool, _>(&self.trail_only)?;
        out.push_sql(") AS found ORDER BY given.place");
        Ok(())
    }
}

impl QueryId for TableSources {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for TableSources {
    type SqlType = (
        Nullable<Text>,
        Nullable<Text>,
        Nullable<Timestamptz>,
        Nullable<Jsonb>,
        Nullable<Text>,
        Bool,
        Nullable<Text>,
        Nullable<Text>,
    );
}

impl<Conn> RunQueryDsl<Conn> for TableSources {}

/// Asks which functions of some names may read tables.
#[derive(Debug)]
pub(crate) struct FunctionsThatMayRead(pub(crate) Vec<String>);

impl QueryFragment<Pg> for FunctionsThatMayRead {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".functions_that_may_read(");
        out.push_bind_param::<Array<Text>, _>(&self.0)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryId for FunctionsThatMayRead {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for FunctionsThatMayRead {
    type SqlType = Array<Text>;
}

impl<Conn> RunQueryDsl<Conn> for FunctionsThatMayRead {}

/// Asks what stands for a table where a query asks for certain keys only.
#[derive(Debug)]
pub(crate) struct TableOfKeys {
    pub(crate) table: TableName,
    pub(crate) instant: DateTime<Utc>,
    pub(crate) allow_unknown: bool,
    pub(crate) trail_only: bool,
    pub(crate) keys: KeysAsked,
}

impl QueryFragment<Pg> for TableOfKeys {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".table_of_keys(");
        out.push_bind_param::<Text, _>(self.table.schema())?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.table.name())?;
        out.push_sql(", ");
        out.push_bind_param::<Timestamptz, _>(&self.instant)?;
        out.push_sql(", ");
        out.push_bind_param::<Bool, _>(&self.allow_unknown)?;
        out.push_sql(", ");
        out.push_bind_param::<Bool, _>(&self.trail_only)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&self.keys.literal)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.keys.of_type)?;
        out.push_sql("::pg_catalog.regtype, ");
        out.push_bind_param::<Bool, _>(&self.keys.is_array)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryId for TableOfKeys {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for TableOfKeys {
    type SqlType = Text;
}

impl<Conn> RunQueryDsl<Conn> for TableOfKeys {}
