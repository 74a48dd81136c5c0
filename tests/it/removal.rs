//! The one way in which the trail gets smaller, and what it leaves.

use serde_json::json;

use crate::harness::captured;

#[test]
fn expired_changes_go_in_batches_and_the_removal_is_recorded() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t SELECT generate_series(1, 25)");
    let removed = trail.ask("SELECT threadline.remove_changes(now(), 10, 'expired')");
    assert_eq!(removed, "10");
    assert_eq!(
        trail.ask("SELECT threadline.remove_changes(now() - interval '1 day', 10, 'expired')"),
        "0"
    );
    assert_eq!(trail.count(), 15);
    let record = trail.ask("SELECT kind || ' ' || reason || ' ' || change_count || ' ' || removed_by FROM threadline.audit_removals");
    assert_eq!(record, "retention expired 10 postgres");
    // The way is closed again.
    let error = trail.refused(
        "SELECT threadline.remove_changes(now(), 1, 'x'); DELETE FROM threadline.audit_changes",
    );
    assert!(error.contains("append-only"), "{error}");
    let forged = "SELECT set_config('threadline.sanctioned', '1 sanctioned', true); DELETE FROM threadline.audit_changes";
    assert!(trail.refused(forged).contains("append-only"));
}

#[test]
fn erased_values_are_gone_from_every_copy_also_under_earlier_keys() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, name text, v int)",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 'secret', 0), (2, 'other', 0)");
    trail.run("UPDATE t SET name = 'secret too', v = 1 WHERE id = 1");
    trail.run("UPDATE t SET id = 3 WHERE id = 1");
    trail.run("DELETE FROM t WHERE id = 3");
    assert_eq!(
        trail.ask("SELECT threadline.erase_values('public', 't', '3', '{name}', 'GDPR')"),
        "4"
    );
    let everything = trail.ask("SELECT string_agg(c::text, '') FROM threadline.audit_changes AS c");
    assert!(
        !everything.contains("secret") && everything.contains("other"),
        "{everything}"
    );
    let update = &trail.changes()[2];
    assert_eq!(update.from, Some(json!({"name": "[ERASED]", "v": 0})));
}

#[test]
fn keys_cannot_be_erased() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    trail.run("INSERT INTO t VALUES (1, 1)");
    let error =
        trail.refused("SELECT threadline.erase_values('public', 't', '1', '{id,v}', 'GDPR')");
    assert!(error.contains("key columns cannot be erased"), "{error}");
}

#[test]
fn removing_takes_a_reason() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    trail.run("INSERT INTO t VALUES (1, 1)");
    let error = trail.refused("SELECT threadline.erase_values('public', 't', '1', '{v}', '')");
    assert!(error.contains("takes a reason"), "{error}");
    assert!(
        trail
            .refused("DELETE FROM threadline.audit_removals")
            .contains("append-only")
    );
}
