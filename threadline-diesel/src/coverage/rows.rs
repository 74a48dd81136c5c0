//! What the database answers, as it answers it.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, Bool, Integer, Nullable, Text, Timestamptz};
use diesel::{pg::Pg, query_builder::BoxedSqlQuery, query_builder::SqlQuery};
use threadline_core::capture::GENERATOR_VERSION;
use threadline_core::storage::STORAGE_SCHEMA;

/// A query of a file, with the storage schema put in.
pub(crate) fn query(sql: &str) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    diesel::sql_query(sql.replace("@threadline@", STORAGE_SCHEMA)).into_boxed::<Pg>()
}

pub(crate) fn access() -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    query(include_str!("../../sql/coverage/access.sql"))
}

pub(crate) fn tables() -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    query(include_str!("../../sql/coverage/tables.sql"))
}

pub(crate) fn deployed() -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    query(include_str!("../../sql/coverage/deployed.sql"))
}

pub(crate) fn installation() -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    query(include_str!("../../sql/coverage/installation.sql"))
}

pub(crate) fn findings(
    since: DateTime<Utc>,
    roles: &[String],
) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    query(include_str!("../../sql/coverage/findings.sql"))
        .bind::<Integer, _>(i32::try_from(GENERATOR_VERSION).unwrap_or(i32::MAX))
        .bind::<Timestamptz, _>(since)
        .bind::<Array<Text>, _>(roles.to_vec())
}

pub(crate) fn schemas(asked: &[String]) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    query("SELECT nspname::text AS name FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1)")
        .bind::<Array<Text>, _>(asked.to_vec())
}

/// A schema that exists.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct SchemaRow {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
}

/// What the connected role may ask.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct Access {
    #[diesel(sql_type = Text)]
    pub(crate) role: String,
    #[diesel(sql_type = Bool)]
    pub(crate) is_installed: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) is_known: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) is_allowed: bool,
}

/// A table of the host's.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct HostTable {
    #[diesel(sql_type = Text)]
    pub(crate) table_schema: String,
    #[diesel(sql_type = Text)]
    pub(crate) table_name: String,
    #[diesel(sql_type = Bool)]
    pub(crate) captured: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) extension: Option<String>,
}

/// A finding.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct FoundRow {
    #[diesel(sql_type = Text)]
    pub(crate) severity: String,
    #[diesel(sql_type = Text)]
    pub(crate) code: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) table_schema: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) table_name: Option<String>,
    #[diesel(sql_type = Text)]
    pub(crate) explanation: String,
    #[diesel(sql_type = Text)]
    pub(crate) remedy: String,
}

/// A capture function with its policy.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct PolicyRow {
    #[diesel(sql_type = Text)]
    pub(crate) table_schema: String,
    #[diesel(sql_type = Text)]
    pub(crate) table_name: String,
    #[diesel(sql_type = Integer)]
    pub(crate) version: i32,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) hash: Option<String>,
    #[diesel(sql_type = Text)]
    pub(crate) declared: String,
    #[diesel(sql_type = Text)]
    pub(crate) function: String,
    #[diesel(sql_type = Bool)]
    pub(crate) by_row: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) changed_by_hand: bool,
}

/// The release that made the trail.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct Installation {
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) release: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) digest: Option<String>,
}
