//! Columns that are computed when they are read (PostgreSQL 18) cost no write.

use serde_json::json;
use threadline::column_type::ColumnType;
use threadline::table::{AuditedTable, Column};

use crate::harness::{Trail, empty_trail, server_can};

/// A trail, if the server knows such columns.
fn trail() -> Option<Trail> {
    if server_can("SELECT 1 / (current_setting('server_version_num')::int / 180000)") {
        return Some(empty_trail());
    }
    eprintln!("this PostgreSQL has no virtual generated columns; they were not tried");
    None
}

const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) VIRTUAL)";

fn everything_is_written_and_g_is_not_stored(trail: &Trail, before: usize) {
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
fn introspection_excludes_them() {
    let Some(trail) = trail() else { return };
    trail.run(TABLE);
    trail.capture(&trail.introspect("t"));
    everything_is_written_and_g_is_not_stored(&trail, 0);
}

#[test]
fn one_that_is_declared_is_refused_with_the_remedy() {
    let Some(trail) = trail() else { return };
    trail.run(TABLE);
    let int = |name: &str| Column::new(name, ColumnType::builtin("int4"));
    let declared = AuditedTable::builder("public.t".parse().unwrap())
        .columns([int("id"), int("a"), int("g")])
        .key(["id"])
        .build()
        .unwrap();
    let error = trail.capture_refused(&declared);
    assert!(
        error.contains(r#"column "g" is a virtual generated column"#),
        "{error}"
    );
}

#[test]
fn one_that_was_added_later_is_not_stored() {
    let Some(trail) = trail() else { return };
    trail.run("CREATE TABLE t (id int PRIMARY KEY, a int)");
    trail.capture(&trail.introspect("t"));
    trail.run("ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (a * 2) VIRTUAL");
    everything_is_written_and_g_is_not_stored(&trail, 0);
}

#[test]
fn one_that_took_the_place_of_another_column_costs_no_write_and_is_stored_as_null() {
    let Some(trail) = trail() else { return };
    trail.run("CREATE TABLE t (id int PRIMARY KEY, a int, g int)");
    trail.capture(&trail.introspect("t"));
    // Until the next gen-triggers, which refuses the column; coverage names it.
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
