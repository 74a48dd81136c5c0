//! Keys and values are compared as PostgreSQL compares them.

use super::*;

const UUID: &str = "0e3c8a4e-5c8e-4d0f-9a51-3f0c53c1c0de";

const TABLES: &str = "
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE DOMAIN price AS numeric(10,2);
    CREATE TABLE prices (cents price PRIMARY KEY);
    CREATE TABLE weights (kilos numeric PRIMARY KEY);
    CREATE TABLE devices (id uuid PRIMARY KEY);
    CREATE TABLE events (at timestamptz PRIMARY KEY);
    CREATE TABLE spans (span int4range PRIMARY KEY);
    CREATE TABLE readings (place text, kilos numeric, PRIMARY KEY (place, kilos));
    CREATE TABLE things (
        id int PRIMARY KEY, total numeric(10,2), at timestamptz, data jsonb, span int4range, tags text[],
        mood mood, code text
    )";

fn captured_tables() -> Database {
    let database = installed(TABLES);
    let folder = tempfile::tempdir().unwrap();
    let tables = "prices,weights,devices,events,spans,readings,things";
    let arguments = ["gen-triggers", "--tables", tables, "--print"];
    let sql = out(&threadline(folder.path(), Some(&database), &arguments));
    database.execute_script(&sql).unwrap();
    database
        .execute_script(&format!(
            "INSERT INTO prices VALUES (73.50);
             INSERT INTO weights VALUES (1.50);
             INSERT INTO devices VALUES ('{UUID}');
             INSERT INTO events VALUES ('2026-03-01 10:00:00+00');
             INSERT INTO spans VALUES ('[1,5)');
             INSERT INTO readings VALUES ('a,b', 2.50);
             INSERT INTO things VALUES (7, 73.50, '2026-03-01 10:00:00+00', '{{\"a\": [1, 2]}}', '[1,5)', '{{x,y}}', 'sad', '42')"
        ))
        .unwrap();
    database
}

/// Exit code, standard output and standard error of a command.
fn run(database: &Database, arguments: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = threadline(folder.path(), Some(database), arguments);
    (code(&output), out(&output), err(&output))
}

#[test]
fn keys_in_another_form_of_their_type_find_the_row() {
    let database = captured_tables();
    let shouted = UUID.to_uppercase();
    let bare = UUID.replace('-', "");
    for (table, key) in [
        ("prices", "73.5"),
        ("prices", "73.500"),
        ("weights", "1.5"),
        ("weights", "1.500"),
        ("devices", shouted.as_str()),
        ("devices", bare.as_str()),
        ("events", "2026-03-01T11:00:00+01:00"),
        ("events", "2026-03-01 10:00"),
        ("spans", "[1,4]"),
        ("things", "007"),
    ] {
        let (code, out, err) = run(&database, &["history", table, key]);
        assert_eq!((code, err.as_str()), (0, ""), "{table} {key}");
        assert!(out.contains("insert"), "{table} {key}: {out}");
    }
    let at = ["as-of", "weights", "1.5", "2099-01-01T00:00:00Z"];
    let (code, out, _) = run(&database, &at);
    assert_eq!(code, 0);
    assert!(out.contains("1.50"), "{out}");
}

#[test]
fn a_key_is_not_rounded_to_the_scale_of_its_column() {
    let database = captured_tables();
    let (code, out, _) = run(&database, &["history", "prices", "73.501"]);
    assert_eq!((code, out.as_str()), (0, "no changes match\n"));
}

#[test]
fn a_key_or_value_that_its_type_rejects_is_wrong_usage() {
    let database = captured_tables();
    for (arguments, expected) in [
        (
            vec!["history", "things", "seven"],
            "`seven` is not a value of column id (integer): invalid input syntax for type integer",
        ),
        (
            vec!["timeline", "--table", "devices", "--key", "0e3c"],
            "column id (uuid): invalid input syntax for type uuid",
        ),
        (
            vec![
                "history", "things", "7", "--field", "at", "--became", "noon",
            ],
            "column at (timestamp with time zone): invalid input syntax",
        ),
    ] {
        let (code, _, err) = run(&database, &arguments);
        assert_eq!(code, 2, "{arguments:?}: {err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
    }
}

#[test]
fn values_in_another_form_of_their_type_match() {
    let database = captured_tables();
    let became = |column: &str, value: &str| {
        let arguments = [
            "history", "things", "7", "--field", column, "--became", value,
        ];
        run(&database, &arguments)
    };
    for (column, value) in [
        ("total", "73.5"),
        ("total", "73.50"),
        ("at", "2026-03-01T11:00:00+01:00"),
        ("at", "2026-03-01 10:00:00+00"),
        ("data", "{ \"a\":[1,2.0] }"),
        ("span", "[1,4]"),
        ("tags", "{x, y}"),
        ("mood", "sad"),
        ("code", "42"),
    ] {
        let (code, out, err) = became(column, value);
        assert_eq!((code, err.as_str()), (0, ""), "{column} {value}");
        assert!(out.contains("insert"), "{column} {value}: {out}");
    }
    for (column, value) in [("total", "73.501"), ("code", "42.0"), ("code", "042")] {
        let (_, out, _) = became(column, value);
        assert_eq!(out, "no changes match\n", "{column} {value}");
    }
}

#[test]
fn values_of_an_earlier_type_are_compared_as_text() {
    let database = captured_tables();
    database
        .execute_script(
            "ALTER TYPE mood RENAME VALUE 'sad' TO 'low';
             INSERT INTO things VALUES (8, NULL, NULL, NULL, NULL, NULL, NULL, 'A-1');
             UPDATE things SET code = '7' WHERE id = 8;
             ALTER TABLE things ALTER code TYPE int USING code::int",
        )
        .unwrap();
    for (key, column, value) in [
        ("7", "mood", "sad"),
        ("7", "code", "42"),
        ("8", "code", "A-1"),
    ] {
        let arguments = [
            "history", "things", key, "--field", column, "--became", value,
        ];
        let (code, out, err) = run(&database, &arguments);
        assert_eq!(code, 0, "{column} {value}: {err}");
        assert!(err.contains("code was text, is integer now"), "{err}");
        assert!(out.contains("insert"), "{column} {value}: {out}");
    }
}

#[test]
fn composite_keys_are_compared_column_by_column() {
    let database = captured_tables();
    let separate = [
        "timeline",
        "--table",
        "readings",
        "--key",
        "kilos=2.5",
        "--key",
        "place=a,b",
    ];
    for arguments in [
        &separate[..],
        &["history", "readings", r#"["a,b", "2.5"]"#],
        &["history", "readings", r#"["a,b", 2.500]"#],
    ] {
        let (code, out, err) = run(&database, arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        assert!(out.contains("insert"), "{arguments:?}: {out}");
    }
    let incomplete = ["timeline", "--table", "readings", "--key", "kilos=2.5"];
    let (code, _, err) = run(&database, &incomplete);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("has the key (place, kilos)"), "{err}");
    let no_pair = [&separate[..6], &["a,b"]].concat();
    let (code, _, err) = run(&database, &no_pair);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("`a,b` is not column=value"), "{err}");
}
