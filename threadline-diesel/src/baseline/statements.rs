//! The statements of a baseline.

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text, Uuid as SqlUuid};
use serde_json::Value;
use threadline_core::action::{Action, ActionId};
use threadline_core::actor::ActorRef;
use threadline_core::work::{action_document, context_document};

use super::walk::KeyWalk;
use super::{Baseline, RunState, Selection};
use crate::captured_table::{CANONICAL_SETTINGS, CapturedTable, StoredRow};

type Statement = BoxedSqlQuery<'static, Pg, SqlQuery>;

/// A pause on the server, which needs no timer of the client.
pub(super) const PAUSE: &str = "SELECT pg_catalog.pg_sleep(0.1)";

/// The first statement of a transaction. Timeouts release the row locks of a client that hangs.
pub(super) fn begin_batch() -> String {
    format!(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; {CANONICAL_SETTINGS}; \
         SET LOCAL idle_in_transaction_session_timeout = '30s'"
    )
}

/// A new run.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct BegunRun {
    #[diesel(sql_type = BigInt)]
    pub(super) id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) continues: Option<i64>,
}

/// The statement that records the action of a run.
pub(super) fn record_action(baseline: &Baseline, id: ActionId, action: &Action) -> Statement {
    diesel::sql_query("SELECT threadline.record_action($1, $2, $3)")
        .into_boxed::<Pg>()
        .bind::<Jsonb, _>(action_document((id, action)))
        .bind::<Jsonb, _>(serde_json::json!(baseline.context.actor()))
        .bind::<Jsonb, _>(context_document(&baseline.context))
}

/// The statement that marks an unfinished run of the table as replaced. It waits for the current batch of such a
/// run.
pub(super) fn take_over(baseline: &Baseline) -> Statement {
    diesel::sql_query(
        "UPDATE threadline.audit_baseline_runs \
         SET state = 'interrupted', ended_at = pg_catalog.clock_timestamp() \
         WHERE table_schema = $1 AND table_name = $2 AND state = 'running'",
    )
    .into_boxed::<Pg>()
    .bind::<Text, _>(baseline.table.schema().to_owned())
    .bind::<Text, _>(baseline.table.name().to_owned())
}

/// The statement that begins a run.
pub(super) fn begin_run(
    baseline: &Baseline,
    actor: &ActorRef,
    action: ActionId,
    key_columns: &[String],
) -> Statement {
    diesel::sql_query(include_str!("begin.sql"))
        .into_boxed::<Pg>()
        .bind::<Text, _>(baseline.table.schema().to_owned())
        .bind::<Text, _>(baseline.table.name().to_owned())
        .bind::<Text, _>(baseline.selection.as_str())
        .bind::<Text, _>(actor.to_string())
        .bind::<SqlUuid, _>(action.as_uuid())
        .bind::<Array<Text>, _>(key_columns.to_vec())
}

/// The position of a run.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct Place {
    #[diesel(sql_type = Nullable<Jsonb>)]
    pub(super) last_key: Option<Value>,
    #[diesel(sql_type = BigInt)]
    pub(super) first_change: i64,
}

/// The first statement of a batch: sets the actor, and locks the run's row until the batch ends, so that no
/// other run replaces it. Returns no row if one has.
pub(super) fn lock_run(
    baseline: &Baseline,
    actor: &ActorRef,
    run: i64,
    action: ActionId,
) -> Statement {
    diesel::sql_query(
        "SELECT last_key, first_change, \
           pg_catalog.set_config('threadline.actor_ref', $2, true), \
           pg_catalog.set_config('threadline.context', $3, true), \
           pg_catalog.set_config('threadline.action_id', $4, true) \
         FROM threadline.audit_baseline_runs WHERE id = $1 AND state = 'running' FOR UPDATE",
    )
    .into_boxed::<Pg>()
    .bind::<BigInt, _>(run)
    .bind::<Text, _>(serde_json::json!(actor).to_string())
    .bind::<Text, _>(context_document(&baseline.context).to_string())
    .bind::<Text, _>(action.to_string())
}

/// Which rows a batch reads.
#[derive(Debug)]
pub(super) enum Rows {
    /// The next rows after a position.
    After(Option<Value>),
    /// The rows at positions that an earlier batch skipped.
    At(Vec<Value>),
}

/// The outcome of a batch.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct Batch {
    #[diesel(sql_type = BigInt)]
    pub(super) rows_seen: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) rows_recorded: i64,
    #[diesel(sql_type = Nullable<Jsonb>)]
    pub(super) last_key: Option<Value>,
    /// Positions of rows that other transactions had locked, or changed meanwhile.
    #[diesel(sql_type = Jsonb)]
    left: Value,
}

impl Batch {
    pub(super) fn take_left(&mut self) -> Vec<Value> {
        match self.left.take() {
            Value::Array(positions) => positions,
            _ => Vec::new(),
        }
    }
}

/// The SQL expressions that read and record rows of a table.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) table: CapturedTable,
    pub(super) stored: StoredRow,
    pub(super) walk: KeyWalk,
}

impl Source {
    /// The image of a row `r` with a value that `jsonb` cannot represent, as capture stores it.
    pub(super) fn fallback_image(&self) -> String {
        format!(
            "(SELECT stored.data_after FROM threadline.fallback_change({}, 'INSERT', r, r) AS stored)",
            self.table.relation
        )
    }

    /// The statement that records a batch.
    ///
    /// The statement has one snapshot. A row that was changed and committed since is locked in its new version
    /// (`now_at`) and skipped, because the trail has changes of it that are newer than the snapshot.
    pub(super) fn batch(
        &self,
        baseline: &Baseline,
        run: i64,
        first_change: i64,
        rows: Rows,
        image: &str,
    ) -> Statement {
        let table = self.table.name().quoted();
        let (source, parameter) = match rows {
            Rows::After(position) => {
                let after = position
                    .as_ref()
                    .map(|_| format!("WHERE {}", self.walk.is_after("$1")))
                    .unwrap_or_default();
                let limit = format!(
                    "{after} ORDER BY {} LIMIT {}",
                    self.walk.order(),
                    baseline.batch_size.0
                );
                (
                    format!("{table} AS r {limit}"),
                    position.unwrap_or_default(),
                )
            }
            Rows::At(positions) => (
                format!(
                    "jsonb_array_elements($1) AS given (key) JOIN {table} AS r ON {}",
                    self.walk.is_at("given.key")
                ),
                positions.into(),
            ),
        };
        let settled = match baseline.selection {
            Selection::Unknown => self.table.is_known("page.row_key"),
            Selection::All => self.table.is_recorded_after("page.row_key", first_change),
        };
        diesel::sql_query(format!(
            "WITH page AS MATERIALIZED (\
               SELECT walked.*, row_number() OVER () AS nr FROM (\
                 SELECT r.tableoid AS leaf, r.ctid AS place, {position} AS position, \
                   {row_key} AS row_key, {values} \
                 FROM {source}\
               ) AS walked\
             ), wanted AS MATERIALIZED (\
               SELECT page.* FROM page WHERE NOT {settled}\
             ), locked AS MATERIALIZED (\
               SELECT wanted.nr, wanted.place, r.ctid AS now_at, \
                 {table_pk} AS table_pk, {row_key} AS row_key, {image} AS image \
               FROM wanted JOIN {table} AS r \
                 ON {has_values} AND r.tableoid = wanted.leaf AND r.ctid = wanted.place \
               FOR SHARE OF r SKIP LOCKED\
             ), recorded AS MATERIALIZED (\
               SELECT locked.nr, \
                 threadline.record_baseline_row({run}, locked.table_pk, locked.row_key, locked.image) \
               FROM locked WHERE locked.now_at = locked.place\
             ) \
             SELECT (SELECT count(*) FROM page) AS rows_seen, \
               (SELECT count(*) FROM recorded) AS rows_recorded, \
               (SELECT page.position FROM page ORDER BY page.nr DESC LIMIT 1) AS last_key, \
               (SELECT coalesce(jsonb_agg(wanted.position), '[]') FROM wanted \
                WHERE wanted.nr NOT IN (SELECT recorded.nr FROM recorded)) AS \"left\" \
             WHERE $1 IS NOT NULL",
            position = self.walk.position(),
            row_key = self.stored.row_key,
            values = self.walk.values(),
            table_pk = self.stored.table_pk,
            has_values = self.walk.has_values("wanted"),
        ))
        .into_boxed::<Pg>()
        .bind::<Jsonb, _>(parameter)
    }
}

/// The statement that records the progress of a batch. `reached_end` is whether a batch of the walk was the last;
/// any other batch `tried` rows that were skipped before.
pub(super) fn advance(
    run: i64,
    batch: &Batch,
    reached_end: Option<bool>,
    tried: usize,
) -> Statement {
    let left = batch.left.as_array().map_or(0, Vec::len);
    let count = |rows: usize| i64::try_from(rows).unwrap_or(i64::MAX);
    let walked = reached_end.is_some();
    diesel::sql_query(
        "UPDATE threadline.audit_baseline_runs \
         SET rows_seen = rows_seen + $2, rows_recorded = rows_recorded + $3, \
           rows_left = rows_left + $4, last_key = coalesce($5, last_key), \
           reached_end = reached_end OR $6 \
         WHERE id = $1",
    )
    .into_boxed::<Pg>()
    .bind::<BigInt, _>(run)
    .bind::<BigInt, _>(if walked { batch.rows_seen } else { 0 })
    .bind::<BigInt, _>(batch.rows_recorded)
    .bind::<BigInt, _>(count(left) - count(tried))
    .bind::<Nullable<Jsonb>, _>(batch.last_key.clone().filter(|_| walked))
    .bind::<Bool, _>(reached_end.unwrap_or(false))
}

/// The final state of a run.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct EndedRun {
    #[diesel(sql_type = Text)]
    pub(super) state: RunState,
}

/// The statement that ends a run: finished if it read the whole table and skipped no row, stopped otherwise.
/// Returns no row if another run replaced it.
pub(super) fn end_run(run: i64) -> Statement {
    diesel::sql_query(
        "UPDATE threadline.audit_baseline_runs \
         SET state = CASE WHEN reached_end AND rows_left = 0 THEN 'finished' ELSE 'stopped' END, \
           ended_at = pg_catalog.clock_timestamp() \
         WHERE id = $1 AND state = 'running' RETURNING state",
    )
    .into_boxed::<Pg>()
    .bind::<BigInt, _>(run)
}
