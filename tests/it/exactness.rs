//! Stored values are exact and independent of session settings.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::{Trail, captured, empty_trail, server_can};

/// Types with values that are hard to store exactly, as SQL.
pub(crate) const VALUES: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int2", &["'-32768'", "7"]),
    ("int4", &["0", "2147483647"]),
    ("int8", &["9223372036854775807", "'-1'"]),
    (
        "numeric",
        &[
            "1.0",
            "1.00",
            "'NaN'",
            "'Infinity'",
            "12345678901234567890123456789.123456789000",
            "1e-20",
        ],
    ),
    ("numeric(12,2)", &["1.10", "100"]),
    (
        "float4",
        &["'NaN'", "'-Infinity'", "1.1", "'-0'", "3.4028235e38"],
    ),
    (
        "float8",
        &[
            "'NaN'",
            "0.1",
            "'-0'",
            "0",
            "1.7976931348623157e308",
            "5e-324",
        ],
    ),
    (
        "text",
        &[
            "''",
            "'it''s'",
            "E'a\\nb\\t\\\\'",
            "'ünïcödé 🦀'",
            "repeat('long', 5000)",
            "'null'",
            "'[REDACTED]'",
        ],
    ),
    ("varchar(20)", &["'x  '", "''"]),
    ("char(5)", &["'ab'", "''"]),
    ("\"char\"", &["'x'"]),
    ("name", &["'Some Name'"]),
    ("bytea", &["'\\x00ff'", "''", "'\\x5c27'"]),
    ("uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]),
    (
        "date",
        &[
            "'2024-02-29'",
            "'infinity'",
            "'0044-03-15 BC'",
            "'12345-01-01'",
        ],
    ),
    ("time", &["'24:00:00'", "'10:11:12.123456'"]),
    ("timetz", &["'10:00:00+05:30'", "'23:59:59.999999-12'"]),
    (
        "timestamp",
        &[
            "'2024-03-01 10:00:00.000001'",
            "'-infinity'",
            "'0001-01-01 BC'",
        ],
    ),
    (
        "timestamptz",
        &[
            "'2024-03-01 10:00:00.5+09'",
            "'infinity'",
            "'0044-03-15 12:00+00 BC'",
        ],
    ),
    (
        "interval",
        &[
            "'1 mon'",
            "'30 days'",
            "'1 day'",
            "'24:00'",
            "'-1 mon +2 days -00:00:01.5'",
            "'1 year 2 mons'",
        ],
    ),
    (
        "json",
        &[
            "'{\"a\":  1, \"a\":\"\\u0000\"}'",
            "'\"text\"'",
            "'1e400'",
            "'null'",
            "'[1, 2]'",
        ],
    ),
    (
        "jsonb",
        &["'{\"a\": 1.10}'", "'\"text\"'", "'[]'", "'1e400'", "'true'"],
    ),
    ("xml", &["'<a b=\"c\"/>'"]),
    ("inet", &["'10.0.0.1'", "'10.0.0.1/8'", "'::1'"]),
    ("cidr", &["'10.0.0.0/8'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ("bit(3)", &["B'101'"]),
    ("varbit", &["B''", "B'1'"]),
    ("money", &["'12.34'", "'-1234567.89'"]),
    ("point", &["'(1.1,-0)'"]),
    ("line", &["'{1,2,3}'"]),
    ("lseg", &["'[(0,0),(1,1.1)]'"]),
    ("box", &["'(1,1),(0,0)'"]),
    ("path", &["'((0,0),(1,1))'", "'[(0,0),(1,1)]'"]),
    ("polygon", &["'((0,0),(1,1),(2,0))'"]),
    ("circle", &["'<(0,0),1.5>'"]),
    ("tsvector", &["'a:1 b:2A'"]),
    ("tsquery", &["'a & !b'"]),
    ("pg_lsn", &["'16/B374D848'"]),
    ("oid", &["4294967295"]),
    ("regclass", &["'pg_class'"]),
    ("int4range", &["'[1,5)'", "'empty'", "'(,)'"]),
    ("numrange", &["'[1.0,1.00]'"]),
    ("tstzrange", &["'[2024-01-01 00:00+09,infinity)'"]),
    ("daterange", &["'[2024-01-01,2024-02-01)'"]),
    ("int4multirange", &["'{[1,2),[5,9)}'"]),
    ("datemultirange", &["'{[2024-01-01,2024-02-01)}'"]),
    ("jsonpath", &["'$.a[*] ? (@ > 1)'"]),
    (
        "int4[]",
        &[
            "'{1,NULL,3}'",
            "'{}'",
            "'[0:1]={1,2}'",
            "'{{1,2},{3,4}}'",
            "'[2:3][1:2]={{1,2},{3,4}}'",
        ],
    ),
    (
        "text[]",
        &["'{a,\"b c\",NULL,\"\",\"NULL\"}'", "'[-1:0]={x,y}'"],
    ),
    (
        "timestamptz[]",
        &["'{2024-03-01 10:00+09}'", "'[0:0]={2024-03-01 10:00+09}'"],
    ),
    ("date[]", &["'{2024-03-01}'", "'[0:0]={2024-03-01}'"]),
    ("timestamp[]", &["'[2:2]={2024-03-01 10:00}'"]),
    (
        "float8[]",
        &["'{-0,0,NaN}'", "'{-0.5,1e-10}'", "'{{1,-0}}'"],
    ),
    ("float4[]", &["'{NULL,-0}'", "'[3:3]={0}'"]),
    ("regclass[]", &["'[0:0]={pg_class}'"]),
    ("jsonb[]", &["'{\"[1,2]\",\"{}\",NULL}'"]),
    ("json[]", &["'{\"{\\\"a\\\":  1}\"}'"]),
    ("bytea[]", &["'{\"\\\\x00ff\"}'"]),
    ("mood", &["'ok'", "'so so'"]),
    ("mood[]", &["'{ok,\"so so\"}'"]),
    ("address", &["'(\"a \"\"b\"\"\",1.10,\"{x,y}\")'", "'(,,)'"]),
    ("address[]", &["'{\"(a,1,)\"}'"]),
    ("positive", &["5"]),
    ("codes", &["'{a,b}'"]),
    ("document", &["'{\"a\":  1}'"]),
    ("readings", &["'{-0,1}'", "'{}'"]),
];

pub(crate) const TYPES: &str = "
    CREATE TYPE mood AS ENUM ('ok', 'so so');
    CREATE TYPE address AS (street text, no numeric, tags text[]);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN codes AS text[];
    CREATE DOMAIN document AS json;
    CREATE DOMAIN readings AS float8[];";

const SESSIONS: &[&str] = &[
    "",
    "SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'German, DMY';",
    "SET bytea_output = 'escape'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = -10;",
    "SET TimeZone = 'America/New_York'; SET IntervalStyle = 'sql_standard'; SET DateStyle = 'SQL, MDY'; SET search_path = pg_catalog; SET quote_all_identifiers = on;",
    "SET DateStyle = 'SQL, DMY';",
];

/// A table of generated columns, and a row for it before and after an update.
#[derive(Debug, Clone)]
struct Generated {
    columns: Vec<(usize, usize, usize)>,
    session: usize,
}

fn generated() -> impl Strategy<Value = Generated> {
    let column = (0..VALUES.len(), 0..8_usize, 0..8_usize);
    (prop::collection::vec(column, 1..12), 0..SESSIONS.len())
        .prop_map(|(columns, session)| Generated { columns, session })
}

impl Generated {
    fn value(at: usize, pick: usize) -> String {
        let (of, values) = VALUES[at];
        // One value in eight is NULL.
        if pick == 7 {
            format!("NULL::public.{of}").replace("public.", if is_own(of) { "public." } else { "" })
        } else {
            let value = values[pick % values.len()];
            if is_own(of) {
                format!("{value}::public.{of}")
            } else {
                format!("{value}::{of}")
            }
        }
    }

    fn create(&self) -> String {
        let columns: Vec<_> = self
            .columns
            .iter()
            .enumerate()
            .map(|(n, (at, ..))| format!("c{n} {}", VALUES[*at].0))
            .collect();
        format!(
            "CREATE TABLE t (id int PRIMARY KEY, {})",
            columns.join(", ")
        )
    }
}

fn is_own(of: &str) -> bool {
    [
        "mood", "address", "positive", "codes", "document", "readings",
    ]
    .iter()
    .any(|own| of.starts_with(own))
}

/// Whether the image of the newest change equals the row of the table exactly.
fn image_is_row(trail: &Trail, image: &str, row: &str) -> String {
    trail.query_text(&format!(
        "SELECT (SELECT ROW(threadline.row_from_image(NULL::t, {image}))::text FROM threadline.audit_changes \
                 ORDER BY id DESC LIMIT 1) = ROW({row})::text \
            AND (SELECT threadline.row_from_image(NULL::t, {image}) FROM threadline.audit_changes \
                 ORDER BY id DESC LIMIT 1) *= {row} FROM t"
    ))
}

#[test]
fn rows_of_every_type_are_restored_exactly_from_their_images() {
    // Some builds of PostgreSQL lack libxml.
    let without: &[&str] = if server_can("SELECT '<a/>'::xml") {
        &[]
    } else {
        &["xml"]
    };
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(40);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&generated(), |mut case| {
            case.columns
                .retain(|(at, ..)| !without.contains(&VALUES[*at].0));
            prop_assume!(!case.columns.is_empty());
            let trail = captured(&format!("{TYPES}{}", case.create()), &["t"]);
            let session = SESSIONS[case.session];
            let inserted: Vec<_> = case.columns.iter().map(|(at, v, _)| Generated::value(*at, *v)).collect();
            trail.run(&format!("{session} INSERT INTO public.t VALUES (1, {})", inserted.join(", ")));
            prop_assert_eq!(image_is_row(&trail, "data_after", "t"), "t");

            trail.run("CREATE TABLE before AS SELECT * FROM t");
            let updated: Vec<_> = case
                .columns
                .iter()
                .enumerate()
                .map(|(n, (at, _, v))| format!("c{n} = {}", Generated::value(*at, *v)))
                .collect();
            trail.run(&format!("{session} UPDATE public.t SET {}", updated.join(", ")));
            let changed = trail.query_text("SELECT NOT t *= b.* FROM t, before AS b");
            let expected = if changed == "t" { 2 } else { 1 };
            prop_assert_eq!(trail.count(), expected);
            prop_assert_eq!(image_is_row(&trail, "data_after", "t"), "t");
            // The new image with the old values is the row before the update.
            if changed == "t" {
                let old = trail.query_text(
                    "SELECT threadline.row_from_image(NULL::t, data_after || changed_from) *= ROW(b.*)::t \
                     FROM (SELECT * FROM threadline.audit_changes ORDER BY id DESC LIMIT 1) AS c, before AS b",
                );
                prop_assert_eq!(old, "t");
            }
            trail.run("CREATE TABLE last AS SELECT * FROM t");
            trail.run(&format!("{session} DELETE FROM public.t"));
            let deleted = trail.query_text(
                "SELECT threadline.row_from_image(NULL::t, changed_from) *= ROW(l.*)::t \
                 FROM (SELECT * FROM threadline.audit_changes ORDER BY id DESC LIMIT 1) AS c, last AS l",
            );
            prop_assert_eq!(deleted, "t");
            Ok(())
        })
        .unwrap();
}

#[test]
fn values_that_compare_equal_but_differ_as_text_are_recorded_as_changes() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric, i interval, f float8, j jsonb, a numeric[], c char(3))",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 1.0, '1 day', 0, '1.0', '{1.0}', 'x')");
    for (set, expected) in [
        ("n = 1.00", 1),
        ("i = '24:00'", 1),
        ("f = '-0'", 1),
        ("j = '1.00'", 1),
        ("a = '{1.00}'", 1),
        ("c = 'x  '", 0),
    ] {
        let before = trail.changes().len();
        trail.run(&format!("UPDATE t SET {set}"));
        assert_eq!(trail.changes().len() - before, expected, "{set}");
    }
}

#[test]
fn texts_equal_under_a_nondeterministic_collation_are_recorded_as_changes() {
    const BLIND: &str = "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
    if !server_can(BLIND) {
        eprintln!("skipped: this PostgreSQL has no ICU, so no nondeterministic collations");
        return;
    }
    let trail = captured(
        &format!("{BLIND}; CREATE TABLE t (id int PRIMARY KEY, b text COLLATE blind)"),
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 'a')");
    trail.run("UPDATE t SET b = 'A'");
    trail.run("UPDATE t SET b = 'A'");
    assert_eq!(trail.changes().len(), 2);
}

#[test]
fn capture_does_not_change_session_settings() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, i interval)",
        &["t"],
    );
    let settings = trail.query_text(
        "SET TimeZone = 'Asia/Tokyo'; SET IntervalStyle = 'iso_8601';
         INSERT INTO t VALUES (1, now(), '1 day'); UPDATE t SET i = '2 days'; UPDATE t SET i = i; DELETE FROM t;
         SELECT current_setting('TimeZone') || ' ' || current_setting('IntervalStyle') || ' ' || current_setting('search_path')",
    );
    assert_eq!(settings, "Asia/Tokyo iso_8601 \"$user\", public");
}

#[test]
fn rollback_to_a_savepoint_restores_the_settings_of_the_session() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz)",
        &["t"],
    );
    let settings = trail.query_text(
        "BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'; INSERT INTO t VALUES (1, now());
         SAVEPOINT s; SET LOCAL TimeZone = 'Europe/Paris'; UPDATE t SET at = at + '1 s'; ROLLBACK TO s;
         SELECT current_setting('TimeZone')",
    );
    assert_eq!(settings, "Asia/Tokyo");
}

#[test]
fn numerics_are_stored_with_all_digits() {
    let trail = empty_trail();
    trail.run("CREATE TABLE t (id int PRIMARY KEY, n numeric)");
    trail.capture(&trail.introspect("t"));
    trail.run("INSERT INTO t VALUES (1, 12345678901234567890.10)");
    let stored = trail.query_text("SELECT data_after ->> 'n' FROM threadline.audit_changes");
    assert_eq!(stored, "12345678901234567890.10");
}

#[test]
fn columns_named_like_capture_variables_are_captured() {
    let names = [
        "image",
        "r",
        "capture",
        "captured_rows",
        "change",
        "new",
        "old",
        "id",
        "op",
        "table_pk",
        "data_after",
        "v_op",
        "v_transaction",
        "v_noted",
        "drifted",
    ];
    let columns: Vec<_> = names.iter().map(|name| format!("\"{name}\" int")).collect();
    let trail = captured(
        &format!(
            "CREATE TABLE t (key int PRIMARY KEY, {0});
             CREATE TABLE p (key int PRIMARY KEY, {0}) PARTITION BY LIST (key); CREATE TABLE p1 PARTITION OF p DEFAULT",
            columns.join(", ")
        ),
        &["t", "p"],
    );
    trail.run(
        "INSERT INTO t (key, image) VALUES (1, 2); UPDATE t SET image = 3, r = 4; DELETE FROM t;
         INSERT INTO p (key, image) VALUES (1, 2); UPDATE p SET image = 3, r = 4; DELETE FROM p",
    );
    let images = trail.query_text(
        "SELECT string_agg(COALESCE(data_after ->> 'image', changed_from ->> 'image'), ' ' ORDER BY id) FROM threadline.audit_changes",
    );
    assert_eq!(images, "2 3 3 2 3 3");
}

#[test]
fn a_key_changed_from_the_empty_text_is_recorded_as_a_key_change() {
    let trail = captured("CREATE TABLE t (key text PRIMARY KEY, v int)", &["t"]);
    trail.run("INSERT INTO t VALUES ('', 1); UPDATE t SET key = 'x' WHERE key = ''");
    let rename =
        trail.query_text("SELECT previous_key || '>' || row_key FROM threadline.audit_key_changes");
    assert_eq!(rename, ">x");
}

#[test]
fn arrays_are_captured_with_standard_conforming_strings_off() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, a int[])", &["t"]);
    trail.run(
        "SET standard_conforming_strings = off;
         INSERT INTO t VALUES (1, '{1,2}'), (2, '[0:1]={1,2}')",
    );
    let images = "SELECT jsonb_agg(data_after -> 'a' ORDER BY id) FROM threadline.audit_changes";
    assert_eq!(trail.query_text(images), r#"[[1, 2], "[0:1]={1,2}"]"#);
}
