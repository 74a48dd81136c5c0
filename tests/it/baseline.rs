//! Rows that are older than capture: recorded once, as what they are, while others write.

mod concurrency;

use std::ops::ControlFlow;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde_json::json;
use threadline::baseline::{
    Baseline, BaselineError, BaselineOutcome, BaselineProgress, BatchSize, RunState, Selection,
};
use threadline::context::AuditContext;
use threadline::continuity::{Continuity, TableContinuity};
use threadline::prelude::*;
use threadline::row_key::RowKeyText;
use threadline::{blocking, nonblocking};

use crate::harness::{Trail, block_on, captured, empty_trail};

/// A baseline of a table in batches of a few rows.
fn small_baseline(table: &str) -> Baseline {
    let rita = AuditContext::new(ActorRef::admin("rita").unwrap());
    Baseline::new(table.parse().unwrap(), rita)
        .batch_size(BatchSize::new(3).unwrap())
        .patience(Duration::ZERO)
}

fn record(
    trail: &Trail,
    baseline: &Baseline,
    on_progress: impl FnMut(&BaselineProgress) -> ControlFlow<()>,
) -> Result<BaselineOutcome, BaselineError> {
    use diesel::Connection;
    let mut conn = diesel::PgConnection::establish(&trail.url()).expect("a connection");
    blocking::record_baseline(&mut conn, baseline, on_progress)
}

/// Records, and expects that it goes through.
fn recorded(trail: &Trail, baseline: &Baseline) -> BaselineOutcome {
    record(trail, baseline, |_| ControlFlow::Continue(())).unwrap_or_else(|error| panic!("{error}"))
}

fn continuity(trail: &Trail, table: &str) -> TableContinuity {
    block_on(async {
        let question = Continuity::new().table(table.parse().unwrap());
        let mut found = nonblocking::continuity(&mut trail.connect().await, &question)
            .await
            .unwrap();
        found.pop().expect("a captured table")
    })
}

/// A table with rows, put under capture afterwards.
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

/// Holds that what the trail says is what the table says, and that it never contradicts itself.
fn assert_the_trail_agrees(trail: &Trail, table: &str) {
    // The last image of each row is the row, and there is no other.
    let differing = trail.ask(&format!(
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
    assert_eq!(differing, "0", "the last images are not the rows");
    // What a change says was there before is what the entry before it left there.
    let contradictions = trail.ask(
        "SELECT count(*) FROM (
            SELECT op, previous_key, COALESCE(data_after || changed_from, changed_from) AS before,
                lag(data_after) OVER row AS left_there, lag(op) OVER row AS last_op
            FROM threadline.audit_changes WINDOW row AS (PARTITION BY row_key ORDER BY id)
         ) AS steps
         WHERE op IN ('update', 'delete') AND previous_key IS NULL
           AND last_op <> 'delete' AND before <> left_there",
    );
    assert_eq!(contradictions, "0", "the trail contradicts itself");
    let twice = trail.ask(
        "SELECT count(*) FROM (
            SELECT FROM threadline.audit_changes WHERE op = 'baseline'
            GROUP BY row_key HAVING count(*) > 1
         ) AS twice",
    );
    assert_eq!(twice, "0", "a row was recorded twice");
}

#[test]
fn rows_older_than_capture_are_recorded_once_and_signed() {
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
    let who = trail.ask(
        "SELECT string_agg(DISTINCT t.actor_ref ->> 'id' || ' ' || a.name, ',')
         FROM threadline.audit_changes AS c
         JOIN threadline.audit_transactions AS t ON t.id = c.transaction_id
         LEFT JOIN threadline.audit_actions AS a ON a.id = c.action_id
         WHERE op = 'baseline'",
    );
    assert_eq!(who, "rita threadline.baseline");
    let again = recorded(&trail, &small_baseline("t"));
    assert_eq!((again.state, again.rows_recorded), (RunState::Finished, 0));
    assert_eq!(again.continues, None);
    assert_the_trail_agrees(&trail, "t");
}

#[test]
fn a_baseline_is_never_counted_as_a_change_and_is_in_the_history_of_its_row() {
    let trail = numbers(3);
    recorded(&trail, &small_baseline("t"));
    trail.run("UPDATE t SET n = 5 WHERE id = 1");
    let load = |question: Timeline| -> Vec<Op> {
        block_on(async {
            let page = nonblocking::timeline(&mut trail.connect().await, &question)
                .await
                .unwrap();
            page.entries.iter().map(|entry| entry.change.op).collect()
        })
    };
    assert_eq!(load(Timeline::new()), [Op::Update]);
    assert_eq!(load(Timeline::new().op(Op::Baseline)).len(), 3);
    let key: RowKeyText = "1".parse().unwrap();
    let history = Timeline::new().row("t".parse().unwrap(), &key);
    assert_eq!(load(history), [Op::Update, Op::Baseline]);
    assert_eq!(
        trail.ask("SELECT count(*) FROM threadline.audit_timeline"),
        "1"
    );
}

#[test]
fn a_baseline_stores_what_capture_stores() {
    let trail = empty_trail();
    trail.run(
        "CREATE TYPE mood AS ENUM ('ok', 'Not ok');
         CREATE TYPE pair AS (street text, no numeric);
         CREATE DOMAIN cents AS int;
         CREATE TABLE odd (
            id bigint, part char(4), mood mood, n numeric, f float8, z float8, g float4, tz timestamptz,
            ts timestamp, d date, i interval, b bytea, j json, jb jsonb, a int[], empty int[],
            two int[], lower int[], ja jsonb[], ma mood[], c pair, r int4range, e money, bits bit(3),
            cents cents, u uuid, name name, flag bool, p point, email text, secret text,
            PRIMARY KEY (part, mood, id)
         );
         INSERT INTO odd VALUES (
            1, 'ab', 'Not ok', 1.10, 'NaN', '-0', 1.1, '2024-03-01 10:00+09', '2024-03-01 10:00',
            '2024-03-01', '1 mon 2 days', '\\x00ff', '{\"a\":  1}', '{\"a\": 1.10}', '{1,2}', '{}',
            '{{1,2},{3,4}}', '[0:1]={1,2}', '{\"[1]\"}', '{ok}', '(s,1.1)', '[1,5)', '12.34', B'101',
            5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'Some Name', true, '(1.1,-0)', 'a@secret', 'secret'
         );
         INSERT INTO odd (id, part, mood) VALUES (2, 'b', 'ok')",
    );
    let table = trail
        .introspect("odd")
        .redact(["secret"], ["email"])
        .unwrap();
    trail.capture(&table);
    // Stored values do not depend on the session, neither capture's nor a baseline's.
    let database = trail.ask("SELECT current_database()");
    for setting in [
        "timezone = 'Asia/Kathmandu'",
        "bytea_output = 'escape'",
        "extra_float_digits = 0",
        "datestyle = 'German'",
        "intervalstyle = 'sql_standard'",
    ] {
        trail.run(&format!("ALTER DATABASE \"{database}\" SET {setting}"));
    }
    recorded(&trail, &small_baseline("odd"));
    trail.run("CREATE TABLE kept AS SELECT * FROM odd; DELETE FROM odd; INSERT INTO odd SELECT * FROM kept");
    let stored = |op: &str| {
        trail.ask(&format!(
            "SELECT string_agg(concat_ws(E'\\n', row_key, table_pk, data_after), E'\\n' ORDER BY row_key)
             FROM threadline.audit_changes WHERE op = '{op}'"
        ))
    };
    assert_eq!(stored("baseline"), stored("insert"));
    assert!(!stored("baseline").contains("secret"));
}

#[test]
fn a_column_without_a_rule_stays_out_of_a_baseline_too() {
    let trail = numbers(2);
    trail.run("ALTER TABLE t ADD COLUMN ssn text; ALTER TABLE t RENAME COLUMN n TO m");
    trail.run("ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET ssn = 'secret'; ALTER TABLE t ENABLE TRIGGER USER");
    recorded(&trail, &small_baseline("t"));
    assert_eq!(trail.changes()[0].after, Some(json!({"id": 1})));
}

#[test]
fn any_key_is_walked_through_without_leaving_a_row_out() {
    let keys: &[(&str, &str, &str)] = &[
        (
            "a text, \"Odd \"\"Key$1%s\" int",
            "a, \"Odd \"\"Key$1%s\"",
            "'it''s %s $1 ' || g % 2, g",
        ),
        (
            "a char(4), b timestamptz",
            "b, a",
            "'x', '2024-03-01 10:00+09'::timestamptz + g * interval '1 us'",
        ),
        ("a text COLLATE \"POSIX\"", "a", "repeat('long', 200) || g"),
        (
            "a numeric, b text",
            "a, b",
            "CASE WHEN g = 3 THEN 'NaN' ELSE (g % 3) * 1.10 END, chr(64 + g)",
        ),
        (
            "a float8",
            "a",
            "CASE g WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity' ELSE g / 3.0 END",
        ),
        ("a int4range", "a", "int4range(g, g + 3)"),
        ("a int[]", "a", "ARRAY[g % 2, g]"),
        (
            "a mood, b small",
            "a, b",
            "(ARRAY['ok', 'Not ok'])[1 + g % 2]::mood, g",
        ),
        ("a bytea", "a", "decode(to_hex(g + 16), 'hex')"),
        ("a jsonb", "a", "to_jsonb('text ' || g)"),
        (
            "a bool, b uuid, c inet",
            "a, b, c",
            "g % 2 = 0, gen_random_uuid(), '10.0.0.1'::inet + g",
        ),
    ];
    for (columns, key, values) in keys {
        let trail = brownfield(
            &format!(
                "CREATE TYPE mood AS ENUM ('ok', 'Not ok'); CREATE DOMAIN small AS int;
                 CREATE TABLE t ({columns}, v int, PRIMARY KEY ({key}))"
            ),
            &format!("INSERT INTO t SELECT {values}, g FROM generate_series(1, 11) AS g"),
            "t",
        );
        let outcome = recorded(&trail, &small_baseline("t"));
        assert_eq!(
            (outcome.state, outcome.rows_recorded),
            (RunState::Finished, 11),
            "{columns}"
        );
        let keys = trail.ask("SELECT count(DISTINCT row_key) FROM threadline.audit_changes");
        assert_eq!(keys, "11", "{columns}");
        // Keys are what capture makes of them.
        trail.run("UPDATE t SET v = v + 1");
        let both = trail.ask(
            "SELECT count(*) FROM threadline.audit_changes AS b JOIN threadline.audit_changes AS u
             ON u.row_key = b.row_key AND u.table_pk = b.table_pk AND u.op = 'update' WHERE b.op = 'baseline'",
        );
        assert_eq!(both, "11", "{columns}");
    }
}

#[test]
fn a_unique_index_or_a_deferrable_key_is_a_key_to_walk_by() {
    for schema in [
        "CREATE TABLE t (id int NOT NULL, n int); CREATE UNIQUE INDEX ON t (id DESC)",
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, n int)",
        "CREATE TABLE t (id int NOT NULL, n int); CREATE UNIQUE INDEX ON t (id) INCLUDE (n)",
    ] {
        let trail = brownfield(
            schema,
            "INSERT INTO t SELECT g, 0 FROM generate_series(1, 8) AS g",
            "t",
        );
        assert_eq!(
            recorded(&trail, &small_baseline("t")).rows_recorded,
            8,
            "{schema}"
        );
    }
}

#[test]
fn partitions_are_recorded_under_their_root() {
    let trail = brownfield(
        "CREATE TABLE t (id int, part text, n int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
         CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a');
         CREATE TABLE t_rest (n int, part text NOT NULL, gone int, id int NOT NULL);
         ALTER TABLE t_rest DROP COLUMN gone;
         ALTER TABLE t ATTACH PARTITION t_rest DEFAULT",
        "INSERT INTO t SELECT g, chr(97 + g % 3), g FROM generate_series(1, 12) AS g",
        "t",
    );
    trail.run("UPDATE t SET part = 'z' WHERE id = 3");
    let outcome = recorded(&trail, &small_baseline("t"));
    assert_eq!(
        (outcome.state, outcome.rows_recorded),
        (RunState::Finished, 11)
    );
    let elsewhere =
        trail.ask("SELECT count(*) FROM threadline.audit_changes WHERE table_name <> 't'");
    assert_eq!(elsewhere, "0");
    assert_the_trail_agrees(&trail, "t");
}

#[test]
fn all_rows_are_recorded_again_where_that_is_asked_for_each_once() {
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
        "a finished run is not gone on with"
    );
}

#[test]
fn a_row_whose_history_ends_before_it_is_unknown() {
    let trail = numbers(0);
    trail.run("INSERT INTO t VALUES (1, 0), (2, 0), (3, 0), (4, 0)");
    trail.run("DELETE FROM t WHERE id = 1; UPDATE t SET id = 20 WHERE id = 2");
    trail.run(
        "SELECT threadline.suspend_capture('{t}', 'restore'); INSERT INTO t VALUES (1, 9), (2, 9)",
    );
    assert_eq!(continuity(&trail, "t").rows.unwrap().unknown_count, 2);
    recorded(&trail, &small_baseline("t"));
    assert_eq!(trail.events()[6..], ["baseline t 1", "baseline t 2"]);
    trail.run("TRUNCATE t");
    trail.run("SELECT threadline.suspend_capture('{t}', 'restore'); INSERT INTO t VALUES (3, 9)");
    assert_eq!(recorded(&trail, &small_baseline("t")).rows_recorded, 1);
}

#[test]
fn swapped_keys_are_no_reason_to_record_a_row() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, n int)",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 10), (2, 20)");
    trail.run("UPDATE t SET id = 3 - id");
    assert_eq!(continuity(&trail, "t").rows.unwrap().unknown_count, 0);
}

#[test]
fn what_cannot_be_recorded_is_refused_with_a_reason() {
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
    let nobody = Baseline::new("plain".parse().unwrap(), AuditContext::default());
    assert!(matches!(refused(&nobody), BaselineError::MissingActor));
    trail.run("ALTER TABLE plain DISABLE TRIGGER \"00_threadline_delete\"");
    assert!(matches!(
        refused(&small_baseline("plain")),
        BaselineError::NotCaptured(_)
    ));
    assert_eq!(trail.count(), 0);
}

#[test]
fn batches_do_not_run_inside_a_transaction() {
    let trail = numbers(2);
    block_on(async {
        let mut conn = trail.connect().await;
        conn.begin_test_transaction().await.unwrap();
        let refused = nonblocking::record_baseline(&mut conn, &small_baseline("t"), |_| {
            ControlFlow::Continue(())
        })
        .await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("a transaction of its own"), "{error}");
    });
    let error = trail.refused(
        "BEGIN ISOLATION LEVEL REPEATABLE READ;
         SELECT * FROM threadline.baseline_batch(1, NULL, 10)",
    );
    assert!(error.contains("read committed"), "{error}");
}

#[test]
fn nobody_but_the_owner_records_baselines_or_changes_their_record() {
    let trail = numbers(2);
    let role = trail.ask("SELECT 'reader_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO \"{role}\""
    ));
    for call in [
        "SELECT threadline.begin_baseline('public', 't', 'unknown', '{}')",
        "SELECT threadline.baseline_batch(1, NULL, 10)",
        "SELECT threadline.count_unknown_rows('public', 't')",
    ] {
        let error = trail.run_as(&role, call).unwrap_err();
        assert!(error.contains("permission denied"), "{error}");
    }
    trail.run(&format!(
        "GRANT EXECUTE ON FUNCTION threadline.begin_baseline, threadline.baseline_batch,
         threadline.end_baseline, threadline.continuity TO \"{role}\""
    ));
    block_on(async {
        let mut conn = AsyncPgConnection::establish(&trail.url_as(&role))
            .await
            .unwrap();
        let outcome = nonblocking::record_baseline(&mut conn, &small_baseline("t"), |_| {
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
        assert_eq!(outcome.rows_recorded, 2);
    });
    assert_eq!(continuity(&trail, "t").baseline.unwrap().started_by, role);
    for attack in [
        "UPDATE threadline.audit_baseline_runs SET state = 'finished'",
        "DELETE FROM threadline.audit_baseline_runs",
        "TRUNCATE threadline.audit_enrolments",
    ] {
        assert!(trail.refused(attack).contains("append-only"));
    }
    trail.run(&format!(
        "DROP OWNED BY \"{role}\" CASCADE; DROP ROLE \"{role}\""
    ));
}

#[test]
fn the_same_call_records_on_an_async_connection() {
    let trail = numbers(5);
    block_on(async {
        let mut conn = trail.connect().await;
        let outcome = nonblocking::record_baseline(&mut conn, &small_baseline("t"), |_| {
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
        assert_eq!(
            (outcome.state, outcome.rows_recorded),
            (RunState::Finished, 5)
        );
        let tables = nonblocking::continuity(&mut conn, &Continuity::new())
            .await
            .unwrap();
        assert!(tables[0].is_unbroken());
    });
}

#[test]
fn it_is_known_since_when_a_table_is_known() {
    let trail = numbers(3);
    let before = continuity(&trail, "t");
    assert!(before.captured && before.has_key && !before.is_unbroken());
    assert_eq!(
        (before.first_recorded_at, before.baseline.as_ref()),
        (None, None)
    );
    let since = before.captured_since.unwrap();
    // Generating again is no new beginning; taking it out and in again is one.
    trail.capture(&trail.introspect("t"));
    assert_eq!(continuity(&trail, "t").captured_since, Some(since));
    recorded(&trail, &small_baseline("t"));
    let after = continuity(&trail, "t");
    assert!(after.is_unbroken());
    assert_eq!(after.baselined_rows, 3);
    assert!(after.first_recorded_at.unwrap() > since);
    trail.run("SELECT threadline.detach_capture('public', 't')");
    let gap = continuity(&trail, "t");
    assert_eq!(
        (gap.captured, gap.captured_since, gap.rows),
        (false, None, None)
    );
    trail.capture(&trail.introspect("t"));
    assert!(continuity(&trail, "t").captured_since.unwrap() > since);
    let events =
        trail.ask("SELECT string_agg(event, ' ' ORDER BY id) FROM threadline.audit_enrolments");
    assert_eq!(events, "attached detached attached");
}
