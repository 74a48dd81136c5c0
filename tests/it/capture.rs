//! Capture records every change, and nothing that is not a change.

mod host_triggers;
mod statements;
mod transactions;

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use serde_json::json;
use threadline::install::CaptureMigration;

use crate::harness::{captured, empty_trail, server_can};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, status text, total numeric(10, 2))";

#[test]
fn an_insert_stores_the_whole_row() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', 9.90)");
    let changes = trail.changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].op, "insert");
    assert_eq!(changes[0].key, Some(json!({"id": "1"})));
    assert_eq!(
        changes[0].after,
        Some(json!({"id": 1, "status": "open", "total": 9.90}))
    );
    assert_eq!(changes[0].from, None);
}

#[test]
fn operations_have_the_same_names_under_turkish_case_rules() {
    if !server_can("SELECT 'i' COLLATE \"tr-x-icu\"") {
        return; // built without ICU
    }
    let trail = captured(ORDERS, &["orders"]);
    let capture = CaptureMigration::new([&trail.introspect("orders")], |_| None);
    PgConnection::establish(&trail.url())
        .unwrap()
        .batch_execute(
            "CREATE DATABASE turkish TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'
             LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR'",
        )
        .unwrap();
    let url = trail
        .url()
        .replace(&trail.query_text("SELECT current_database()"), "turkish");
    let conn = &mut PgConnection::establish(&url).unwrap();
    for script in [
        &threadline::install::up_sql(),
        ORDERS,
        capture.up(),
        "INSERT INTO orders VALUES (1, 'open', 9.90)",
    ] {
        conn.batch_execute(&format!("BEGIN; {script}; COMMIT"))
            .unwrap();
    }
    let op: String = diesel::sql_query("SELECT op FROM threadline.audit_changes")
        .load::<Operation>(conn)
        .unwrap()
        .remove(0)
        .op;
    assert_eq!(op, "insert");
}

#[derive(QueryableByName)]
struct Operation {
    #[diesel(sql_type = diesel::sql_types::Text)]
    op: String,
}

#[test]
fn an_update_stores_the_new_row_and_the_old_values_of_changed_columns() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', 9.90)");
    trail.run("UPDATE orders SET status = 'paid', total = total");
    let update = &trail.changes()[1];
    assert_eq!(update.op, "update");
    assert_eq!(
        update.after,
        Some(json!({"id": 1, "status": "paid", "total": 9.90}))
    );
    assert_eq!(update.from, Some(json!({"status": "open"})));
}

#[test]
fn a_delete_stores_the_last_image() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', NULL)");
    trail.run("DELETE FROM orders");
    let delete = &trail.changes()[1];
    assert_eq!(delete.op, "delete");
    assert_eq!(delete.after, None);
    assert_eq!(
        delete.from,
        Some(json!({"id": 1, "status": "open", "total": null}))
    );
}

#[test]
fn a_table_without_a_key_is_captured_without_row_keys() {
    let trail = captured("CREATE TABLE log (line text)", &["log"]);
    trail.run("INSERT INTO log VALUES ('a'), ('a')");
    trail.run("UPDATE log SET line = 'b'");
    trail.run("DELETE FROM log");
    let changes = trail.changes();
    assert_eq!(changes.len(), 6);
    assert!(changes.iter().all(|change| change.key.is_none()));
    assert_eq!(changes[2].from, Some(json!({"line": "a"})));
}

#[test]
fn tables_of_the_same_name_in_two_schemas_are_recorded_separately() {
    let trail = captured(
        "CREATE SCHEMA east; CREATE SCHEMA west;
         CREATE TABLE east.t (id int PRIMARY KEY, a text); CREATE TABLE west.t (id int PRIMARY KEY, b text)",
        &["east.t", "west.t"],
    );
    trail.run("INSERT INTO east.t VALUES (1, 'e'); INSERT INTO west.t VALUES (1, 'w')");
    let schemas = trail.query_text(
        "SELECT string_agg(table_schema || ' ' || data_after::text, '; ' ORDER BY id) FROM threadline.audit_changes",
    );
    assert_eq!(
        schemas,
        r#"east {"a": "e", "id": 1}; west {"b": "w", "id": 1}"#
    );
}

#[test]
fn a_table_of_128_columns_is_captured_completely() {
    let columns: Vec<_> = (1..128).map(|n| format!("c{n} int")).collect();
    let trail = captured(
        &format!(
            "CREATE TABLE wide (id int PRIMARY KEY, {})",
            columns.join(", ")
        ),
        &["wide"],
    );
    trail.run("INSERT INTO wide (id, c127) VALUES (1, 5)");
    trail.run("UPDATE wide SET c1 = 1, c127 = 6");
    let changes = trail.changes();
    assert_eq!(
        changes[0]
            .after
            .as_ref()
            .unwrap()
            .as_object()
            .unwrap()
            .len(),
        128
    );
    assert_eq!(changes[1].from, Some(json!({"c1": null, "c127": 5})));
}

#[test]
fn table_and_column_names_that_need_quoting_are_captured() {
    let long = "x".repeat(63);
    let other_long = format!("{}y", "x".repeat(62));
    let names = [
        "select",
        "Mixed Case",
        "quo\"te",
        "apo'strophe",
        "$capture$",
        "@image@",
        "v_op",
        "ünïcode",
        "back\\slash",
        "dot.ted",
        "new",
        "r",
        "line\nbreak",
        &long,
        &other_long,
    ];
    let columns: Vec<_> = names
        .iter()
        .map(|name| format!("\"{}\" int", name.replace('"', "\"\"")))
        .collect();
    for table in names {
        let quoted = format!("\"{}\"", table.replace('"', "\"\""));
        let trail = captured(
            &format!(
                "CREATE TABLE {quoted} (\"i d\" int PRIMARY KEY, {})",
                columns.join(", ")
            ),
            &[&quoted],
        );
        trail.run(&format!("INSERT INTO {quoted} VALUES (1)"));
        trail.run(&format!(
            "UPDATE {quoted} SET {}",
            names
                .map(|n| format!("\"{}\" = 1", n.replace('"', "\"\"")))
                .join(", ")
        ));
        trail.run(&format!("DELETE FROM {quoted}"));
        let changes = trail.changes();
        assert_eq!(changes.len(), 3, "{table}");
        assert_eq!(changes[0].table, table);
        assert_eq!(
            changes[1].from.as_ref().unwrap().as_object().unwrap().len(),
            names.len()
        );
    }
}

#[test]
fn a_value_too_large_for_jsonb_is_stored_as_a_digest() {
    // A jsonb string is limited to 256 MiB; a bytea becomes two characters per byte.
    let trail = captured("CREATE TABLE big (id int PRIMARY KEY, bin bytea)", &["big"]);
    trail.run(
        "SET statement_timeout = '5min';
         INSERT INTO big VALUES (1, decode(repeat('ab', 130 * 1024 * 1024), 'hex'))",
    );
    let stored = trail.changes()[0].after.as_ref().unwrap()["bin"].clone();
    let digest = trail.query_text("SELECT encode(sha256(bin), 'hex') FROM big");
    assert_eq!(
        stored,
        json!(format!("[TOO LARGE: 136314880 bytes, sha256:{digest}]"))
    );
    trail.run("DELETE FROM big");
    assert_eq!(trail.events(), ["insert big 1", "delete big 1"]);
}

#[test]
fn an_update_of_ignored_columns_alone_is_not_recorded_and_other_updates_store_them() {
    use threadline::table::AuditedTable;
    let trail = empty_trail();
    trail.run("CREATE TABLE t (id int PRIMARY KEY, v int, seen int)");
    let found = trail.introspect("t");
    let table = AuditedTable::builder(found.name().clone())
        .columns(found.columns().to_vec())
        .key(["id"])
        .ignore(["seen"])
        .build()
        .unwrap();
    trail.capture(&table);
    trail.run("INSERT INTO t VALUES (1, 1, 1)");
    trail.run("UPDATE t SET seen = 2");
    trail.run("UPDATE t SET seen = 3, v = 2");
    let changes = trail.changes();
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[1].from, Some(json!({"v": 1, "seen": 2})));
    assert_eq!(changes[1].after, Some(json!({"id": 1, "v": 2, "seen": 3})));
}
