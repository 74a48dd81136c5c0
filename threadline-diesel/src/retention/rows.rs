//! The queries of retention, and what they give.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, Text, Timestamptz};
use threadline_core::retention::{LastImages, RetentionPolicy};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::options::PurgeOptions;
use super::plan::{Expired, ExpiredPart, Notice, RetentionPlan};
use super::run::{PurgeStep, RetentionRun, StepKind};
use super::{RetentionError, UnknownRunState};
use crate::json::StoredJson;

type Query = BoxedSqlQuery<'static, Pg, SqlQuery>;

fn query(sql: &str) -> Query {
    diesel::sql_query(sql.replace("@threadline@", STORAGE_SCHEMA)).into_boxed()
}

fn policy_json(policy: &RetentionPolicy) -> serde_json::Value {
    // A policy is made of numbers and texts, so it can always be written.
    serde_json::to_value(policy).unwrap_or_default()
}

pub(crate) fn plan_parts(policy: &RetentionPolicy) -> Query {
    query("SELECT * FROM @threadline@.retention_plan($1)").bind::<Jsonb, _>(policy_json(policy))
}

pub(crate) fn is_feed_behind(policy: &RetentionPolicy) -> Query {
    query("SELECT @threadline@.retention_overtakes_feed($1) AS answer")
        .bind::<Jsonb, _>(policy_json(policy))
}

pub(crate) fn begin(policy: &RetentionPolicy, options: &PurgeOptions) -> Query {
    query("SELECT * FROM @threadline@.begin_purge($1, make_interval(secs => $2), $3)")
        .bind::<Jsonb, _>(policy_json(policy))
        .bind::<Double, _>(lease_seconds(options))
        .bind::<Text, _>(options.feed_consumers.as_str())
}

pub(crate) fn step(run: i64, options: &PurgeOptions) -> Query {
    query(
        "SELECT * FROM @threadline@.purge_step(\
            $1, $2, make_interval(secs => $3), make_interval(secs => $4), $5)",
    )
    .bind::<BigInt, _>(run)
    .bind::<Integer, _>(options.batch_size.rows())
    .bind::<Double, _>(lease_seconds(options))
    .bind::<Double, _>(options.lock_wait.as_secs_f64())
    .bind::<Integer, _>(options.lock_attempts)
}

fn lease_seconds(options: &PurgeOptions) -> f64 {
    (options.lease + options.rest_after_lock()).as_secs_f64()
}

pub(crate) fn end(run: i64, state: &'static str, failure: Option<&'static str>) -> Query {
    query("SELECT @threadline@.end_purge($1, $2, $3) AS answer")
        .bind::<BigInt, _>(run)
        .bind::<Text, _>(state)
        .bind::<Nullable<Text>, _>(failure)
}

pub(crate) fn maintain(options: &PurgeOptions) -> Query {
    query("SELECT * FROM @threadline@.maintain_partitions($1, $2, make_interval(secs => $3))")
        .bind::<Integer, _>(i32::from(options.months_ahead))
        .bind::<Integer, _>(options.batch_size.rows().min(2_000))
        .bind::<Double, _>(options.lock_wait.as_secs_f64())
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

pub(crate) fn horizon(table: &TableName) -> Query {
    query("SELECT @threadline@.audit_horizon($1, $2) AS instant")
        .bind::<Text, _>(table.schema().to_owned())
        .bind::<Text, _>(table.name().to_owned())
}

/// A yes or a no.
#[derive(Debug, QueryableByName)]
pub(crate) struct Answer {
    #[diesel(sql_type = Bool)]
    pub(crate) answer: bool,
}

/// An instant, if there is one.
#[derive(Debug, QueryableByName)]
pub(crate) struct Instant {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) instant: Option<DateTime<Utc>>,
}

#[derive(Debug, QueryableByName)]
pub(crate) struct PartRow {
    #[diesel(sql_type = Text)]
    part: String,
    #[diesel(sql_type = Nullable<Text>)]
    partition_name: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    from_instant: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    to_instant: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    table_schema: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    table_name: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    before: Option<DateTime<Utc>>,
    #[diesel(sql_type = BigInt)]
    rows: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    bytes: Option<i64>,
}

impl From<PartRow> for ExpiredPart {
    fn from(row: PartRow) -> Self {
        Self {
            what: match row.part.as_str() {
                "drop" => Expired::PartitionOfChanges,
                "transactions" => Expired::Transactions,
                "actions" => Expired::Actions,
                _ => Expired::Changes,
            },
            partition: row.partition_name,
            from: row.from_instant,
            to: row.to_instant,
            table: row
                .table_schema
                .zip(row.table_name)
                .map(|(schema, name)| TableName::new(schema, name)),
            before: row.before,
            rows: row.rows,
            bytes: row.bytes,
        }
    }
}

/// The plan that the rows make.
pub(crate) fn plan(
    policy: &RetentionPolicy,
    rows: Vec<PartRow>,
    feed_behind: bool,
) -> RetentionPlan {
    let notices = [
        (!policy.is_enabled(), Notice::Disabled),
        (feed_behind, Notice::FeedBehind),
        (policy.loses_reasons(), Notice::LosesReasons),
        (
            policy.last_images() == LastImages::Kept,
            Notice::KeepsLastImages,
        ),
    ];
    RetentionPlan {
        parts: rows.into_iter().map(ExpiredPart::from).collect(),
        notices: notices
            .into_iter()
            .filter_map(|(applies, notice)| applies.then_some(notice))
            .collect(),
    }
}

#[derive(Debug, QueryableByName)]
pub(crate) struct Begun {
    #[diesel(sql_type = Nullable<BigInt>)]
    run: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    refusal: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    held_by: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    held_until: Option<DateTime<Utc>>,
}

impl Begun {
    /// The run, or why there is none.
    pub(crate) fn run(self) -> Result<i64, RetentionError> {
        match (self.run, self.refusal.as_deref()) {
            (Some(run), None) => Ok(run),
            (_, Some("feed")) => Err(RetentionError::FeedBehind),
            _ => Err(RetentionError::AtWork {
                run: self.held_by,
                until: self.held_until,
            }),
        }
    }
}

#[derive(Debug, QueryableByName)]
pub(crate) struct StepRow {
    #[diesel(sql_type = Text)]
    step: String,
    #[diesel(sql_type = Nullable<Text>)]
    subject: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    changes: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    transactions: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    actions: Option<i64>,
}

impl StepRow {
    /// What the step did; none if it found that nothing is left.
    pub(crate) fn done(self, run: i64) -> Result<Option<PurgeStep>, RetentionError> {
        let kind = match self.step.as_str() {
            "removed" => StepKind::Removed,
            "dropped" => StepKind::Dropped,
            "locked" => StepKind::Locked,
            "postponed" => StepKind::Postponed,
            "finished" => return Ok(None),
            "failed" => {
                let failure = self.subject.unwrap_or_default();
                return Err(RetentionError::Failed { run, failure });
            }
            _ => return Err(RetentionError::Lost { run }),
        };
        Ok(Some(PurgeStep {
            run,
            kind,
            partition: self.subject,
            changes: self.changes.unwrap_or_default(),
            transactions: self.transactions.unwrap_or_default(),
            actions: self.actions.unwrap_or_default(),
        }))
    }
}

#[derive(Debug, QueryableByName)]
pub(crate) struct MaintenanceRow {
    #[diesel(sql_type = Text)]
    pub(crate) step: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) rows: i64,
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
