//! The statements by which retention reads, and their rows. They run with the caller's privileges.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;
use uuid::Uuid;

use super::cutoffs::Cutoffs;
use super::options::PurgeOptions;
use super::partition::Partition;

pub(crate) type Query = BoxedSqlQuery<'static, Pg, SqlQuery>;

pub(crate) fn query(sql: &str) -> Query {
    diesel::sql_query(sql.replace("@threadline@", STORAGE_SCHEMA)).into_boxed()
}

/// The server's clock.
pub(crate) fn now() -> Query {
    query("SELECT pg_catalog.clock_timestamp() AS instant")
}

/// The end of the newest restored span that is kept at an instant.
pub(crate) fn kept_before(at: DateTime<Utc>) -> Query {
    query(
        "SELECT pg_catalog.max(to_instant) AS instant FROM @threadline@.audit_restored_spans \
         WHERE keep_until > $1",
    )
    .bind::<Timestamptz, _>(at)
}

pub(crate) fn horizon(table: &TableName) -> Query {
    query("SELECT @threadline@.audit_horizon($1, $2) AS instant")
        .bind::<Text, _>(table.schema().to_owned())
        .bind::<Text, _>(table.name().to_owned())
}

#[derive(Debug, QueryableByName)]
pub(crate) struct Instant {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) instant: Option<DateTime<Utc>>,
}

#[derive(Debug, QueryableByName)]
pub(crate) struct Answer {
    #[diesel(sql_type = Bool)]
    pub(crate) answer: bool,
}

/// The partitions of one table of the trail, oldest first, the default partition last.
pub(crate) fn partitions(parent: &'static str) -> Query {
    query(
        "SELECT partition_name, from_instant, to_instant FROM @threadline@.trail_partitions() \
         WHERE parent = $1 ORDER BY from_instant NULLS LAST",
    )
    .bind::<Text, _>(parent)
}

/// The tables that have changes in a partition, by a loose index scan.
pub(crate) fn tables_in(partition: &Partition) -> Query {
    query(&format!(
        "WITH RECURSIVE found AS (\
            (SELECT table_name, table_schema FROM {0} ORDER BY table_name, table_schema LIMIT 1) \
            UNION ALL \
            SELECT next.* FROM found CROSS JOIN LATERAL (\
                SELECT change.table_name, change.table_schema FROM {0} AS change \
                WHERE (change.table_name, change.table_schema) > (found.table_name, found.table_schema) \
                ORDER BY change.table_name, change.table_schema LIMIT 1\
            ) AS next\
         ) SELECT table_schema, table_name FROM found",
        partition.relation()
    ))
}

#[derive(Debug, QueryableByName)]
pub(crate) struct TableRow {
    #[diesel(sql_type = Text)]
    table_schema: String,
    #[diesel(sql_type = Text)]
    table_name: String,
}

impl From<TableRow> for TableName {
    fn from(row: TableRow) -> Self {
        Self::new(row.table_schema, row.table_name)
    }
}

/// An id before those of all transactions that begin at an instant or later: microseconds since
/// 2000-01-01 in the first half, as `transaction_id_from` gives it, less one.
pub(crate) fn id_before(instant: DateTime<Utc>) -> Uuid {
    const EPOCH_2000: i64 = 946_684_800_000_000;
    let micros = instant.timestamp_micros().saturating_sub(EPOCH_2000);
    Uuid::from_u64_pair(micros.cast_unsigned().saturating_sub(1), u64::MAX)
}

/// Whether transactions in a range of time have changes.
pub(crate) fn have_changes(from: DateTime<Utc>, to: DateTime<Utc>) -> Query {
    query(
        "SELECT EXISTS (SELECT FROM @threadline@.audit_changes \
            WHERE transaction_id >= @threadline@.transaction_id_from($1) \
                AND transaction_id < @threadline@.transaction_id_from($2)) AS answer",
    )
    .bind::<Timestamptz, _>(from)
    .bind::<Timestamptz, _>(to)
}

/// Whether changes or actions have expired that consumers of the feed have not acknowledged.
pub(crate) fn is_feed_behind(cutoffs: &Cutoffs) -> Query {
    query(
        "SELECT COALESCE((SELECT min(acknowledged_to) FROM @threadline@.audit_feed_consumers) < GREATEST(\
            (SELECT max(id) FROM (SELECT id FROM @threadline@.audit_changes WHERE captured_at < $1 \
                ORDER BY captured_at DESC, id DESC LIMIT 1000) AS last_changes), \
            (SELECT max(order_id) FROM (SELECT order_id FROM @threadline@.audit_actions \
                WHERE id < @threadline@.action_id_from($2) ORDER BY id DESC LIMIT 1000) AS last_actions)\
         ), false) AS answer",
    )
    .bind::<Nullable<Timestamptz>, _>(cutoffs.newest())
    .bind::<Nullable<Timestamptz>, _>(cutoffs.actions)
}

pub(crate) fn maintain(options: &PurgeOptions) -> Query {
    query(
        "SELECT result, rows_moved FROM @threadline@.maintain(\
            months => $1, lock_wait => pg_catalog.make_interval(secs => $2))",
    )
    .bind::<Integer, _>(i32::from(options.months_ahead))
    .bind::<Double, _>(options.lock_wait.as_secs_f64())
}

#[derive(Debug, QueryableByName)]
pub(crate) struct MaintenanceRow {
    #[diesel(sql_type = Text)]
    pub(crate) result: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) rows_moved: i64,
}
