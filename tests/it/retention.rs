//! Purges remove exactly the expired rows, by partition and in batches, also after interruptions.

mod access;
mod expired;
mod images;
mod interrupted;
mod maintenance;
mod restored;

use std::time::Duration;

use diesel::connection::Connection;
use diesel::pg::PgConnection;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline::retention::{
    BatchSize, Keep, Maintenance, PurgeOptions, PurgeOutcome, PurgeStep, RetentionError,
    RetentionPlan, RetentionPolicy, maintain_partitions, plan_retention, purge_with_progress,
};

use crate::harness::{Trail, block_on, captured, create_partitions};

/// A policy that keeps changes for a number of days.
fn keep(days: u32) -> RetentionPolicy {
    RetentionPolicy::keep(Keep::days(days).unwrap())
        .enabled()
        .build()
        .unwrap()
}

/// Options with small batches and without pauses.
fn quick() -> PurgeOptions {
    PurgeOptions::new()
        .pause(Duration::ZERO)
        .batch_size(BatchSize::new(100).unwrap())
}

fn connect(trail: &Trail) -> PgConnection {
    PgConnection::establish(&trail.url()).unwrap()
}

fn purge(
    trail: &Trail,
    policy: &RetentionPolicy,
    options: &PurgeOptions,
) -> Result<PurgeOutcome, RetentionError> {
    purge_at(&trail.url(), policy, options, &mut |_| ())
}

/// Purges on a new connection and calls `progress` after every step.
fn purge_at(
    url: &str,
    policy: &RetentionPolicy,
    options: &PurgeOptions,
    progress: &mut (dyn FnMut(&PurgeStep) + Send),
) -> Result<PurgeOutcome, RetentionError> {
    block_on(async {
        let mut conn = AsyncPgConnection::establish(url).await.unwrap();
        purge_with_progress(&mut conn, policy, options, progress).await
    })
}

fn plan(trail: &Trail, policy: &RetentionPolicy) -> RetentionPlan {
    block_on(async {
        plan_retention(&mut trail.connect().await, policy)
            .await
            .unwrap()
    })
}

fn maintain(trail: &Trail, options: &PurgeOptions) -> Maintenance {
    block_on(async {
        maintain_partitions(&mut trail.connect().await, options)
            .await
            .unwrap()
    })
}

/// An empty trail and a function that inserts past changes: `past(table, id of the first row, number of
/// changes, days since the first, days since the last, changes per transaction)`. Each row changes once.
fn trail_with_past_changes() -> Trail {
    let trail = captured(
        "CREATE TABLE orders (id int PRIMARY KEY, v int); CREATE TABLE sessions (id int PRIMARY KEY)",
        &["orders", "sessions"],
    );
    trail.run(&create_partitions("now() - interval '400 days'", 14));
    trail.run(
        "CREATE FUNCTION past(of_table text, first_row int, n int, from_days float8, to_days float8, per_tx int)
         RETURNS void LANGUAGE sql AS $$
            WITH step AS (
                SELECT i, now() - make_interval(secs => 86400 * (from_days + (to_days - from_days) * (i + 0.5) / n)) AS at,
                    now() - make_interval(secs => 86400 * (from_days + (to_days - from_days) * (i - i % per_tx + 0.5) / n)) AS began
                FROM generate_series(0, n - 1) AS i
            ), identified AS (
                SELECT *, encode(timestamptz_send(began) || int8send(first_row + i / per_tx), 'hex')::uuid AS transaction_id
                FROM step
            ), transactions AS (
                INSERT INTO threadline.audit_transactions (id, occurred_at, xid, backend_pid, db_user)
                SELECT DISTINCT transaction_id, began, '1'::xid8, 1, 'app' FROM identified
            )
            INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name, row_key, table_pk, data_after)
            SELECT nextval('threadline.audit_changes_id_seq'), at, transaction_id, 'insert', 'public', of_table,
                (first_row + i)::text, jsonb_build_object('id', (first_row + i)::text), jsonb_build_object('id', first_row + i)
            FROM identified ORDER BY i
         $$",
    );
    trail
}

/// The number of changes of a table, and the number of those that are expired.
fn remaining_and_expired(trail: &Trail, table: &str, days: u32) -> (i64, i64) {
    let count = |condition: String| -> i64 {
        trail
            .query_text(&format!(
                "SELECT count(*) FROM threadline.audit_changes WHERE table_name = '{table}' AND {condition}"
            ))
            .parse()
            .unwrap()
    };
    let cutoff = format!("captured_at < now() - interval '{days} days'");
    (count("true".to_owned()), count(cutoff))
}

/// The numbers of transactions without a change and of changes without a transaction.
fn unpaired_counts(trail: &Trail) -> (String, String) {
    (
        trail.query_text("SELECT count(*) FROM threadline.audit_transactions AS t WHERE NOT EXISTS (SELECT FROM threadline.audit_changes AS c WHERE c.transaction_id = t.id)"),
        trail.query_text("SELECT count(*) FROM threadline.audit_changes AS c WHERE NOT EXISTS (SELECT FROM threadline.audit_transactions AS t WHERE c.transaction_id = t.id)"),
    )
}

fn none_unpaired() -> (String, String) {
    ("0".to_owned(), "0".to_owned())
}

fn partitions(trail: &Trail, parent: &str) -> i64 {
    trail
        .query_text(&format!(
            "SELECT count(*) FROM threadline.trail_partitions() WHERE parent = '{parent}' AND to_instant < now() - interval '40 days'"
        ))
        .parse()
        .unwrap()
}
