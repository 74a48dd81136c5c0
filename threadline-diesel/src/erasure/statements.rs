//! The statements of erasure and their rows. They run with the caller's privileges; the functions that change the
//! trail are SECURITY DEFINER.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;
use uuid::Uuid;

use super::run::{ErasureReason, Run};
use super::subject_map::SubjectId;

pub(crate) type Query = BoxedSqlQuery<'static, Pg, SqlQuery>;

pub(super) fn query(sql: &str) -> Query {
    diesel::sql_query(sql.replace("@threadline@", STORAGE_SCHEMA)).into_boxed()
}

fn about(sql: &str, table: &TableName) -> Query {
    query(sql)
        .bind::<Text, _>(table.schema().to_owned())
        .bind::<Text, _>(table.name().to_owned())
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct Answer {
    #[diesel(sql_type = Bool)]
    pub(super) answer: bool,
}

/// Whether the migration is applied.
pub(super) fn is_installed() -> Query {
    query("SELECT to_regclass('@threadline@.audit_erasure_runs') IS NOT NULL AS answer")
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct StoredNamesRow {
    #[diesel(sql_type = Text)]
    pub(super) given: String,
    #[diesel(sql_type = Array<Text>)]
    pub(super) names: Vec<String>,
    #[diesel(sql_type = Bool)]
    pub(super) is_key: bool,
}

pub(super) fn stored_names(table: &TableName, columns: Vec<String>) -> Query {
    about(include_str!("sql/stored_names.sql"), table).bind::<Array<Text>, _>(columns)
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct KeyRow {
    #[diesel(sql_type = Text)]
    pub(super) row_key: String,
}

pub(super) fn row_keys(
    table: &TableName,
    columns: Vec<String>,
    subject: &SubjectId,
    limit: i64,
) -> Query {
    about(include_str!("sql/row_keys.sql"), table)
        .bind::<Array<Text>, _>(columns)
        .bind::<Text, _>(subject.to_string())
        .bind::<BigInt, _>(limit)
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct SubjectChangeRow {
    #[diesel(sql_type = BigInt)]
    pub(super) id: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(super) captured_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) row_key: Option<String>,
}

/// Changes with values of `columns`, of rows with these keys. `match_names` are the names of the column with the id
/// of the subject; none if the key is the id.
pub(super) fn subject_changes(
    (table, subject): (&TableName, &SubjectId),
    keys: Vec<String>,
    match_names: Vec<String>,
    columns: Vec<String>,
    limit: i64,
) -> Query {
    about(include_str!("sql/subject_changes.sql"), table)
        .bind::<Array<Text>, _>(keys)
        .bind::<Array<Text>, _>(match_names)
        .bind::<Array<Text>, _>(columns)
        .bind::<Text, _>(subject.to_string())
        .bind::<BigInt, _>(limit)
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct ContextCountsRow {
    #[diesel(sql_type = BigInt)]
    pub(super) changes: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) transactions: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) actions: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) jobs: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) schedules: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) views: i64,
}

pub(super) fn count_context(actors: Vec<String>) -> Query {
    query(include_str!("sql/count_context.sql")).bind::<Array<Text>, _>(actors)
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct RunRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) pseudonym: String,
    #[diesel(sql_type = Text)]
    pub(super) reason: String,
    #[diesel(sql_type = Text)]
    pub(super) progress: String,
    #[diesel(sql_type = Timestamptz)]
    pub(super) started_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub(super) started_by: String,
    #[diesel(sql_type = Timestamptz)]
    pub(super) updated_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) finished_at: Option<DateTime<Utc>>,
}

pub(super) fn begin(subject: &SubjectId, reason: &ErasureReason) -> Query {
    query(include_str!("sql/begin.sql"))
        .bind::<Text, _>(subject.to_string())
        .bind::<Text, _>(reason.to_string())
}

/// The columns of a [`RunRow`].
const RUN_COLUMNS: &str = "id, pseudonym, reason, progress::text AS progress, started_at, started_by, updated_at, finished_at";

/// The newest runs.
pub(super) fn runs(limit: i64) -> Query {
    query(&format!(
        "SELECT {RUN_COLUMNS} FROM @threadline@.audit_erasure_runs ORDER BY started_at DESC, id LIMIT $1"
    ))
    .bind::<BigInt, _>(limit)
}

/// The run with an id.
pub(super) fn run(id: Uuid) -> Query {
    query(&format!(
        "SELECT {RUN_COLUMNS} FROM @threadline@.audit_erasure_runs WHERE id = $1"
    ))
    .bind::<SqlUuid, _>(id)
}

/// Removes the saved views of the person, which are state of their own.
pub(super) fn remove_views(run: &Run, actors: Vec<String>) -> Query {
    query(
        "WITH removed AS (DELETE FROM @threadline@.audit_saved_views WHERE owner = ANY ($2) RETURNING 1) \
         UPDATE @threadline@.audit_erasure_runs SET progress = progress || \
            jsonb_build_object('views', coalesce((progress ->> 'views')::bigint, 0) + (SELECT count(*) FROM removed)) \
         WHERE id = $1 RETURNING (SELECT count(*) FROM removed) AS records",
    )
    .bind::<SqlUuid, _>(run.id)
    .bind::<Array<Text>, _>(actors)
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct ErasedWorkRow {
    #[diesel(sql_type = BigInt)]
    pub(super) jobs: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) schedules: i64,
}

pub(super) fn erase_work(run: &Run, actors: Vec<String>) -> Query {
    query(include_str!("sql/erase_work.sql"))
        .bind::<SqlUuid, _>(run.id)
        .bind::<Array<Text>, _>(actors)
        .bind::<Text, _>(run.pseudonym.clone())
}

/// Ends a run. The subject is no longer stored.
pub(super) fn finish(run: &Run) -> Query {
    query(&format!(
        "UPDATE @threadline@.audit_erasure_runs \
         SET subject = NULL, finished_at = clock_timestamp(), updated_at = clock_timestamp() \
         WHERE id = $1 RETURNING {RUN_COLUMNS}"
    ))
    .bind::<SqlUuid, _>(run.id)
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct ErasedRow {
    #[diesel(sql_type = BigInt)]
    pub(super) records: i64,
}

pub(super) fn erase_values(
    run: &Run,
    table: &TableName,
    columns: Vec<String>,
    (ids, captured): (Vec<i64>, Vec<DateTime<Utc>>),
) -> Query {
    query(include_str!("sql/erase_values.sql"))
        .bind::<SqlUuid, _>(run.id)
        .bind::<Text, _>(table.schema().to_owned())
        .bind::<Text, _>(table.name().to_owned())
        .bind::<Array<Text>, _>(columns)
        .bind::<Text, _>(run.reason.clone())
        .bind::<Array<BigInt>, _>(ids)
        .bind::<Array<Timestamptz>, _>(captured)
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct ErasedChangesRow {
    #[diesel(sql_type = BigInt)]
    pub(super) records: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(super) last_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    pub(super) last_id: i64,
}

pub(super) fn erase_changes(
    run: &Run,
    actor: &str,
    after: (DateTime<Utc>, i64),
    batch: i64,
) -> Query {
    query(include_str!("sql/erase_changes.sql"))
        .bind::<SqlUuid, _>(run.id)
        .bind::<Text, _>(actor.to_owned())
        .bind::<Timestamptz, _>(after.0)
        .bind::<BigInt, _>(after.1)
        .bind::<BigInt, _>(batch)
        .bind::<Text, _>(run.pseudonym.clone())
        .bind::<Text, _>(run.reason.clone())
}

/// Transactions or actions of which a column is the actor.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContextRecords {
    pub(super) records: &'static str,
    pub(super) column: &'static str,
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct ErasedContextRow {
    #[diesel(sql_type = BigInt)]
    pub(super) records: i64,
    #[diesel(sql_type = SqlUuid)]
    pub(super) last_id: Uuid,
}

pub(super) fn erase_context(
    run: &Run,
    target: ContextRecords,
    actor: &str,
    (after, batch): (Uuid, i64),
    (fields, meta_keys): (Vec<&'static str>, Vec<String>),
) -> Query {
    let sql = include_str!("sql/erase_context.sql")
        .replace("@records@", target.records)
        .replace("@column@", target.column);
    query(&sql)
        .bind::<SqlUuid, _>(run.id)
        .bind::<Text, _>(actor.to_owned())
        .bind::<SqlUuid, _>(after)
        .bind::<BigInt, _>(batch)
        .bind::<Text, _>(run.pseudonym.clone())
        .bind::<Array<Text>, _>(fields)
        .bind::<Array<Text>, _>(meta_keys)
        .bind::<Text, _>(run.reason.clone())
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct ReachRow {
    #[diesel(sql_type = Array<Text>)]
    pub(super) consumers: Vec<String>,
    #[diesel(sql_type = BigInt)]
    pub(super) stored_results: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) results_expire_at: Option<DateTime<Utc>>,
}

pub(super) fn reach() -> Query {
    query(include_str!("sql/reach.sql"))
}

/// The archive of the trail on a storage.
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct ArchiveRow {
    #[diesel(sql_type = Text)]
    pub(super) storage: String,
    #[diesel(sql_type = Timestamptz)]
    pub(super) checked_at: DateTime<Utc>,
    #[diesel(sql_type = Integer)]
    pub(super) pending_days: i32,
    #[diesel(sql_type = Bool)]
    pub(super) has_removed_days: bool,
}

pub(super) fn archives() -> Query {
    query(include_str!("sql/archives.sql"))
}
