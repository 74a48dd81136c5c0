//! How a table stands to the trail.

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Bool, Text};
use serde::Serialize;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

/// How a table stands to the trail, so that an empty answer can be told from a misspelt name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// It is under capture.
    Captured,
    /// It is not, but the trail has changes of it from before.
    CapturedBefore,
    /// It exists, and nothing is known of it.
    NotCaptured,
    /// There is no such table, and the trail knows none of the name.
    Unknown,
}

#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct StandingRow {
    #[diesel(sql_type = Bool)]
    is_there: bool,
    #[diesel(sql_type = Bool)]
    is_captured: bool,
    #[diesel(sql_type = Bool)]
    has_changes: bool,
}

impl From<StandingRow> for Standing {
    fn from(row: StandingRow) -> Self {
        match row {
            StandingRow {
                is_captured: true,
                is_there: true,
                ..
            } => Self::Captured,
            StandingRow {
                has_changes: true, ..
            } => Self::CapturedBefore,
            StandingRow { is_there: true, .. } => Self::NotCaptured,
            _ => Self::Unknown,
        }
    }
}

/// The query that says how a table stands.
pub(crate) fn standing_of(table: &TableName) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    diesel::sql_query(format!(
        // By the catalogs, which a role may read that may not enter the table's schema.
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c \
             JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2) AS is_there, \
         EXISTS (SELECT FROM {STORAGE_SCHEMA}.deployed_policies \
             WHERE table_schema = $1 AND table_name = $2) AS is_captured, \
         EXISTS (SELECT FROM {STORAGE_SCHEMA}.audit_changes \
             WHERE table_schema = $1 AND table_name = $2) AS has_changes"
    ))
    .into_boxed::<Pg>()
    .bind::<Text, _>(table.schema().to_owned())
    .bind::<Text, _>(table.name().to_owned())
}
