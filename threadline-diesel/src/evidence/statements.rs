//! The statements of evidence and their rows. They run with the privileges of the connection's role.

use chrono::{DateTime, Utc};
use diesel::data_types::PgInterval;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Array, BigInt, Bool, Interval, Jsonb, Nullable, Text, Timestamptz};
use serde_json::Value;
use threadline_core::storage::STORAGE_SCHEMA;

pub(crate) type Query = BoxedSqlQuery<'static, Pg, SqlQuery>;

pub(super) fn query(sql: &str) -> Query {
    diesel::sql_query(sql.replace("@threadline@", STORAGE_SCHEMA)).into_boxed()
}

/// Whether the migration of evidence is applied: an [`Answer`].
pub(super) fn is_installed() -> Query {
    query("SELECT pg_catalog.to_regclass('@threadline@.audit_evidence') IS NOT NULL AS answer")
}

/// The server's clock: an [`Instant`].
pub(super) fn now() -> Query {
    query("SELECT pg_catalog.clock_timestamp() AS instant")
}

/// Records the result of a check, valid for an interval from now: a [`Recorded`].
pub(super) fn record_check(evidence: Value, valid_for: Option<PgInterval>) -> Query {
    query(
        "SELECT @threadline@.record_check($1 || pg_catalog.jsonb_build_object(\
             'valid_until', pg_catalog.clock_timestamp() + $2)) AS order_id",
    )
    .bind::<Jsonb, _>(evidence)
    .bind::<Nullable<Interval>, _>(valid_for)
}

/// Records a statement of the host: a [`Recorded`].
pub(super) fn record_attestation(evidence: Value) -> Query {
    query("SELECT @threadline@.record_evidence($1) AS order_id").bind::<Jsonb, _>(evidence)
}

/// Filters of evidence.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub(super) struct Filters {
    pub(super) subject: Option<String>,
    pub(super) subject_ref: Option<Value>,
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
}

/// A condition on the filters, whose parameters are `$1` to `$4`.
const MATCHES: &str = "($1 IS NULL OR evidence.subject = $1) \
    AND ($2 IS NULL OR evidence.subject_ref = $2) \
    AND ($3 IS NULL OR evidence.recorded_at >= $3) AND ($4 IS NULL OR evidence.recorded_at <= $4)";

fn filtered(sql: &str, filters: &Filters) -> Query {
    query(&sql.replace("@matches@", MATCHES))
        .bind::<Nullable<Text>, _>(filters.subject.clone())
        .bind::<Nullable<Jsonb>, _>(filters.subject_ref.clone())
        .bind::<Nullable<Timestamptz>, _>(filters.from)
        .bind::<Nullable<Timestamptz>, _>(filters.to)
}

/// One record: [`Evidence`](super::Evidence).
pub(super) fn find(order_id: i64) -> Query {
    query("SELECT evidence.* FROM @threadline@.audit_evidence AS evidence WHERE evidence.order_id = $1")
        .bind::<BigInt, _>(order_id)
}

/// Records in the order of their ids, from a position if one is given: [`Evidence`](super::Evidence).
pub(super) fn history(
    filters: &Filters,
    position: Option<(&'static str, i64)>,
    is_descending: bool,
    limit: i64,
) -> Query {
    let (comparison, position) = position.unzip();
    let sql = format!(
        "SELECT evidence.* FROM @threadline@.audit_evidence AS evidence \
         WHERE @matches@ AND ($5 IS NULL OR evidence.order_id {} $5) ORDER BY evidence.order_id {} LIMIT $6",
        comparison.unwrap_or("="),
        if is_descending { "DESC" } else { "ASC" },
    );
    filtered(&sql, filters)
        .bind::<Nullable<BigInt>, _>(position)
        .bind::<BigInt, _>(limit)
}

/// The newest records of each object. A statement of the host does not replace the result of a check.
const NEWEST: &str = "( \
    SELECT DISTINCT ON (evidence.subject, evidence.subject_ref, evidence.basis) evidence.* \
    FROM @threadline@.audit_evidence AS evidence WHERE @matches@ \
    ORDER BY evidence.subject, evidence.subject_ref, evidence.basis, evidence.order_id DESC \
)";

/// The newest records of each object of a subject, or of all subjects: [`Evidence`](super::Evidence).
pub(super) fn newest(filters: &Filters, limit: i64) -> Query {
    let sql =
        format!("SELECT newest.* FROM {NEWEST} AS newest ORDER BY newest.order_id DESC LIMIT $5");
    filtered(&sql, filters).bind::<BigInt, _>(limit)
}

/// The number and size of records.
const VOLUME: &str = "SELECT pg_catalog.count(*) AS records, COALESCE(pg_catalog.sum( \
    pg_catalog.octet_length(evidence.detail::text) + pg_catalog.octet_length(evidence.subject_ref::text) \
), 0)::bigint AS bytes";

/// The number and size of records: a [`Volume`].
pub(super) fn volume(filters: &Filters) -> Query {
    let sql = format!("{VOLUME} FROM @threadline@.audit_evidence AS evidence WHERE @matches@");
    filtered(&sql, filters)
}

/// The number and size of the records of [`newest`]: a [`Volume`].
pub(super) fn volume_of_newest(filters: &Filters) -> Query {
    filtered(&format!("{VOLUME} FROM {NEWEST} AS evidence"), filters)
}

/// When checks ran to their end in a window, and the last time before it: [`RunRow`]s, oldest first.
pub(super) fn runs(subject: Option<&str>, from: DateTime<Utc>, to: DateTime<Utc>) -> Query {
    query(include_str!("sql/runs.sql"))
        .bind::<Nullable<Text>, _>(subject.map(str::to_owned))
        .bind::<Timestamptz, _>(from)
        .bind::<Timestamptz, _>(to)
}

/// When these checks ran to their end last: [`LastRunRow`]s.
pub(super) fn last_runs(checks: Vec<String>) -> Query {
    query(
        "SELECT DISTINCT ON (evidence.check_name) \
             evidence.check_name, evidence.recorded_at, evidence.observed_to \
         FROM @threadline@.audit_evidence AS evidence \
         WHERE evidence.basis = 'checked' AND evidence.outcome <> 'incomplete' AND evidence.check_name = ANY ($1) \
         ORDER BY evidence.check_name, evidence.order_id DESC",
    )
    .bind::<Array<Text>, _>(checks)
}

#[derive(Debug, QueryableByName)]
pub(super) struct Answer {
    #[diesel(sql_type = Bool)]
    pub(super) answer: bool,
}

#[derive(Debug, QueryableByName)]
pub(super) struct Instant {
    #[diesel(sql_type = Timestamptz)]
    pub(super) instant: DateTime<Utc>,
}

#[derive(Debug, QueryableByName)]
pub(super) struct Recorded {
    #[diesel(sql_type = BigInt)]
    pub(super) order_id: i64,
}

#[derive(Debug, QueryableByName)]
pub(super) struct Volume {
    #[diesel(sql_type = BigInt)]
    pub(super) records: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) bytes: i64,
}

/// A run of a check.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct RunRow {
    #[diesel(sql_type = Text)]
    pub(super) check_name: String,
    #[diesel(sql_type = Timestamptz)]
    pub(super) recorded_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) valid_until: Option<DateTime<Utc>>,
}

/// The last run of a check.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct LastRunRow {
    #[diesel(sql_type = Text)]
    pub(super) check_name: String,
    #[diesel(sql_type = Timestamptz)]
    pub(super) recorded_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) observed_to: Option<DateTime<Utc>>,
}
