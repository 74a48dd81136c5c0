//! Excluded and masked values are stored nowhere in the trail.

use serde_json::json;
use threadline::install::CaptureMigration;

use crate::harness::{Trail, empty_trail};

fn members() -> Trail {
    let trail = empty_trail();
    trail.run("CREATE TABLE members (id int PRIMARY KEY, email text, hash text, seen timestamptz, name text)");
    let table = trail
        .introspect("members")
        .redact(["hash", "seen"], ["email"])
        .unwrap();
    trail.capture(&table);
    trail
}

#[test]
fn excluded_and_masked_values_are_not_stored() {
    let trail = members();
    trail.run("INSERT INTO members VALUES (1, 'ada@secret.example', 'secret-hash', now(), 'Ada')");
    trail.run("UPDATE members SET email = 'eve@secret.example', hash = 'secret-other'");
    trail.run("UPDATE members SET name = 'Eve'");
    trail.run("DELETE FROM members");
    let everything =
        trail.query_text("SELECT string_agg(c::text, '') FROM threadline.audit_changes AS c");
    assert!(!everything.contains("secret"), "{everything}");
    let changes = trail.changes();
    assert_eq!(changes.len(), 4);
    assert_eq!(changes[1].from, Some(json!({"email": "[REDACTED]"})));
    assert_eq!(
        changes[3].from,
        Some(json!({"id": 1, "email": "[REDACTED]", "name": "Eve"}))
    );
}

#[test]
fn an_update_of_excluded_columns_alone_records_nothing() {
    let trail = members();
    trail.run("INSERT INTO members VALUES (1, 'a', 'b', now(), 'c')");
    trail.run("UPDATE members SET seen = clock_timestamp(), hash = 'x'");
    assert_eq!(trail.changes().len(), 1);
    assert_eq!(trail.transactions(), 1);
}

#[test]
fn a_masked_null_is_stored_as_the_placeholder() {
    let trail = members();
    trail.run("INSERT INTO members (id) VALUES (1)");
    assert_eq!(
        trail.changes()[0].after.as_ref().unwrap()["email"],
        json!("[REDACTED]")
    );
}

/// A table with a masked column of each of several types, whose NULL is kept.
fn contacts() -> Trail {
    let trail = empty_trail();
    trail.run(
        "CREATE TYPE place AS (street text, no int);
         CREATE TABLE contacts (id int PRIMARY KEY, phone text, pin int, home place, extra json, name text)",
    );
    let table = trail.introspect("contacts");
    let masked = ["phone", "pin", "home", "extra"];
    trail.capture(&table.mask_keep_null(masked).unwrap());
    trail
}

#[test]
fn a_masked_null_stays_null_if_the_rule_keeps_it() {
    let trail = contacts();
    trail.run(
        "INSERT INTO contacts VALUES (1, '555-secret', 4711, '(,)', '{}', 'Ada');
         UPDATE contacts SET phone = NULL, extra = NULL;
         UPDATE contacts SET phone = '556-secret', pin = NULL;
         DELETE FROM contacts",
    );
    let masked = json!("[REDACTED]");
    let changes = trail.changes();
    let [insert, emptied, filled, delete] = &changes[..] else {
        panic!("{changes:?}");
    };
    // A composite value of NULL fields is not NULL.
    assert_eq!(
        insert.after,
        Some(json!({
            "id": 1, "phone": masked, "pin": masked, "home": masked, "extra": masked, "name": "Ada"
        }))
    );
    assert_eq!(
        emptied.from,
        Some(json!({"phone": masked, "extra": masked}))
    );
    assert_eq!(emptied.after.as_ref().unwrap()["phone"], json!(null));
    assert_eq!(filled.from, Some(json!({"phone": null, "pin": masked})));
    assert_eq!(filled.after.as_ref().unwrap()["phone"], masked);
    assert_eq!(delete.from.as_ref().unwrap()["pin"], json!(null));
    let everything =
        trail.query_text("SELECT string_agg(c::text, '') FROM threadline.audit_changes AS c");
    assert!(
        !everything.contains("secret") && !everything.contains("4711"),
        "{everything}"
    );
}

#[test]
fn the_fallback_keeps_null_under_the_rule_that_keeps_it() {
    let trail = contacts();
    trail.run("ALTER TABLE contacts DROP COLUMN name");
    trail.run("INSERT INTO contacts VALUES (1, '555'); UPDATE contacts SET phone = NULL, pin = 1");
    let changes = trail.changes();
    let masked = json!("[REDACTED]");
    assert_eq!(
        changes[0].after,
        Some(json!({"id": 1, "phone": masked, "pin": null, "home": null, "extra": null}))
    );
    assert_eq!(changes[1].from, Some(json!({"phone": masked, "pin": null})));
}

#[test]
fn a_placeholder_with_quotes_and_template_markers_is_stored_unchanged() {
    use threadline::table::AuditedTable;
    let trail = empty_trail();
    trail.run("CREATE TABLE t (id int PRIMARY KEY, a text)");
    let found = trail.introspect("t");
    let table = AuditedTable::builder(found.name().clone())
        .columns(found.columns().to_vec())
        .key(["id"])
        .mask(["a"])
        .mask_with(r"it's \ $capture$ @image@")
        .build()
        .unwrap();
    trail.capture(&table);
    trail.run("INSERT INTO t VALUES (1, 'x'); UPDATE t SET a = 'y'");
    assert_eq!(
        trail.changes()[1].from,
        Some(json!({"a": r"it's \ $capture$ @image@"}))
    );
}

#[test]
fn changed_redaction_rules_apply_to_later_changes() {
    let trail = members();
    trail.run("INSERT INTO members VALUES (1, 'a', 'b', now(), 'c')");
    let stricter = trail
        .introspect("members")
        .redact(["hash", "seen", "name"], ["email"])
        .unwrap();
    trail.run(CaptureMigration::new([&stricter], |_| None).up());
    trail.run("UPDATE members SET email = 'z'");
    let after = trail.changes()[1].after.clone().unwrap();
    assert_eq!(after, json!({"id": 1, "email": "[REDACTED]"}));
}
