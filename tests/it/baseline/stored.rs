//! The images that a baseline stores, and the key types that it supports.

use serde_json::json;
use threadline::baseline::RunState;

use super::{assert_trail_matches_table, brownfield, numbers, recorded, small_baseline};
use crate::harness::empty_trail;

#[test]
fn a_baseline_stores_the_same_images_as_capture() {
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
    // Images do not depend on session settings, neither those of capture nor those of a baseline.
    let database = trail.query_text("SELECT current_database()");
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
        trail.query_text(&format!(
            "SELECT string_agg(concat_ws(E'\\n', row_key, table_pk, data_after), E'\\n' ORDER BY row_key)
             FROM threadline.audit_changes WHERE op = '{op}'"
        ))
    };
    assert_eq!(stored("baseline"), stored("insert"));
    assert!(!stored("baseline").contains("secret"));
}

#[test]
fn unclassified_columns_are_not_stored_in_a_baseline() {
    let trail = numbers(2);
    trail.run("ALTER TABLE t ADD COLUMN ssn text; ALTER TABLE t RENAME COLUMN n TO m");
    trail.run("ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET ssn = 'secret'; ALTER TABLE t ENABLE TRIGGER USER");
    recorded(&trail, &small_baseline("t"));
    assert_eq!(trail.changes()[0].after, Some(json!({"id": 1})));
}

#[test]
fn a_baseline_records_every_row_for_every_key_type() {
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
        let keys = trail.query_text("SELECT count(DISTINCT row_key) FROM threadline.audit_changes");
        assert_eq!(keys, "11", "{columns}");
        // A baseline writes keys as capture does.
        trail.run("UPDATE t SET v = v + 1");
        let both = trail.query_text(
            "SELECT count(*) FROM threadline.audit_changes AS b JOIN threadline.audit_changes AS u
             ON u.row_key = b.row_key AND u.table_pk = b.table_pk AND u.op = 'update' WHERE b.op = 'baseline'",
        );
        assert_eq!(both, "11", "{columns}");
    }
}

#[test]
fn a_baseline_works_with_unique_indexes_and_deferrable_keys() {
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
fn rows_of_partitions_are_recorded_under_the_root() {
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
        trail.query_text("SELECT count(*) FROM threadline.audit_changes WHERE table_name <> 't'");
    assert_eq!(elsewhere, "0");
    assert_trail_matches_table(&trail, "t");
}
