//! Plans a purge: counts expired records, and writes nothing.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel::prelude::QueryableByName;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::retention::{LastImages, RetentionPolicy};
use threadline_core::table::TableName;

use super::cutoffs::Cutoffs;
use super::partition::Partition;
use super::plan::{Expired, ExpiredPart, Notice, RetentionPlan};
use super::purge::{cutoffs, cutoffs_at, is_feed_behind, server_now};
use super::statements::{self, Query, query};
use super::walk::tables_in;
use crate::query::error::ReadError;

/// Plans a purge under a policy. Counts all expired records, so it takes as long as reading them; writes
/// nothing.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::retention::{Keep, RetentionPolicy};
/// use threadline_diesel::plan_retention;
/// use threadline_diesel::retention::Expired;
///
/// let policy = RetentionPolicy::keep(Keep::days(365)?).build()?;
/// let plan = plan_retention(conn, &policy).await?;
/// println!("{} changes are expired", plan.rows(Expired::Changes));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the role may not read the trail, or the database reports another error.
pub async fn plan_retention<C>(
    conn: &mut C,
    policy: &RetentionPolicy,
) -> Result<RetentionPlan, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    plan_cutoffs(conn, policy, None).await
}

/// Plans a purge that removes only records before an instant, to which all records are archived, as
/// [`PurgeOptions::archived_to`](super::PurgeOptions::archived_to).
///
/// # Errors
/// As [`plan_retention`].
pub async fn plan_archived_retention<C>(
    conn: &mut C,
    policy: &RetentionPolicy,
    archived_to: DateTime<Utc>,
) -> Result<RetentionPlan, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    plan_cutoffs(conn, policy, Some(archived_to)).await
}

async fn plan_cutoffs<C>(
    conn: &mut C,
    policy: &RetentionPolicy,
    archived_to: Option<DateTime<Utc>>,
) -> Result<RetentionPlan, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let cutoffs = cutoffs(conn, policy, archived_to).await?;
    let parts = expired_parts(conn, policy, &cutoffs).await?;
    let is_feed_behind = is_feed_behind(conn, &cutoffs).await?;
    let notices = [
        (!policy.is_enabled(), Notice::Disabled),
        (is_feed_behind, Notice::FeedBehind),
        (policy.actions_expire_first(), Notice::LosesReasons),
        (
            policy.last_images() == LastImages::Kept,
            Notice::KeepsLastImages,
        ),
        (cutoffs.kept_before.is_some(), Notice::KeepsRestored),
    ];
    Ok(RetentionPlan {
        parts,
        notices: notices
            .into_iter()
            .filter_map(|(applies, notice)| applies.then_some(notice))
            .collect(),
    })
}

/// The records that were expired some time ago, by the clock of the server, which is returned as well. Restored spans
/// that were kept then are not among them.
pub(crate) async fn expired_before<C>(
    conn: &mut C,
    policy: &RetentionPolicy,
    tolerance: TimeDelta,
) -> diesel::QueryResult<(DateTime<Utc>, Vec<ExpiredPart>)>
where
    C: AsyncConnection<Backend = Pg>,
{
    let now = server_now(conn).await?;
    let cutoffs = cutoffs_at(conn, policy, now - tolerance).await?;
    Ok((now, expired_parts(conn, policy, &cutoffs).await?))
}

/// The records that these cut-offs remove.
async fn expired_parts<C>(
    conn: &mut C,
    policy: &RetentionPolicy,
    cutoffs: &Cutoffs,
) -> diesel::QueryResult<Vec<ExpiredPart>>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut parts = Vec::new();
    if let Some(newest) = cutoffs.newest() {
        let drops = policy.last_images() == LastImages::Purged;
        for partition in partitions(conn, "audit_changes").await? {
            if partition.begins_before(newest) && !cutoffs.keep(&partition) {
                parts.extend(changes_of(conn, cutoffs, &partition, drops).await?);
            }
        }
        parts.extend(transactions(conn, cutoffs, newest).await?);
    }
    if let Some(before) = cutoffs.actions {
        for partition in partitions(conn, "audit_actions").await? {
            if partition.begins_before(before) && !cutoffs.keep(&partition) {
                parts.extend(actions_of(conn, cutoffs, &partition, before).await?);
            }
        }
    }
    Ok(parts)
}

async fn partitions<C>(conn: &mut C, parent: &'static str) -> diesel::QueryResult<Vec<Partition>>
where
    C: AsyncConnection<Backend = Pg>,
{
    statements::partitions(parent).load(conn).await
}

/// The expired changes of a partition, by table.
async fn changes_of<C>(
    conn: &mut C,
    cutoffs: &Cutoffs,
    partition: &Partition,
    drops: bool,
) -> diesel::QueryResult<Vec<ExpiredPart>>
where
    C: AsyncConnection<Backend = Pg>,
{
    let tables = tables_in(conn, partition).await?;
    let is_dropped = cutoffs.cover(partition, &tables) && (drops || tables.is_empty());
    let what = if is_dropped {
        Expired::PartitionOfChanges
    } else {
        Expired::Changes
    };
    let size = size_of(partition).get_result::<SizeRow>(conn).await?;
    if is_dropped && tables.is_empty() {
        let whole = part(what, partition, partition.to, 0);
        return Ok(vec![ExpiredPart {
            bytes: Some(size.bytes),
            ..whole
        }]);
    }
    let mut parts = Vec::new();
    for table in tables {
        let Some(before) = cutoffs.of_table(&table) else {
            continue;
        };
        if !partition.begins_before(before) {
            continue;
        }
        let counted = count_changes(partition, &table, before, cutoffs.kept_before)
            .get_result::<CountRow>(conn)
            .await?;
        if counted.rows > 0 {
            parts.push(ExpiredPart {
                table: Some(table),
                bytes: Some(size.share(counted.rows)),
                ..part(what, partition, Some(before), counted.rows)
            });
        }
    }
    Ok(parts)
}

/// The expired actions of a partition.
async fn actions_of<C>(
    conn: &mut C,
    cutoffs: &Cutoffs,
    partition: &Partition,
    before: DateTime<Utc>,
) -> diesel::QueryResult<Option<ExpiredPart>>
where
    C: AsyncConnection<Backend = Pg>,
{
    let counted = query(&format!(
        "SELECT pg_catalog.count(*) AS rows FROM {} WHERE id < @threadline@.action_id_from($1) \
            AND id >= @threadline@.action_id_from(COALESCE($2, '-infinity'))",
        partition.relation()
    ))
    .bind::<Timestamptz, _>(before)
    .bind::<Nullable<Timestamptz>, _>(cutoffs.kept_before)
    .get_result::<CountRow>(conn)
    .await?;
    if counted.rows == 0 {
        return Ok(None);
    }
    let bytes = if partition.ends_by(before) {
        let size = size_of(partition).get_result::<SizeRow>(conn).await?;
        Some(size.bytes)
    } else {
        None
    };
    Ok(Some(ExpiredPart {
        bytes,
        ..part(Expired::Actions, partition, Some(before), counted.rows)
    }))
}

/// The transactions of which every change has expired, by partition.
async fn transactions<C>(
    conn: &mut C,
    cutoffs: &Cutoffs,
    newest: DateTime<Utc>,
) -> diesel::QueryResult<Vec<ExpiredPart>>
where
    C: AsyncConnection<Backend = Pg>,
{
    let found = emptied_transactions(cutoffs, newest)
        .load::<EmptiedRow>(conn)
        .await?;
    let partitions = partitions(conn, "audit_transactions").await?;
    let parts = partitions.iter().filter_map(|partition| {
        let row = found
            .iter()
            .find(|row| row.partition_name == partition.name)?;
        Some(part(
            Expired::Transactions,
            partition,
            Some(newest),
            row.rows,
        ))
    });
    Ok(parts.collect())
}

fn part(
    what: Expired,
    partition: &Partition,
    before: Option<DateTime<Utc>>,
    rows: i64,
) -> ExpiredPart {
    ExpiredPart {
        what,
        partition: Some(partition.name.clone()),
        from: partition.from,
        to: partition.to,
        table: None,
        before,
        rows,
        bytes: None,
    }
}

fn count_changes(
    partition: &Partition,
    table: &TableName,
    before: DateTime<Utc>,
    kept_before: Option<DateTime<Utc>>,
) -> Query {
    query(&format!(
        "SELECT pg_catalog.count(*) AS rows FROM {} \
         WHERE table_name = $1 AND table_schema = $2 AND captured_at < $3 \
            AND captured_at >= COALESCE($4, '-infinity')",
        partition.relation()
    ))
    .bind::<Text, _>(table.name().to_owned())
    .bind::<Text, _>(table.schema().to_owned())
    .bind::<Timestamptz, _>(before)
    .bind::<Nullable<Timestamptz>, _>(kept_before)
}

fn emptied_transactions(cutoffs: &Cutoffs, newest: DateTime<Utc>) -> Query {
    let rules = cutoffs.tables.iter();
    query(
        "WITH rule AS (SELECT * FROM unnest($1, $2, $3) AS rule (table_schema, table_name, before)), \
         expired AS (\
            SELECT change.transaction_id AS id FROM @threadline@.audit_changes AS change \
            LEFT JOIN rule USING (table_schema, table_name) \
            WHERE change.transaction_id < @threadline@.transaction_id_from(LEAST($4, $6)) \
            GROUP BY change.transaction_id \
            HAVING pg_catalog.bool_and(COALESCE(change.captured_at < \
                CASE WHEN rule.table_name IS NULL THEN $5 ELSE rule.before END, false)) \
                AND pg_catalog.min(change.captured_at) >= COALESCE($7, '-infinity')\
         ) \
         SELECT class.relname::text AS partition_name, pg_catalog.count(*) AS rows \
         FROM expired JOIN @threadline@.audit_transactions AS recorded USING (id) \
         JOIN pg_catalog.pg_class AS class ON class.oid = recorded.tableoid \
         WHERE $6 IS NOT NULL GROUP BY class.relname",
    )
    .bind::<Array<Text>, _>(
        rules
            .clone()
            .map(|rule| rule.table.schema().to_owned())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Text>, _>(
        rules
            .clone()
            .map(|rule| rule.table.name().to_owned())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Timestamptz>>, _>(rules.map(|rule| rule.before).collect::<Vec<_>>())
    .bind::<Timestamptz, _>(newest)
    .bind::<Nullable<Timestamptz>, _>(cutoffs.changes)
    .bind::<Nullable<Timestamptz>, _>(cutoffs.transactions)
    .bind::<Nullable<Timestamptz>, _>(cutoffs.kept_before)
}

fn size_of(partition: &Partition) -> Query {
    query(
        "SELECT pg_catalog.pg_total_relation_size(class.oid) AS bytes, class.reltuples::bigint AS rows \
         FROM pg_catalog.pg_class AS class WHERE class.oid = pg_catalog.to_regclass($1)",
    )
    .bind::<Text, _>(
        partition
            .relation()
            .replace("@threadline@", threadline_core::storage::STORAGE_SCHEMA),
    )
}

#[derive(Debug, QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

#[derive(Debug, QueryableByName)]
struct EmptiedRow {
    #[diesel(sql_type = Text)]
    partition_name: String,
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

#[derive(Debug, QueryableByName)]
struct SizeRow {
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    /// As of the last ANALYZE.
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

impl SizeRow {
    /// The estimated size of this number of rows.
    fn share(&self, rows: i64) -> i64 {
        let all = i128::from(self.rows.max(rows).max(1));
        i64::try_from(i128::from(self.bytes) * i128::from(rows) / all).unwrap_or(self.bytes)
    }
}
