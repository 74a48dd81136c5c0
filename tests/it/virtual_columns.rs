//! Virtual generated columns (PostgreSQL 18) do not fail captured writes.

use serde_json::json;
use threadline::table::{AuditedTable, Column, ColumnType};

use crate::harness::{Trail, empty_trail, server_can};

/// An empty trail, if the server supports virtual generated columns.
fn trail() -> Option<Trail> {
    if server_can("SELECT 1 / (current_setting('server_version_num')::int / 180000)") {
        return Some(empty_trail());
    }
    eprintln!("skipped: this PostgreSQL has no virtual generated columns");
    None
}

const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) VIRTUAL)";

fn assert_captured_without_the_virtual_column(trail: &Trail, before: usize) {
    trail.run("INSERT INTO t (id, a) VALUES (1, 2)");
    trail.run("UPDATE t SET a = 3");
    trail.run("DELETE FROM t");
    let changes = &trail.changes()[before..];
    assert_eq!(changes.len(), 3);
    assert_eq!(changes[0].after, Some(json!({"id": 1, "a": 2})));
    assert_eq!(changes[1].after, Some(json!({"id": 1, "a": 3})));
    assert_eq!(changes[1].from, Some(json!({"a": 2})));
    assert_eq!(changes[2].from, Some(json!({"id": 1, "a": 3})));
}

#[test]
fn introspection_excludes_virtual_generated_columns() {
    let Some(trail) = trail() else { return };
    trail.run(TABLE);
    trail.capture(&trail.introspect("t"));
    assert_captured_without_the_virtual_column(&trail, 0);
}

#[test]
fn a_declared_virtual_column_is_refused() {
    let Some(trail) = trail() else { return };
    trail.run(TABLE);
    let int = |name: &str| Column::new(name, ColumnType::builtin("int4"));
    let declared = AuditedTable::builder("public.t".parse().unwrap())
        .columns([int("id"), int("a"), int("g")])
        .key(["id"])
        .build()
        .unwrap();
    let error = trail.expect_capture_error(&declared);
    assert!(
        error.contains(r#"column "g" is a virtual generated column"#),
        "{error}"
    );
}

#[test]
fn a_virtual_column_added_later_is_not_stored() {
    let Some(trail) = trail() else { return };
    trail.run("CREATE TABLE t (id int PRIMARY KEY, a int)");
    trail.capture(&trail.introspect("t"));
    trail.run("ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (a * 2) VIRTUAL");
    assert_captured_without_the_virtual_column(&trail, 0);
}

#[test]
fn a_virtual_column_that_replaced_another_column_is_stored_as_null() {
    let Some(trail) = trail() else { return };
    trail.run("CREATE TABLE t (id int PRIMARY KEY, a int, g int)");
    trail.capture(&trail.introspect("t"));
    // Writes succeed until the next gen-triggers, which refuses the column. Coverage reports it.
    trail.run(
        "INSERT INTO t VALUES (7, 7, 7); DELETE FROM t;
         ALTER TABLE t DROP COLUMN g, ADD COLUMN g int GENERATED ALWAYS AS (a * 2) VIRTUAL;
         INSERT INTO t (id, a) VALUES (8, 8); UPDATE t SET a = 9; DELETE FROM t",
    );
    let changes = trail.changes();
    assert_eq!(changes.len(), 5);
    assert_eq!(changes[2].after, Some(json!({"id": 8, "a": 8, "g": null})));
    assert_eq!(changes[3].from, Some(json!({"a": 8})));
}
