//! Row keys and transaction ids.

use serde_json::json;

use crate::harness::{binaries, captured, start_cluster};

#[test]
fn a_key_change_stores_the_old_and_the_new_key() {
    let trail = captured(
        "CREATE TABLE t (a int, b text, v int, PRIMARY KEY (a, b))",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 'x', 0)");
    trail.run("UPDATE t SET b = 'y'");
    let update = &trail.changes()[1];
    assert_eq!(update.key, Some(json!({"a": "1", "b": "y"})));
    assert_eq!(update.from, Some(json!({"b": "x"})));
    assert_eq!(update.previous_key.as_deref(), Some(r#"["1", "x"]"#));
}

#[test]
fn swapped_keys_are_recorded_as_two_key_changes() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, name text)",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    trail.run("UPDATE t SET id = 3 - id");
    let swaps: Vec<_> = trail.changes()[2..]
        .iter()
        .map(|c| {
            (
                c.previous_key.clone().unwrap(),
                c.row_key.clone().unwrap(),
                c.after.clone().unwrap(),
            )
        })
        .collect();
    assert!(swaps.contains(&("1".into(), "2".into(), json!({"id": 2, "name": "a"}))));
    assert!(swaps.contains(&("2".into(), "1".into(), json!({"id": 1, "name": "b"}))));
}

#[test]
fn row_keys_do_not_depend_on_session_settings() {
    let trail = captured(
        "CREATE TYPE mood AS ENUM ('ok');
         CREATE DOMAIN code AS text;
         CREATE TABLE t (i int, t text, u uuid, z timestamptz, d date, n numeric, b bytea, m mood, c code, v interval,
                         PRIMARY KEY (i, t, u, z, d, n, b, m, c, v))",
        &["t"],
    );
    let row = "1, 'a\"b', '00000000-0000-0000-0000-000000000001', '2024-03-01 12:00+00', '2024-03-01', 1.50, '\\x00ff', 'ok', 'c', '1 mon 2 days'";
    trail.run(&format!("INSERT INTO t VALUES ({row})"));
    trail.run(
        "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET bytea_output = 'escape'; SET IntervalStyle = 'iso_8601';
         DELETE FROM t",
    );
    let changes = trail.changes();
    assert_eq!(changes[0].key, changes[1].key);
    assert_eq!(changes[0].row_key, changes[1].row_key);
    assert_eq!(
        changes[0].key,
        Some(json!({
            "i": "1", "t": "a\"b", "u": "00000000-0000-0000-0000-000000000001",
            "z": "2024-03-01 12:00:00+00", "d": "2024-03-01", "n": "1.50", "b": "\\x00ff",
            "m": "ok", "c": "c", "v": "1 mon 2 days"
        }))
    );
}

#[test]
fn keys_too_long_for_an_index_are_stored_as_digests() {
    let trail = captured("CREATE TABLE t (k text PRIMARY KEY)", &["t"]);
    // The key compresses well enough for the index of the table.
    trail.run("INSERT INTO t VALUES (repeat('key', 20000))");
    let change = &trail.changes()[0];
    assert_eq!(
        change.key.as_ref().unwrap()["k"].as_str().unwrap().len(),
        60_000
    );
    assert!(change.row_key.as_ref().unwrap().starts_with("sha256:"));
}

#[test]
fn changes_of_one_transaction_share_a_transaction_id_that_sorts_by_time() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)");
    trail.run("INSERT INTO t VALUES (3)");
    let changes = trail.changes();
    assert_eq!(changes[0].transaction_id, changes[1].transaction_id);
    assert!(changes[1].transaction_id < changes[2].transaction_id);
    let matches = trail.query_text(
        "SELECT bool_and(t.xid::text::bigint = ('x' || right(replace(t.id::text, '-', ''), 16))::bit(64)::bigint) \
         FROM threadline.audit_transactions AS t",
    );
    assert_eq!(matches, "t");
}

#[test]
fn transactions_in_a_restored_database_do_not_join_older_ones() {
    // Hazard 1: the xids of the new cluster are lower than those in the dump.
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    trail.run("INSERT INTO t SELECT g, 0 FROM generate_series(1, 5) AS g");
    for n in 0..30 {
        trail.run(&format!(
            "SELECT set_config('threadline.actor_ref', '{{\"type\":\"user\",\"id\":\"old\"}}', true); UPDATE t SET v = {n} + 1"
        ));
    }
    let old_transactions = trail.transactions();
    let fresh = start_cluster();
    let restored = fresh.create_database().expect("a database");
    let Some(dump) = dump(&trail.url()) else {
        eprintln!("skipped: pg_dump is not installed");
        return;
    };
    restored.execute_script(&dump).expect("the dump restores");
    let before: u64 = number(&restored, "SELECT pg_current_xact_id()::text");
    let highest: u64 = number(
        &restored,
        "SELECT max(xid::text::bigint) FROM threadline.audit_transactions",
    );
    assert!(
        before < highest,
        "the xids of the new cluster must be lower: {before} < {highest}"
    );
    for n in 0..40 {
        restored
            .execute_script(&format!("UPDATE t SET v = -{n} - 1"))
            .expect("a write");
    }
    let attributed = number(
        &restored,
        "SELECT count(*) FROM threadline.audit_timeline WHERE actor IS NOT NULL AND (data_after ->> 'v')::int < 0",
    );
    assert_eq!(attributed, 0);
    let transactions = number(
        &restored,
        "SELECT count(*) FROM threadline.audit_transactions",
    );
    assert_eq!(
        usize::try_from(transactions).unwrap(),
        old_transactions + 40
    );
}

fn number(database: &threadline_testdb::Database, sql: &str) -> u64 {
    database
        .query_text(sql)
        .expect(sql)
        .expect("a value")
        .parse()
        .expect("a number")
}

/// A dump of a database as a script for the simple query protocol.
pub(crate) fn dump(url: &str) -> Option<String> {
    let program = binaries().bin_dir().join("pg_dump");
    if !program.is_file() {
        return None;
    }
    let output = std::process::Command::new(program)
        .args(["--inserts", "--no-owner", url])
        .output()
        .ok()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let script = String::from_utf8(output.stdout).ok()?;
    // Meta-commands of psql are not SQL.
    Some(
        script
            .lines()
            .filter(|line| !line.starts_with('\\'))
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

/// Keys are as exact as the image, so two keys are equal only if their images are.
#[test]
fn keys_of_floats_and_arrays_are_stored_exactly() {
    for (of, first, second) in [
        ("float8", "0", "-0"),
        ("int[]", "{1,2}", "[0:1]={1,2}"),
        ("float4[]", "{0}", "{-0}"),
    ] {
        let trail = captured(
            &format!("CREATE TABLE t (id {of} PRIMARY KEY, gone int)"),
            &["t"],
        );
        trail.run(&format!("INSERT INTO t VALUES ('{first}', 1)"));
        trail.run(&format!("UPDATE t SET id = '{second}'"));
        trail.run("ALTER TABLE t DROP COLUMN gone");
        trail.run(&format!("UPDATE t SET id = '{first}'"));
        let changes = trail.changes();
        assert_eq!(changes.len(), 3, "{of}");
        assert_eq!(changes[1].row_key.as_deref(), Some(second), "{of}");
        assert_eq!(changes[1].previous_key, changes[0].row_key, "{of}");
        assert_eq!(changes[2].row_key, changes[0].row_key, "{of}");
        assert_eq!(changes[2].previous_key, changes[1].row_key, "{of}");
    }
}

#[test]
fn a_long_key_that_is_not_valid_utf8_is_digested() {
    let trail = captured("CREATE TABLE unused (id int PRIMARY KEY)", &["unused"]);
    let ascii = trail.query_text("SELECT 'ascii_' || current_database()");
    trail.run(&format!(
        "CREATE DATABASE \"{ascii}\" ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    ));
    let name = trail.query_text("SELECT current_database()");
    let url = trail.url().replace(&name, &ascii);
    let session = threadline_testdb::Cluster::existing(&url).unwrap();
    session
        .execute_script(&threadline::install::up_sql())
        .unwrap();
    session
        .execute_script(
            "DO $$ BEGIN
                 IF threadline.row_key(repeat(E'\\xff', 600)) NOT LIKE 'sha256:%' THEN
                     RAISE EXCEPTION 'not digested';
                 END IF;
             END $$",
        )
        .unwrap();
    drop(session);
    trail.run(&format!("DROP DATABASE \"{ascii}\""));
}
