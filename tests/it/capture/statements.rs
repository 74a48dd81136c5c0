//! Capture of bulk statements, COPY, upserts, MERGE, data-modifying CTEs, cascades and TRUNCATE.

use serde_json::json;

use super::ORDERS;
use crate::harness::captured;

#[test]
fn statements_without_effect_record_nothing() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', 1)");
    for nothing in [
        "UPDATE orders SET status = 'open'",
        "UPDATE orders SET status = 'x' WHERE id = 99",
        "DELETE FROM orders WHERE id = 99",
        "INSERT INTO orders SELECT * FROM orders WHERE false",
        "INSERT INTO orders VALUES (1, 'open', 1) ON CONFLICT DO NOTHING",
        "SELECT * FROM orders FOR UPDATE",
    ] {
        trail.run(nothing);
        assert_eq!(trail.changes().len(), 1, "{nothing}");
        assert_eq!(trail.transactions(), 1, "{nothing}");
    }
}

#[test]
fn statements_that_match_no_row_assign_no_xid() {
    let trail = captured(ORDERS, &["orders"]);
    for nothing in [
        "DELETE FROM orders WHERE id = 99",
        "INSERT INTO orders SELECT * FROM orders WHERE false",
        "UPDATE orders SET status = 'x' WHERE id = 99",
    ] {
        trail.run(&format!(
            "DO $$ BEGIN {nothing}; ASSERT pg_current_xact_id_if_assigned() IS NULL; END $$"
        ));
    }
}

#[test]
fn bulk_statements_record_every_row_once() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders SELECT g, 'open', g FROM generate_series(1, 1000) AS g");
    trail.run("UPDATE orders SET status = 'paid' WHERE id <= 500");
    trail.run("DELETE FROM orders WHERE id > 900");
    let counted = trail.query_text(
        "SELECT string_agg(op || ' ' || n, ', ' ORDER BY op) FROM \
         (SELECT op, count(DISTINCT row_key) AS n FROM threadline.audit_changes GROUP BY op) AS c",
    );
    assert_eq!(counted, "delete 100, insert 1000, update 500");
    assert_eq!(trail.transactions(), 3);
}

#[test]
fn copy_is_captured() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("CREATE TABLE staging AS SELECT g AS id, 'x' AS status, g::numeric AS total FROM generate_series(1, 3) AS g");
    let file = tempfile_path(&trail.url());
    trail.run(&format!(
        "COPY staging TO '{file}'; COPY orders FROM '{file}'"
    ));
    assert_eq!(trail.changes().len(), 3);
}

/// A file that the server can write.
fn tempfile_path(unique: &str) -> String {
    let name: String = unique.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("/tmp/threadline_copy_{name}")
}

#[test]
fn an_upsert_is_recorded_as_inserts_and_updates() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', 1)");
    trail.run(
        "INSERT INTO orders VALUES (1, 'new', 2), (2, 'new', 2) \
         ON CONFLICT (id) DO UPDATE SET status = 'merged'",
    );
    let mut events = trail.events();
    events.sort();
    assert_eq!(
        events,
        ["insert orders 1", "insert orders 2", "update orders 1"]
    );
}

#[test]
fn a_merge_is_recorded_as_inserts_updates_and_deletes() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', 1), (2, 'open', 1)");
    trail.run(
        "MERGE INTO orders USING (VALUES (1), (2), (3)) AS v (id) ON orders.id = v.id \
         WHEN MATCHED AND v.id = 1 THEN DELETE \
         WHEN MATCHED THEN UPDATE SET status = 'merged' \
         WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'new', 0)",
    );
    let mut events = trail.events();
    events.drain(..2);
    events.sort();
    assert_eq!(
        events,
        ["delete orders 1", "insert orders 3", "update orders 2"]
    );
}

#[test]
fn data_modifying_ctes_are_captured() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run(
        "WITH made AS (INSERT INTO orders VALUES (1, 'a', 1), (2, 'a', 2) RETURNING id) \
         SELECT count(*) FROM made",
    );
    trail.run("WITH gone AS (DELETE FROM orders WHERE id = 1 RETURNING *) UPDATE orders SET status = 'b' WHERE id = 2");
    assert_eq!(trail.changes().len(), 4);
}

#[test]
fn cascades_are_captured_in_the_same_transaction() {
    let trail = captured(
        "CREATE TABLE parents (id int PRIMARY KEY);
         CREATE TABLE dropped (id int PRIMARY KEY, p int REFERENCES parents ON DELETE CASCADE);
         CREATE TABLE nulled (id int PRIMARY KEY, p int REFERENCES parents ON DELETE SET NULL);
         CREATE TABLE moved (id int PRIMARY KEY, p int REFERENCES parents ON UPDATE CASCADE)",
        &["parents", "dropped", "nulled", "moved"],
    );
    trail.run(
        "INSERT INTO parents VALUES (1), (2); INSERT INTO dropped VALUES (10, 1);
         INSERT INTO nulled VALUES (20, 1); INSERT INTO moved VALUES (30, 2)",
    );
    trail.run("DELETE FROM parents WHERE id = 1");
    let changes = trail.changes();
    let mut events: Vec<_> = trail.events()[5..].to_vec();
    events.sort();
    assert_eq!(
        events,
        ["delete dropped 10", "delete parents 1", "update nulled 20"]
    );
    assert_eq!(changes[5].transaction_id, changes[7].transaction_id);
    trail.run("UPDATE parents SET id = 3 WHERE id = 2");
    let moved = trail
        .changes()
        .into_iter()
        .find(|c| c.op == "update" && c.table == "moved");
    assert_eq!(moved.unwrap().from, Some(json!({"p": 2})));
}

#[test]
fn truncate_cascade_is_recorded_for_each_table() {
    let trail = captured(
        "CREATE TABLE a (id int PRIMARY KEY);
         CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)",
        &["a", "b"],
    );
    trail.run("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 1)");
    trail.run("TRUNCATE a CASCADE");
    let events = &trail.events()[2..];
    assert_eq!(events, ["truncate a -", "truncate b -"]);
}
