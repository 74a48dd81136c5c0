//! What the deployed capture functions were generated from.

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::Jsonb;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::AuditedTable;

use crate::json::StoredJson;

/// The query of every declaration that is deployed.
pub(crate) fn declarations() -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    diesel::sql_query(format!(
        "SELECT policy -> 'table' AS declared FROM {STORAGE_SCHEMA}.deployed_policies \
         ORDER BY table_schema, table_name"
    ))
    .into_boxed::<Pg>()
}

/// A declaration as a function carries it.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(crate) struct Declaration {
    #[diesel(sql_type = Jsonb)]
    declared: StoredJson,
}

impl Declaration {
    pub(crate) fn read(&self) -> Result<AuditedTable, diesel::result::Error> {
        self.declared
            .read()
            .map_err(|error| diesel::result::Error::DeserializationError(error.into()))
    }
}
