//! Captured tables that are altered: writes succeed, and unclassified values are not stored.

use serde_json::json;
use threadline::table::{AuditedTable, Column, ColumnType};

use crate::harness::{Trail, captured, empty_trail};

fn people() -> Trail {
    captured(
        "CREATE TABLE people (id int PRIMARY KEY, name text, age int, tags text[])",
        &["people"],
    )
}

#[test]
fn writes_succeed_after_a_column_was_dropped() {
    let trail = people();
    trail.run("INSERT INTO people VALUES (1, 'Ada', 36, '{a}')");
    trail.run("ALTER TABLE people DROP COLUMN age");
    trail.run("INSERT INTO people VALUES (2, 'Eve', '{b}')");
    trail.run("UPDATE people SET name = 'Ida' WHERE id = 1");
    trail.run("UPDATE people SET name = 'Ida' WHERE id = 1");
    trail.run("DELETE FROM people WHERE id = 2");
    let changes = trail.changes();
    assert_eq!(
        trail.events(),
        [
            "insert people 1",
            "insert people 2",
            "update people 1",
            "delete people 2"
        ]
    );
    assert_eq!(
        changes[1].after,
        Some(json!({"id": 2, "name": "Eve", "tags": ["b"]}))
    );
    assert_eq!(changes[2].from, Some(json!({"name": "Ada"})));
}

#[test]
fn a_renamed_column_is_stored_as_a_placeholder_until_it_is_classified() {
    let trail = people();
    trail.run("INSERT INTO people VALUES (1, 'Ada', 36, NULL)");
    trail.run("ALTER TABLE people RENAME COLUMN name TO full_name");
    trail.run("UPDATE people SET full_name = 'Secret'");
    let update = &trail.changes()[1];
    assert_eq!(update.from, Some(json!({"full_name": "[UNCLASSIFIED]"})));
    assert_eq!(
        update.after,
        Some(json!({"id": 1, "age": 36, "tags": null}))
    );
}

#[test]
fn an_added_column_is_not_stored_and_a_change_of_it_alone_is_not_recorded() {
    let trail = people();
    trail.run("INSERT INTO people VALUES (1, 'Ada', 36, NULL)");
    trail.run("ALTER TABLE people ADD COLUMN ssn text");
    trail.run("UPDATE people SET ssn = 'secret'");
    trail.run("INSERT INTO people VALUES (2, 'Eve', 1, NULL, 'secret')");
    trail.run("UPDATE people SET ssn = 'secret', name = 'Ida' WHERE id = 1");
    let everything =
        trail.query_text("SELECT string_agg(c::text, '') FROM threadline.audit_changes AS c");
    assert!(!everything.contains("secret"), "{everything}");
    let changes = trail.changes();
    assert_eq!(changes.len(), 3);
    assert_eq!(changes[2].from, Some(json!({"name": "Ada"})));
}

#[test]
fn a_renamed_masked_column_is_not_stored_in_clear() {
    let trail = empty_trail();
    trail
        .run("CREATE TABLE t (id int PRIMARY KEY, secret text); CREATE TABLE heir () INHERITS (t)");
    let table = trail.introspect("t").redact([], ["secret"]).unwrap();
    trail.capture(&table);
    trail.run("ALTER TABLE t RENAME COLUMN secret TO hidden");
    trail.run("INSERT INTO t VALUES (1, 'x'); UPDATE t SET hidden = 'y'; DELETE FROM t");
    let changes = trail.changes();
    assert_eq!(changes[1].from, Some(json!({"hidden": "[UNCLASSIFIED]"})));
    let everything =
        trail.query_text("SELECT string_agg(c::text, '') FROM threadline.audit_changes AS c");
    assert!(
        !everything.contains("\"x\"") && !everything.contains("\"y\""),
        "{everything}"
    );
}

#[test]
fn the_fallback_stores_values_independently_of_session_settings() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, a timestamptz, gone int)",
        &["t"],
    );
    trail.run("ALTER TABLE t DROP COLUMN gone");
    trail.run(
        "SET TimeZone = 'Asia/Tokyo'; INSERT INTO t VALUES (1, '2024-03-01 00:00+00');
         UPDATE t SET a = NULL",
    );
    let stored = json!("2024-03-01T00:00:00+00:00");
    assert_eq!(trail.changes()[0].after.as_ref().unwrap()["a"], stored);
    assert_eq!(trail.changes()[1].from.as_ref().unwrap()["a"], stored);
}

#[test]
fn writes_succeed_after_a_column_changed_its_type() {
    let trail = people();
    trail.run("INSERT INTO people VALUES (1, 'Ada', 36, '{a}')");
    trail.run(
        "ALTER TABLE people ALTER COLUMN age TYPE json USING to_json(age), \
         ALTER COLUMN tags TYPE text USING tags::text",
    );
    trail.run("UPDATE people SET age = '{\"a\": \"\\u0000\"}'");
    trail.run("INSERT INTO people VALUES (2, 'Eve', '1', 'x')");
    trail.run("DELETE FROM people");
    assert_eq!(trail.changes().len(), 5);
    assert_eq!(
        trail.changes()[1].after.as_ref().unwrap()["age"],
        json!("{\"a\": \"\\u0000\"}")
    );
}

#[test]
fn a_column_changed_to_json_is_stored_as_text() {
    const NUL: &str = r#"{"a":  "\u0000"}"#;
    for (prepare, by_row) in [("", false), ("CREATE TABLE heir () INHERITS (t)", true)] {
        let trail = captured(
            &format!("CREATE TABLE t (id int PRIMARY KEY, a text, n numeric, m text[]); {prepare}"),
            &["t"],
        );
        // Once in a session with plans from before the change, once in a new session.
        trail.run(&format!(
            "INSERT INTO t VALUES (1, 'x', 1, '{{x}}'); UPDATE t SET n = 2; DELETE FROM t;
             ALTER TABLE t ALTER a TYPE json USING NULL, ALTER m TYPE json[] USING NULL,
                 ALTER n TYPE int[] USING NULL;
             INSERT INTO t VALUES (2, '{NUL}', '[0:0]={{1}}', ARRAY['{NUL}'::json]);
             UPDATE t SET n = '[5:5]={{2}}'; DELETE FROM t"
        ));
        trail.run(&format!(
            "INSERT INTO t VALUES (3, '{NUL}', '[0:0]={{1}}', ARRAY['{NUL}'::json]);
             UPDATE t SET a = '{{\"b\":  1}}', n = '[5:5]={{2}}'; DELETE FROM t"
        ));
        let changes = trail.changes();
        assert_eq!(changes.len(), 9);
        for insert in [&changes[3], &changes[6]] {
            let after = insert.after.as_ref().unwrap();
            assert_eq!(after["a"], json!(NUL), "by row: {by_row}");
            assert_eq!(after["n"], json!("[0:0]={1}"), "by row: {by_row}");
            assert!(after["m"].is_string(), "by row: {by_row}");
        }
        assert_eq!(changes[7].from.as_ref().unwrap()["a"], json!(NUL));
        assert_eq!(changes[8].from.as_ref().unwrap()["n"], json!("[5:5]={2}"));
    }
}

#[test]
fn the_fallback_keeps_negative_zeros() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, f float8, fs float4[], gone int)",
        &["t"],
    );
    trail.run("ALTER TABLE t DROP COLUMN gone");
    trail.run("INSERT INTO t VALUES (1, '-0', '{-0,0,NaN}')");
    assert_eq!(
        trail.changes()[0].after,
        Some(json!({"id": 1, "f": "-0", "fs": "{-0,0,NaN}"}))
    );
}

#[test]
fn writes_succeed_with_an_overwritten_policy_and_store_no_value_in_clear() {
    for comment in ["{broken", "{}", r#"{"table": 1}"#, "our audit function"] {
        let trail = people();
        trail.run("ALTER TABLE people DROP COLUMN age");
        trail.run(&format!(
            "DO $$ DECLARE name regprocedure; BEGIN
                 FOR name IN SELECT oid FROM pg_proc WHERE proname LIKE 'capture%people%' LOOP
                     EXECUTE format('COMMENT ON FUNCTION %s IS %L', name, '{comment}');
                 END LOOP; END $$"
        ));
        trail.run("INSERT INTO people VALUES (1, 'secret', '{secret}')");
        trail.run("UPDATE people SET name = 'another secret'");
        assert_eq!(trail.changes().len(), 2, "{comment}");
        let everything =
            trail.query_text("SELECT string_agg(c::text, '') FROM threadline.audit_changes AS c");
        assert!(!everything.contains("secret"), "{comment}: {everything}");
    }
}

#[test]
fn renaming_a_key_column_keeps_the_row_keys() {
    let trail = people();
    trail.run("INSERT INTO people VALUES (1, 'Ada', 36, NULL)");
    trail.run("ALTER TABLE people RENAME COLUMN id TO person_id");
    trail.run("UPDATE people SET age = 37; UPDATE people SET person_id = 2; DELETE FROM people");
    let changes = trail.changes();
    let keys: Vec<_> = changes
        .iter()
        .map(|change| (change.previous_key.as_deref(), change.row_key.as_deref()))
        .collect();
    assert_eq!(
        keys,
        [
            (None, Some("1")),
            (None, Some("1")),
            (Some("1"), Some("2")),
            (None, Some("2"))
        ]
    );
    assert_eq!(changes[1].key, Some(json!({"person_id": "1"})));
    assert_eq!(
        changes[2].from,
        Some(json!({"person_id": "[UNCLASSIFIED]"}))
    );
}

#[test]
fn a_renamed_table_is_still_captured_under_its_old_name() {
    let trail = people();
    trail.run(
        "ALTER TABLE people RENAME TO persons; CREATE SCHEMA hr; ALTER TABLE persons SET SCHEMA hr",
    );
    trail.run("INSERT INTO hr.persons VALUES (1, 'Ada', 36, NULL); UPDATE hr.persons SET age = 37");
    assert_eq!(trail.events(), ["insert people 1", "update people 1"]);
}

#[test]
fn a_declaration_that_contradicts_the_table_is_refused_and_capture_stays_unchanged() {
    let trail = people();
    let name = || "public.people".parse().unwrap();
    let column = |name: &str, kind: &str| Column::new(name, ColumnType::builtin(kind));
    let id = || column("id", "int4");
    let cases = [
        (
            AuditedTable::builder(name())
                .columns([id(), column("nmae", "text")])
                .key(["id"]),
            r#"column "nmae" is declared in the code, but not in the database"#,
        ),
        (
            AuditedTable::builder(name())
                .columns([id(), column("name", "json")])
                .key(["id"]),
            r#"column "name" is declared as json, but is text in the database"#,
        ),
        (
            AuditedTable::builder(name())
                .columns([id(), column("name", "text")])
                .key(["name"]),
            "its primary key is (id), but the code declares (name)",
        ),
        (
            AuditedTable::builder(name())
                .columns([id(), column("name", "text")])
                .without_key(),
            "its primary key is (id), but the code declares no key",
        ),
        (
            AuditedTable::builder("public.nothing".parse().unwrap())
                .columns([id()])
                .key(["id"]),
            "table public.nothing does not exist",
        ),
    ];
    for (declaration, expected) in cases {
        let error = trail.expect_capture_error(&declaration.build().unwrap());
        assert!(error.contains(expected), "{error}");
    }
    trail.run("INSERT INTO people VALUES (1, 'Ada', 36, NULL)");
    assert_eq!(trail.events(), ["insert people 1"]);
}

#[test]
fn a_declared_key_needs_a_unique_index_on_not_null_columns() {
    let trail = empty_trail();
    trail.run(
        "CREATE TABLE t (a int, b int NOT NULL, c int NOT NULL); CREATE UNIQUE INDEX ON t (a)",
    );
    let declared = |key: &str| {
        AuditedTable::builder("public.t".parse().unwrap())
            .columns(["a", "b", "c"].map(|name| Column::new(name, ColumnType::builtin("int4"))))
            .key([key])
            .build()
            .unwrap()
    };
    let error = trail.expect_capture_error(&declared("a"));
    assert!(error.contains("no unique index makes (a) one"), "{error}");
    trail.run("CREATE UNIQUE INDEX ON t (b)");
    trail.capture(&declared("b"));
    trail.run("INSERT INTO t VALUES (1, 2, 3)");
    assert_eq!(trail.events(), ["insert t 2"]);
}
