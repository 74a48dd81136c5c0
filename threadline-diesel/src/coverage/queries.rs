//! The statements of coverage and their rows. They run with `search_path = pg_catalog`; see [`pin_settings`].

use chrono::{DateTime, Months, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Array, Bool, Integer, Jsonb, Nullable, Oid, Text, Timestamptz, Uuid};
use serde_json::Value;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::transaction::AuditTransactionId;

pub(crate) type Statement = BoxedSqlQuery<'static, Pg, SqlQuery>;

/// Fragments that statements share, with their placeholders.
const FRAGMENTS: [(&str, &str); 3] = [
    ("@captured@", include_str!("findings/captured.sql")),
    (
        "@expected_triggers@",
        include_str!("findings/expected_triggers.sql"),
    ),
    (
        "@partitions_ahead@",
        include_str!("findings/partitions_ahead.sql"),
    ),
];

/// The tables of the trail that coverage reads, and the sequence of changes.
const READ: [&str; 9] = [
    "audit_changes",
    "audit_transactions",
    "audit_removals",
    "audit_enrolments",
    "audit_suspensions",
    "audit_changes_default",
    "audit_transactions_default",
    "audit_actions_default",
    "audit_changes_id_seq",
];

/// A statement from a file, with fragments and the storage schema substituted.
pub(crate) fn statement(sql: &str) -> Statement {
    let whole = FRAGMENTS.iter().fold(sql.to_owned(), |sql, (name, text)| {
        sql.replace(name, text.trim_end())
    });
    diesel::sql_query(whole.replace("@threadline@", STORAGE_SCHEMA)).into_boxed::<Pg>()
}

/// Sets the search path until the transaction or savepoint is rolled back, and disables JIT, because compiling these
/// statements takes longer than running them.
pub(crate) fn pin_settings() -> Statement {
    statement(
        "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true), \
         pg_catalog.set_config('jit', 'off', true)",
    )
}

pub(crate) fn access() -> Statement {
    let read: Vec<_> = READ.iter().map(|&name| name.to_owned()).collect();
    statement(include_str!("sql/access.sql")).bind::<Array<Text>, _>(read)
}

pub(crate) fn schema_version() -> Statement {
    statement("SELECT @threadline@.schema_version() AS version")
}

pub(crate) fn host_tables() -> Statement {
    statement(include_str!("sql/host_tables.sql"))
}

pub(crate) fn functions() -> Statement {
    statement(include_str!("sql/functions.sql"))
}

pub(crate) fn columns(captured: &Value) -> Statement {
    statement(include_str!("sql/columns.sql")).bind::<Jsonb, _>(captured.clone())
}

pub(crate) fn schemas(asked: &[String]) -> Statement {
    statement("SELECT nspname::text AS name FROM pg_namespace WHERE nspname = ANY ($1)")
        .bind::<Array<Text>, _>(asked.to_vec())
}

pub(crate) fn roles(asked: &[String]) -> Statement {
    statement("SELECT rolname::text AS name FROM pg_roles WHERE rolname = ANY ($1)")
        .bind::<Array<Text>, _>(asked.to_vec())
}

pub(crate) fn recent_writers(since: DateTime<Utc>) -> Statement {
    statement(include_str!("sql/recent_writers.sql")).bind::<Uuid, _>(first_id(since))
}

/// The smallest id of transactions since an instant.
fn first_id(since: DateTime<Utc>) -> uuid::Uuid {
    AuditTransactionId::first_after(since).as_uuid()
}

/// The span for which `maintain()` creates partitions: from 2001 until three months from now.
fn partitioned_span() -> [DateTime<Utc>; 2] {
    let first = DateTime::from_timestamp(978_307_200, 0).unwrap_or_default();
    [first, Utc::now() + Months::new(3)]
}

/// The first and the last ids of that span, of transactions and of actions.
fn ids_of_partitioned_span() -> Vec<uuid::Uuid> {
    let action_id = |instant: DateTime<Utc>| {
        let milliseconds = u64::try_from(instant.timestamp_millis()).unwrap_or_default();
        uuid::Uuid::from_u64_pair(milliseconds << 16, 0)
    };
    let span = partitioned_span();
    span.map(first_id)
        .into_iter()
        .chain(span.map(action_id))
        .collect()
}

/// A statement of findings.
#[derive(Debug)]
pub(crate) struct FindingsQuery {
    sql: &'static str,
    /// The tables of the trail that it reads; others read the catalog alone.
    pub(crate) reads: &'static [&'static str],
    /// The subject of the statement, for display.
    pub(crate) looks_for: &'static str,
}

macro_rules! findings_queries {
    ($($file:literal, $looks_for:literal, $reads:expr;)+) => {
        pub(crate) const FINDINGS: &[FindingsQuery] = &[$(FindingsQuery {
            sql: include_str!(concat!("findings/", $file, ".sql")),
            reads: &$reads,
            looks_for: $looks_for,
        }),+];
    };
}

findings_queries! {
    "triggers", "triggers", [];
    "tables", "tables", [];
    "columns", "columns", [];
    "enrolments", "columns that swapped names and missing functions", ["audit_enrolments"];
    "objects", "guards and indexes", [];
    "rights", "rights", [];
    "writers", "writers", [];
    "server", "the server", [];
    "table_rights", "privileges on captured tables", [];
    "replication", "replication", [];
    "suspensions", "suspensions", ["audit_suspensions"];
    "partitions", "partitions", [];
    "default_partitions", "rows in default partitions",
        ["audit_changes_default", "audit_transactions_default", "audit_actions_default"];
    "orphans", "orphaned changes and transactions",
        ["audit_changes", "audit_transactions", "audit_removals"];
    "order", "the order of changes", ["audit_changes", "audit_changes_id_seq"];
}

/// The parameters of the statements of findings.
#[derive(Debug)]
pub(crate) struct FindingsParameters {
    /// The captured tables, from [`super::functions::captured`].
    pub(crate) captured: Value,
    pub(crate) since: DateTime<Utc>,
    pub(crate) roles: Vec<String>,
    /// The guards and indexes that the base schema creates.
    pub(crate) objects: Value,
}

impl FindingsQuery {
    /// Binds `$1` the captured tables, `$2` the instant, `$3` roles, `$4` the first transaction id of the
    /// instant, `$5` the objects of the base schema, `$6` the ids of the span that has partitions.
    pub(crate) fn statement(&self, parameters: &FindingsParameters) -> Statement {
        statement(self.sql)
            .bind::<Jsonb, _>(parameters.captured.clone())
            .bind::<Timestamptz, _>(parameters.since)
            .bind::<Array<Text>, _>(parameters.roles.clone())
            .bind::<Uuid, _>(first_id(parameters.since))
            .bind::<Jsonb, _>(parameters.objects.clone())
            .bind::<Array<Uuid>, _>(ids_of_partitioned_span())
    }
}

/// The name of a schema or a role.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct NameRow {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
}

/// The trail, and the privileges of the connected role on it.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct Access {
    #[diesel(sql_type = Bool)]
    pub(crate) is_installed: bool,
    /// The quoted name.
    #[diesel(sql_type = Text)]
    pub(crate) owner: String,
    #[diesel(sql_type = Bool)]
    pub(crate) tells_version: bool,
    #[diesel(sql_type = Array<Text>)]
    pub(crate) unreadable: Vec<String>,
}

impl Access {
    /// Whether every one of these tables may be read.
    pub(crate) fn may_read(&self, tables: &[&str]) -> bool {
        !self
            .unreadable
            .iter()
            .any(|unreadable| tables.contains(&unreadable.as_str()))
    }
}

/// The deployed schema version.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct VersionRow {
    #[diesel(sql_type = Integer)]
    pub(crate) version: i32,
}

/// A table of the host.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct HostTable {
    #[diesel(sql_type = Text)]
    pub(crate) table_schema: String,
    #[diesel(sql_type = Text)]
    pub(crate) table_name: String,
    #[diesel(sql_type = Bool)]
    pub(crate) captured: bool,
    /// Whether it is a materialized view.
    #[diesel(sql_type = Bool)]
    pub(crate) materialized: bool,
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

/// A function of the trail.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct FunctionRow {
    #[diesel(sql_type = Oid)]
    pub(crate) oid: u32,
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Text)]
    pub(crate) signature: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) comment: Option<String>,
    #[diesel(sql_type = Text)]
    pub(crate) body: String,
    #[diesel(sql_type = Array<Text>)]
    pub(crate) settings: Vec<String>,
    #[diesel(sql_type = Bool)]
    pub(crate) is_definer: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) is_trigger: bool,
    #[diesel(sql_type = Text)]
    pub(crate) owner: String,
    /// Roles other than its owner that may execute it, as SQL writes them.
    #[diesel(sql_type = Array<Text>)]
    pub(crate) grantees: Vec<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) table_schema: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) table_name: Option<String>,
}

/// The columns of a captured table.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct ColumnsRow {
    #[diesel(sql_type = Text)]
    pub(crate) table_schema: String,
    #[diesel(sql_type = Text)]
    pub(crate) table_name: String,
    #[diesel(sql_type = Array<Text>)]
    pub(crate) columns: Vec<String>,
}
