//! Baselines of rows that are older than capture, recorded once while other sessions write.

mod capture_start;
mod concurrency;
mod stored;

use std::ops::ControlFlow;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde_json::json;
use threadline::RowKeyText;
use threadline::baseline::{
    Baseline, BaselineError, BaselineOutcome, BaselineProgress, BatchSize, CaptureStart, RunState,
    Selection, TableCaptureStart,
};
use threadline::prelude::*;

use crate::harness::{Trail, block_on, empty_trail};

/// A baseline of a table in batches of three rows.
fn small_baseline(table: &str) -> Baseline {
    let rita = AuditContext::new(ActorRef::admin("rita").unwrap());
    Baseline::new(table.parse().unwrap(), rita)
        .batch_size(BatchSize::new(3).unwrap())
        .lock_timeout(Duration::ZERO)
}

/// Records a baseline on a new connection to `url`, in a separate thread.
fn record_at(
    url: &str,
    baseline: &Baseline,
    on_progress: impl FnMut(&BaselineProgress) -> ControlFlow<()> + Send,
) -> Result<BaselineOutcome, BaselineError> {
    let recording = async {
        let mut conn = AsyncPgConnection::establish(url).await.unwrap();
        threadline::record_baseline(&mut conn, baseline, on_progress).await
    };
    std::thread::scope(|scope| scope.spawn(|| block_on(recording)).join().unwrap())
}

fn record(
    trail: &Trail,
    baseline: &Baseline,
    on_progress: impl FnMut(&BaselineProgress) -> ControlFlow<()> + Send,
) -> Result<BaselineOutcome, BaselineError> {
    record_at(&trail.url(), baseline, on_progress)
}

/// Records a baseline, which must succeed.
fn recorded(trail: &Trail, baseline: &Baseline) -> BaselineOutcome {
    record(trail, baseline, |_| ControlFlow::Continue(())).unwrap_or_else(|error| panic!("{error}"))
}

fn capture_start(trail: &Trail, table: &str) -> TableCaptureStart {
    block_on(async {
        let query = CaptureStart::new().table(table.parse().unwrap());
        let mut found = threadline::capture_start(&mut trail.connect().await, &query)
            .await
            .unwrap();
        found.pop().expect("a captured table")
    })
}

/// A table with rows that are older than its capture.
fn brownfield(schema: &str, rows: &str, table: &str) -> Trail {
    let trail = empty_trail();
    trail.run(schema);
    trail.run(rows);
    trail.capture(&trail.introspect(table));
    trail
}

fn numbers(rows: usize) -> Trail {
    brownfield(
        "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)",
        &format!("INSERT INTO t SELECT g, 0 FROM generate_series(1, {rows}) AS g"),
        "t",
    )
}

/// Asserts that the last images equal the rows of the table, that the changes of each row are
/// consistent, and that no row has two baselines.
fn assert_trail_matches_table(trail: &Trail, table: &str) {
    // The last images of undeleted rows are exactly the rows of the table.
    let differing = trail.query_text(&format!(
        "WITH last AS (
            SELECT DISTINCT ON (row_key) row_key, op, data_after FROM threadline.audit_changes
            ORDER BY row_key, id DESC
         ), gone AS (
            SELECT c.previous_key FROM threadline.audit_changes AS c WHERE c.previous_key IS NOT NULL
              AND NOT EXISTS (SELECT FROM threadline.audit_changes AS d WHERE d.row_key = c.previous_key AND d.id > c.id)
         ), known AS (
            SELECT data_after FROM last
            WHERE op <> 'delete' AND row_key NOT IN (SELECT previous_key FROM gone)
         )
         SELECT count(*) FROM (
            (SELECT to_jsonb(r) FROM {table} AS r EXCEPT SELECT data_after FROM known)
            UNION ALL (SELECT data_after FROM known EXCEPT SELECT to_jsonb(r) FROM {table} AS r)
         ) AS differing"
    ));
    assert_eq!(differing, "0", "last images that differ from the rows");
    // The old image of each change equals the new image of the change before it.
    let contradictions = trail.query_text(
        "SELECT count(*) FROM (
            SELECT op, previous_key, COALESCE(data_after || changed_from, changed_from) AS before,
                lag(data_after) OVER row AS last_image, lag(op) OVER row AS last_op
            FROM threadline.audit_changes WINDOW row AS (PARTITION BY row_key ORDER BY id)
         ) AS steps
         WHERE op IN ('update', 'delete') AND previous_key IS NULL
           AND last_op <> 'delete' AND before <> last_image",
    );
    assert_eq!(
        contradictions, "0",
        "changes whose old image differs from the image before"
    );
    let twice = trail.query_text(
        "SELECT count(*) FROM (
            SELECT FROM threadline.audit_changes WHERE op = 'baseline'
            GROUP BY row_key HAVING count(*) > 1
         ) AS twice",
    );
    assert_eq!(twice, "0", "rows with two baselines");
}

#[test]
fn rows_older_than_capture_are_recorded_once_with_the_actor() {
    let trail = numbers(7);
    trail.run("UPDATE t SET n = 1 WHERE id = 2; DELETE FROM t WHERE id = 3");
    let outcome = recorded(&trail, &small_baseline("t"));
    assert_eq!(
        (outcome.state, outcome.rows_recorded, outcome.rows_seen),
        (RunState::Finished, 5, 6)
    );
    assert_eq!(
        trail.events()[2..],
        [
            "baseline t 1",
            "baseline t 4",
            "baseline t 5",
            "baseline t 6",
            "baseline t 7"
        ]
    );
    let first = &trail.changes()[2];
    assert_eq!(first.after, Some(json!({"id": 1, "n": 0})));
    assert_eq!(
        (&first.from, first.key.as_ref()),
        (&None, Some(&json!({"id": "1"})))
    );
    let who = trail.query_text(
        "SELECT string_agg(DISTINCT t.actor || ' ' || a.name, ',')
         FROM threadline.audit_changes AS c
         JOIN threadline.audit_transactions AS t ON t.id = c.transaction_id
         LEFT JOIN threadline.audit_actions AS a ON a.id = c.action_id
         WHERE op = 'baseline'",
    );
    assert_eq!(who, "admin:rita threadline.baseline");
    let again = recorded(&trail, &small_baseline("t"));
    assert_eq!((again.state, again.rows_recorded), (RunState::Finished, 0));
    assert_eq!(again.continues, None);
    assert_trail_matches_table(&trail, "t");
}

#[test]
fn baseline_rows_appear_in_row_history_but_not_in_the_timeline() {
    let trail = numbers(3);
    recorded(&trail, &small_baseline("t"));
    trail.run("UPDATE t SET n = 5 WHERE id = 1");
    let load = |query: Timeline| -> Vec<Op> {
        block_on(async {
            let page = threadline::timeline(&mut trail.connect().await, &query)
                .await
                .unwrap();
            page.entries.iter().map(|entry| entry.change.op).collect()
        })
    };
    assert_eq!(load(Timeline::new()), [Op::Update]);
    assert_eq!(load(Timeline::new().op(Op::Baseline)).len(), 3);
    let key = RowKeyText::from_values(vec!["1".to_owned()]);
    let history = Timeline::new().row("t".parse().unwrap(), &key);
    assert_eq!(load(history), [Op::Update, Op::Baseline]);
    assert_eq!(
        trail.query_text("SELECT count(*) FROM threadline.audit_timeline"),
        "1"
    );
}

#[test]
fn each_run_with_selection_all_records_every_row_once() {
    let trail = numbers(7);
    recorded(&trail, &small_baseline("t"));
    let all = small_baseline("t").selection(Selection::All);
    let stopped = record(&trail, &all, |_| ControlFlow::Break(())).unwrap();
    assert_eq!(stopped.rows_recorded, 3);
    let outcome = recorded(&trail, &all);
    assert_eq!(
        (outcome.state, outcome.rows_recorded),
        (RunState::Finished, 4)
    );
    assert_eq!(trail.count(), 14);
    assert_eq!(
        recorded(&trail, &all).rows_recorded,
        7,
        "a finished run is not resumed"
    );
}

#[test]
fn a_baseline_without_key_capture_or_actor_is_refused() {
    let trail = empty_trail();
    trail.run("CREATE TABLE keyless (n int); CREATE TABLE plain (id int PRIMARY KEY)");
    trail.capture(&trail.introspect("keyless"));
    let refused =
        |baseline: &Baseline| record(&trail, baseline, |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(
        refused(&small_baseline("keyless")),
        BaselineError::NoKey(_)
    ));
    assert!(matches!(
        refused(&small_baseline("plain")),
        BaselineError::NotCaptured(_)
    ));
    trail.capture(&trail.introspect("plain"));
    let unattributed = Baseline::new("plain".parse().unwrap(), AuditContext::default());
    assert!(matches!(
        refused(&unattributed),
        BaselineError::MissingActor
    ));
    trail.run("ALTER TABLE plain DISABLE TRIGGER \"00_threadline_capture\"");
    assert!(matches!(
        refused(&small_baseline("plain")),
        BaselineError::NotCaptured(_)
    ));
    assert_eq!(trail.count(), 0);
}

#[test]
fn a_baseline_inside_a_transaction_is_refused() {
    let trail = numbers(2);
    block_on(async {
        let mut conn = trail.connect().await;
        conn.begin_test_transaction().await.unwrap();
        let refused = threadline::record_baseline(&mut conn, &small_baseline("t"), |_| {
            ControlFlow::Continue(())
        })
        .await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("a transaction of its own"), "{error}");
    });
    trail.run(
        "INSERT INTO threadline.audit_baseline_runs (
            transaction_id, table_schema, table_name, selection, state, actor, first_change
         ) VALUES (
            threadline.current_transaction_id(), 'public', 't', 'unknown', 'running', 'admin:rita', 0
         )",
    );
    let call = "SELECT threadline.record_baseline_row(1, '{}', '1', '{}')";
    let error = trail.expect_error(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {call}"));
    assert!(error.contains("read committed"), "{error}");
    let error = trail.expect_error(call);
    assert!(error.contains("no valid actor"), "{error}");
}

#[test]
fn a_role_needs_the_documented_grants_to_record_a_baseline() {
    let trail = numbers(2);
    let role = trail.query_text("SELECT 'operator_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO \"{role}\";
         GRANT SELECT, UPDATE (id) ON t TO \"{role}\""
    ));
    let attempt = || {
        record_at(&trail.url_as(&role), &small_baseline("t"), |_| {
            ControlFlow::Continue(())
        })
    };
    for missing in [
        "INSERT, UPDATE ON threadline.audit_baseline_runs",
        "EXECUTE ON FUNCTION threadline.record_baseline_row",
    ] {
        let error = attempt().unwrap_err().to_string();
        assert!(error.contains("permission denied"), "{error}");
        trail.run(&format!("GRANT {missing} TO \"{role}\""));
    }
    assert_eq!(attempt().unwrap().rows_recorded, 2);
    assert_eq!(
        capture_start(&trail, "t").baseline.unwrap().started_by,
        role
    );
    trail.run(&format!(
        "DROP OWNED BY \"{role}\" CASCADE; DROP ROLE \"{role}\""
    ));
}

#[test]
fn baseline_runs_cannot_be_deleted() {
    let trail = numbers(1);
    recorded(&trail, &small_baseline("t"));
    for attack in [
        "DELETE FROM threadline.audit_baseline_runs",
        "TRUNCATE threadline.audit_baseline_runs",
    ] {
        assert!(trail.expect_error(attack).contains("append-only"));
    }
}

#[test]
fn a_baseline_under_row_level_security_is_refused() {
    let trail = numbers(3);
    let role = trail.query_text("SELECT 'hidden_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO \"{role}\";
         GRANT INSERT, UPDATE ON threadline.audit_baseline_runs TO \"{role}\";
         GRANT EXECUTE ON FUNCTION threadline.record_baseline_row TO \"{role}\";
         GRANT SELECT, UPDATE ON t TO \"{role}\";
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY only_one ON t USING (id = 1)"
    ));
    let error = record_at(&trail.url_as(&role), &small_baseline("t"), |_| {
        ControlFlow::Continue(())
    })
    .unwrap_err()
    .to_string();
    assert!(error.contains("row-level security"), "{error}");
    assert_eq!(trail.count(), 0);
    trail.run(&format!(
        "DROP OWNED BY \"{role}\" CASCADE; DROP ROLE \"{role}\""
    ));
}
