//! The statements of a purge's steps and of the record of its run. They run with the caller's privileges; the
//! functions that remove records are SECURITY DEFINER.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use threadline_core::table::TableName;
use uuid::Uuid;

use super::options::PurgeOptions;
use super::run::{RetentionRun, RunState, UnknownRunState};
use super::statements::{Query, query};
use crate::json::StoredJson;

/// Marks a run with an expired lease as abandoned. A running step holds a lock on the row.
pub(crate) fn abandon() -> Query {
    query(
        "UPDATE @threadline@.audit_retention_runs \
         SET state = 'abandoned', finished_at = pg_catalog.clock_timestamp(), failure = 'its lease ran out' \
         WHERE id IN (SELECT id FROM @threadline@.audit_retention_runs \
            WHERE state = 'running' AND lease_until <= pg_catalog.clock_timestamp() FOR UPDATE SKIP LOCKED)",
    )
}

/// Begins a run, unless another is running.
pub(crate) fn begin(
    policy: serde_json::Value,
    cutoffs: serde_json::Value,
    options: &PurgeOptions,
) -> Query {
    query(
        "INSERT INTO @threadline@.audit_retention_runs (state, lease_until, policy, cutoffs) \
         VALUES ('running', pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => $1), $2, $3) \
         ON CONFLICT (state) WHERE state = 'running' DO NOTHING RETURNING id",
    )
    .bind::<Double, _>(lease_seconds(options))
    .bind::<Jsonb, _>(policy)
    .bind::<Jsonb, _>(cutoffs)
}

#[derive(Debug, QueryableByName)]
pub(crate) struct RunId {
    #[diesel(sql_type = BigInt)]
    pub(crate) id: i64,
}

/// The run that is running.
pub(crate) fn holder() -> Query {
    query("SELECT id, lease_until FROM @threadline@.audit_retention_runs WHERE state = 'running'")
}

#[derive(Debug, QueryableByName)]
pub(crate) struct Holder {
    #[diesel(sql_type = BigInt)]
    pub(crate) id: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) lease_until: DateTime<Utc>,
}

fn lease_seconds(options: &PurgeOptions) -> f64 {
    (options.lease + options.rest_after_lock()).as_secs_f64()
}

/// The work of one step.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Changes {
        table: TableName,
        before: DateTime<Utc>,
        batch: i32,
        keep_last_images: bool,
        transactions_before: Option<DateTime<Utc>>,
    },
    Drop {
        partition: String,
        /// The column of the run that counts its rows.
        counts: &'static str,
    },
    Transactions {
        after: Uuid,
        before: DateTime<Utc>,
        batch: i32,
    },
    Actions {
        before: DateTime<Utc>,
        batch: i32,
    },
}

impl Work {
    /// A description of the step, for the record of a failure.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Changes { table, .. } => format!("removing changes of {table}"),
            Self::Drop { partition, .. } => format!("dropping {partition}"),
            Self::Transactions { .. } => "removing transactions".to_owned(),
            Self::Actions { .. } => "removing actions".to_owned(),
        }
    }

    /// The function call, and the expressions of its numbers of changes, transactions, actions and baselines, and of
    /// the last transaction that it read.
    fn sql(&self) -> (&'static str, [&'static str; 5]) {
        const NONE: &str = "0::bigint";
        const NO_ID: &str = "NULL::uuid";
        match self {
            Self::Changes { .. } => (
                "@threadline@.remove_changes($3, $4, $5, $6, 'retention', $7, $8)",
                [
                    "(done.r).changes",
                    "(done.r).transactions",
                    NONE,
                    "(done.r).baselines",
                    NO_ID,
                ],
            ),
            Self::Drop { counts, .. } => {
                let rows = |column| if *counts == column { "done.r" } else { NONE };
                (
                    "@threadline@.drop_trail_partition($3, 'retention', pg_catalog.make_interval(secs => $4))",
                    [
                        rows("changes"),
                        rows("transactions"),
                        rows("actions"),
                        NONE,
                        NO_ID,
                    ],
                )
            }
            Self::Transactions { .. } => (
                "@threadline@.remove_transactions($3, $4, $5, 'retention')",
                [
                    NONE,
                    "(done.r).transactions",
                    NONE,
                    NONE,
                    "(done.r).last_id",
                ],
            ),
            Self::Actions { .. } => (
                "@threadline@.remove_actions($3, $4, 'retention')",
                [NONE, NONE, "done.r", NONE, NO_ID],
            ),
        }
    }
}

/// One step: removes records and updates the run's counts and lease, in one statement and so in one
/// transaction. The run's row is locked first; no row comes back if the run is no longer running.
pub(crate) fn step(run: i64, options: &PurgeOptions, work: &Work) -> Query {
    let (call, [changes, transactions, actions, baselines, last_id]) = work.sql();
    let is_drop = matches!(work, Work::Drop { .. });
    let stepped = query(&format!(
        "WITH held AS MATERIALIZED (\
            SELECT id FROM @threadline@.audit_retention_runs WHERE id = $1 AND state = 'running' FOR UPDATE\
         ), done AS MATERIALIZED (SELECT {call} AS r FROM held), \
         counted AS (SELECT COALESCE({changes}, 0) AS changes, COALESCE({transactions}, 0) AS transactions, \
            COALESCE({actions}, 0) AS actions, {baselines} AS baselines, {last_id} AS last_id, \
            {is_drop} AND done.r IS NULL AS is_locked, {is_drop} AND done.r IS NOT NULL AS is_dropped FROM done) \
         UPDATE @threadline@.audit_retention_runs AS run SET \
            lease_until = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => $2), \
            step_count = run.step_count + 1, change_count = run.change_count + counted.changes, \
            transaction_count = run.transaction_count + counted.transactions, \
            action_count = run.action_count + counted.actions, \
            baseline_count = run.baseline_count + counted.baselines, \
            partition_count = run.partition_count + counted.is_dropped::integer \
         FROM counted WHERE run.id = $1 \
         RETURNING counted.changes, counted.transactions, counted.actions, counted.is_locked, counted.last_id"
    ))
    .bind::<BigInt, _>(run)
    .bind::<Double, _>(lease_seconds(options));
    match work.clone() {
        Work::Changes {
            table,
            before,
            batch,
            keep_last_images,
            transactions_before,
        } => stepped
            .bind::<Text, _>(table.schema().to_owned())
            .bind::<Text, _>(table.name().to_owned())
            .bind::<Timestamptz, _>(before)
            .bind::<Integer, _>(batch)
            .bind::<Bool, _>(keep_last_images)
            .bind::<Nullable<Timestamptz>, _>(transactions_before),
        Work::Drop { partition, .. } => stepped
            .bind::<Text, _>(partition)
            .bind::<Double, _>(options.lock_wait.as_secs_f64()),
        Work::Transactions {
            after,
            before,
            batch,
        } => stepped
            .bind::<SqlUuid, _>(after)
            .bind::<Timestamptz, _>(before)
            .bind::<Integer, _>(batch),
        Work::Actions { before, batch } => stepped
            .bind::<Timestamptz, _>(before)
            .bind::<Integer, _>(batch),
    }
}

#[derive(Debug, Default, QueryableByName)]
pub(crate) struct StepRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) changes: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) transactions: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) actions: i64,
    #[diesel(sql_type = Bool)]
    pub(crate) is_locked: bool,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(crate) last_id: Option<Uuid>,
}

/// Records that a partition is left to the next run.
pub(crate) fn postpone(run: i64, partition: String) -> Query {
    query(
        "UPDATE @threadline@.audit_retention_runs SET postponed = pg_catalog.array_append(postponed, $2) \
         WHERE id = $1 AND state = 'running'",
    )
    .bind::<BigInt, _>(run)
    .bind::<Text, _>(partition)
}

pub(crate) fn end(run: i64, state: RunState, failure: Option<String>) -> Query {
    query(
        "UPDATE @threadline@.audit_retention_runs \
         SET state = $2, finished_at = pg_catalog.clock_timestamp(), failure = $3 \
         WHERE id = $1 AND state = 'running'",
    )
    .bind::<BigInt, _>(run)
    .bind::<Text, _>(state.as_str())
    .bind::<Nullable<Text>, _>(failure)
}

const RUN_COLUMNS: &str = "id, state, started_at, finished_at, started_by, policy, step_count, \
    change_count, transaction_count, action_count, baseline_count, partition_count, postponed, \
    failure";

pub(crate) fn run(id: i64) -> Query {
    query(&format!(
        "SELECT {RUN_COLUMNS} FROM @threadline@.audit_retention_runs WHERE id = $1"
    ))
    .bind::<BigInt, _>(id)
}

pub(crate) fn newest_runs(most: u32) -> Query {
    query(&format!(
        "SELECT {RUN_COLUMNS} FROM @threadline@.audit_retention_runs ORDER BY id DESC LIMIT $1"
    ))
    .bind::<BigInt, _>(i64::from(most))
}

#[derive(Debug, QueryableByName)]
pub(crate) struct RunRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Timestamptz)]
    started_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    finished_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    started_by: String,
    #[diesel(sql_type = Jsonb)]
    policy: StoredJson,
    #[diesel(sql_type = BigInt)]
    step_count: i64,
    #[diesel(sql_type = BigInt)]
    change_count: i64,
    #[diesel(sql_type = BigInt)]
    transaction_count: i64,
    #[diesel(sql_type = BigInt)]
    action_count: i64,
    #[diesel(sql_type = BigInt)]
    baseline_count: i64,
    #[diesel(sql_type = BigInt)]
    partition_count: i64,
    #[diesel(sql_type = Array<Text>)]
    postponed: Vec<String>,
    #[diesel(sql_type = Nullable<Text>)]
    failure: Option<String>,
}

impl TryFrom<RunRow> for RetentionRun {
    type Error = UnknownRunState;

    fn try_from(row: RunRow) -> Result<Self, Self::Error> {
        Ok(Self {
            id: row.id,
            state: row.state.parse()?,
            started_at: row.started_at,
            finished_at: row.finished_at,
            started_by: row.started_by,
            policy: row.policy,
            steps: row.step_count,
            changes: row.change_count,
            transactions: row.transaction_count,
            actions: row.action_count,
            baselines: row.baseline_count,
            partitions: row.partition_count,
            postponed: row.postponed,
            failure: row.failure,
        })
    }
}
