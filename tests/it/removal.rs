//! Erasure, and the guards against every other way to change the trail.

use serde_json::json;

use crate::harness::captured;

#[test]
fn the_trail_cannot_be_changed_outside_the_removal_functions() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    trail.run("INSERT INTO t VALUES (1, 1)");
    for attempt in [
        "DELETE FROM threadline.audit_changes",
        "UPDATE threadline.audit_changes SET actor = 'user:forged'",
        "SELECT threadline.erase_values('public', 't', '1', '{v}', 'x'); DELETE FROM threadline.audit_changes",
        "TRUNCATE threadline.audit_changes",
        "DELETE FROM threadline.audit_removals",
        "DELETE FROM threadline.audit_enrolments",
    ] {
        let error = trail.expect_error(attempt);
        assert!(error.contains("append-only"), "{attempt}: {error}");
    }
}

#[test]
fn a_role_with_all_privileges_on_the_tables_cannot_change_the_trail() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    trail.run("INSERT INTO t VALUES (1, 1)");
    let role = trail.query_text("SELECT 'granted_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA threadline TO \"{role}\""
    ));
    for attempt in [
        "DELETE FROM threadline.audit_changes",
        "SELECT set_config('threadline.trail_delete', 'on', true); DELETE FROM threadline.audit_changes",
        "SELECT set_config('threadline.trail_delete', 'on', true); UPDATE threadline.audit_changes SET actor = 'user:1'",
        "TRUNCATE threadline.audit_changes",
    ] {
        let error = trail.run_as(&role, attempt).expect_err(attempt);
        assert!(
            error.contains("append-only") || error.contains("trail_delete_is_allowed"),
            "{attempt}: {error}"
        );
    }
    assert_eq!(trail.count(), 1);
}

#[test]
fn erasing_an_unknown_table_column_or_row_is_refused_and_erases_nothing() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, name text, email text)",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 'Ann', 'ann@example.org')");
    for (call, expected) in [
        ("'public', 'usr', '1', '{name}'", "never under capture"),
        (
            "'public', 't', '1', '{name,emial}'",
            "never had a captured column \"emial\"",
        ),
        (
            "'public', 't', '2', '{name}'",
            "no changes are recorded for the row",
        ),
        ("'public', 't', '1', '{}'", "needs columns"),
        ("'public', 't', '1', '{NULL}'", "needs columns"),
    ] {
        let error = trail.expect_error(&format!(
            "SELECT threadline.erase_values({call}, 'request 17')"
        ));
        assert!(error.contains(expected), "{call}: {error}");
    }
    assert_eq!(
        trail.query_text("SELECT count(*) FROM threadline.audit_removals"),
        "0"
    );
    assert_eq!(
        trail.changes()[0].after,
        Some(json!({"id": 1, "name": "Ann", "email": "ann@example.org"}))
    );
}

#[test]
fn erasure_removes_values_from_every_image_also_under_earlier_keys() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, name text, v int)",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 'secret', 0), (2, 'other', 0)");
    trail.run("UPDATE t SET name = 'secret too', v = 1 WHERE id = 1");
    trail.run("UPDATE t SET id = 3 WHERE id = 1");
    trail.run("DELETE FROM t WHERE id = 3");
    assert_eq!(
        trail.query_text("SELECT threadline.erase_values('public', 't', '3', '{name}', 'GDPR')"),
        "4"
    );
    let everything =
        trail.query_text("SELECT string_agg(c::text, '') FROM threadline.audit_changes AS c");
    assert!(
        !everything.contains("secret") && everything.contains("other"),
        "{everything}"
    );
    let update = &trail.changes()[2];
    assert_eq!(update.from, Some(json!({"name": "[ERASED]", "v": 0})));
}

#[test]
fn erasing_a_key_column_is_refused() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    trail.run("INSERT INTO t VALUES (1, 1)");
    let error =
        trail.expect_error("SELECT threadline.erase_values('public', 't', '1', '{id,v}', 'GDPR')");
    assert!(error.contains("key columns cannot be erased"), "{error}");
}

#[test]
fn an_erasure_without_a_reason_is_refused() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    trail.run("INSERT INTO t VALUES (1, 1)");
    let error = trail.expect_error("SELECT threadline.erase_values('public', 't', '1', '{v}', '')");
    assert!(error.contains("needs a reason"), "{error}");
    assert!(
        trail
            .expect_error("DELETE FROM threadline.audit_removals")
            .contains("append-only")
    );
}

#[test]
fn erasure_covers_every_key_of_a_row_whose_key_changed_often() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v text)", &["t"]);
    trail.run(
        "DO $$ BEGIN
             INSERT INTO t VALUES (0, 'secret');
             FOR i IN 1..1050 LOOP UPDATE t SET id = i; END LOOP;
         END $$",
    );
    let erased = "SELECT threadline.erase_values('public', 't', '1050', '{v}', 'GDPR')";
    assert_eq!(trail.query_text(erased), "1051");
    let left =
        "SELECT count(*) FROM threadline.audit_changes WHERE data_after::text LIKE '%secret%'";
    assert_eq!(trail.query_text(left), "0");
}
