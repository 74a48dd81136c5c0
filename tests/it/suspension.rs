//! Capture can be suspended for bulk maintenance, by who may, and never silently.

use crate::harness::{Trail, captured};

fn two_tables() -> Trail {
    captured(
        "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY)",
        &["a", "b"],
    )
}

#[test]
fn what_went_by_is_counted_by_statement() {
    let trail = two_tables();
    trail.run(
        "BEGIN; SELECT threadline.suspend_capture('{a}', 'backfill'); COMMIT;
         BEGIN; SELECT threadline.suspend_capture('{a}', 'backfill');
         INSERT INTO a SELECT g, 0 FROM generate_series(1, 100) AS g;
         INSERT INTO b VALUES (1);
         UPDATE a SET v = 1 WHERE id <= 40; COMMIT",
    );
    assert_eq!(trail.events(), ["insert b 1"]);
    let counted = trail.ask(
        "SELECT string_agg(table_name || ' ' || op || ' ' || row_count, ', ' ORDER BY id) FROM threadline.audit_suspended_writes",
    );
    assert_eq!(counted, "a insert 100, a update 40");
    let record = trail.ask(
        "SELECT suspended_by || ' ' || reason || ' ' || tables::text FROM threadline.audit_suspensions LIMIT 1",
    );
    assert_eq!(record, "postgres backfill {public.a}");
}

#[test]
fn capture_goes_on_after_resuming_and_in_the_next_transaction() {
    let trail = two_tables();
    trail.run(
        "BEGIN; INSERT INTO a VALUES (1, 0); SELECT threadline.suspend_capture('{a,b}', 'r');
         INSERT INTO a VALUES (2, 0); SELECT threadline.resume_capture(); INSERT INTO a VALUES (3, 0); COMMIT;
         BEGIN; INSERT INTO a VALUES (4, 0); COMMIT",
    );
    assert_eq!(trail.events(), ["insert a 1", "insert a 3", "insert a 4"]);
    assert_eq!(trail.transactions(), 2);
}

#[test]
fn nobody_suspends_without_the_privilege_or_by_making_up_a_setting() {
    let trail = two_tables();
    let role = trail.ask("SELECT 'suspender_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; GRANT INSERT, SELECT ON a TO \"{role}\""
    ));
    let refused = trail.run_as(&role, "SELECT threadline.suspend_capture('{a}', 'r')");
    assert!(refused.unwrap_err().contains("permission denied"));
    trail
        .run_as(
            &role,
            "SELECT set_config('threadline.suspended', '123 1 {public.a}', true); INSERT INTO a VALUES (1, 0);
             INSERT INTO a VALUES (2, 0)",
        )
        .unwrap();
    assert_eq!(trail.events(), ["insert a 1", "insert a 2"]);
    trail.run(&format!(
        "GRANT EXECUTE ON FUNCTION threadline.suspend_capture TO \"{role}\""
    ));
    trail
        .run_as(
            &role,
            "SELECT threadline.suspend_capture('{a}', 'r'); INSERT INTO a VALUES (3, 0)",
        )
        .unwrap();
    assert_eq!(trail.count(), 2);
    let by = trail.ask("SELECT suspended_by FROM threadline.audit_suspensions");
    assert_eq!(by, role);
    trail.run(&format!(
        "DROP OWNED BY \"{role}\" CASCADE; DROP ROLE \"{role}\""
    ));
}

#[test]
fn a_suspension_takes_tables_and_a_reason() {
    let trail = two_tables();
    for wrong in ["'{}', 'r'", "'{a}', ' '", "'{a}', NULL"] {
        let error = trail.refused(&format!("SELECT threadline.suspend_capture({wrong})"));
        assert!(
            error.contains("takes the tables it is for, and a reason"),
            "{error}"
        );
    }
}

#[test]
fn a_second_suspension_adds_to_the_first() {
    let trail = two_tables();
    trail.run(
        "BEGIN; SELECT threadline.suspend_capture('{a}', 'one'), threadline.suspend_capture('{b}', 'two');
         INSERT INTO a VALUES (1, 0); INSERT INTO b VALUES (1); COMMIT",
    );
    assert_eq!(trail.count(), 0);
    let counted = trail.ask(
        "SELECT string_agg(reason || ' ' || table_name || ' ' || row_count, ', ' ORDER BY written.id)
         FROM threadline.audit_suspended_writes AS written
         JOIN threadline.audit_suspensions AS suspension ON suspension.id = suspension_id",
    );
    assert_eq!(counted, "one a 1, two b 1");
}

#[test]
fn what_is_not_captured_cannot_be_suspended() {
    let trail = captured(
        "CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY LIST (id);
         CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1); CREATE TABLE plain (id int)",
        &["parted"],
    );
    for table in ["parted_1", "plain", "pg_class"] {
        let error = trail.refused(&format!(
            "SELECT threadline.suspend_capture('{{{table}}}', 'r')"
        ));
        assert!(
            error.contains(&format!(
                "{table} cannot be suspended: it is not captured by that name"
            )),
            "{error}"
        );
    }
}

#[test]
fn inserts_and_deletes_are_counted_whatever_the_session_does_with_constraints_and_settings() {
    let trail = two_tables();
    trail.run(
        "BEGIN; SELECT threadline.suspend_capture('{a}', 'r'); SET CONSTRAINTS ALL IMMEDIATE;
         INSERT INTO a SELECT g, 0 FROM generate_series(1, 1000) AS g;
         SELECT set_config('threadline.suspended_count', '', true); DELETE FROM a WHERE id <= 10; COMMIT",
    );
    let counted = trail.ask(
        "SELECT string_agg(op || ' ' || row_count, ', ' ORDER BY id) FROM threadline.audit_suspended_writes",
    );
    assert_eq!(counted, "insert 1000, delete 10");
}
