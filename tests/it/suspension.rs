//! Suspension of capture for bulk maintenance: privilege, record and scope.

use crate::harness::{Trail, captured};

fn two_tables() -> Trail {
    captured(
        "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY)",
        &["a", "b"],
    )
}

#[test]
fn a_suspension_is_recorded_and_other_tables_are_still_captured() {
    let trail = two_tables();
    trail.run(
        "BEGIN; SELECT threadline.suspend_capture('{a}', 'backfill');
         INSERT INTO a SELECT g, 0 FROM generate_series(1, 100) AS g;
         INSERT INTO b VALUES (1);
         UPDATE a SET v = 1 WHERE id <= 40; TRUNCATE a; COMMIT",
    );
    assert_eq!(trail.events(), ["insert b 1"]);
    let record = trail.query_text(
        "SELECT suspended_by || ' ' || reason || ' ' || tables::text FROM threadline.audit_suspensions",
    );
    assert_eq!(record, "postgres backfill {public.a}");
    assert!(
        trail
            .expect_error("DELETE FROM threadline.audit_suspensions")
            .contains("append-only")
    );
}

#[test]
fn capture_continues_after_resume_capture_and_in_the_next_transaction() {
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
fn suspending_needs_the_execute_privilege_and_a_forged_setting_is_ignored() {
    let trail = two_tables();
    let role = trail.query_text("SELECT 'suspender_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; GRANT INSERT, SELECT ON a TO \"{role}\""
    ));
    let refused = trail.run_as(&role, "SELECT threadline.suspend_capture('{a}', 'r')");
    assert!(refused.unwrap_err().contains("permission denied"));
    trail
        .run_as(
            &role,
            "SELECT set_config('threadline.suspended', '1', true); INSERT INTO a VALUES (1, 0);
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
    let by = trail.query_text("SELECT suspended_by FROM threadline.audit_suspensions");
    assert_eq!(by, role);
    trail.run(&format!(
        "DROP OWNED BY \"{role}\" CASCADE; DROP ROLE \"{role}\""
    ));
}

#[test]
fn a_suspension_without_tables_or_reason_is_refused() {
    let trail = two_tables();
    for wrong in ["'{}', 'r'", "'{a}', ' '", "'{a}', NULL"] {
        let error = trail.expect_error(&format!("SELECT threadline.suspend_capture({wrong})"));
        assert!(error.contains("needs tables and a reason"), "{error}");
    }
}

#[test]
fn a_second_suspension_adds_its_tables() {
    let trail = two_tables();
    trail.run(
        "BEGIN; SELECT threadline.suspend_capture('{a}', 'one'), threadline.suspend_capture('{b}', 'two');
         INSERT INTO a VALUES (1, 0); INSERT INTO b VALUES (1); COMMIT",
    );
    assert_eq!(trail.count(), 0);
    let reasons = trail.query_text(
        "SELECT string_agg(reason, ', ' ORDER BY order_id) FROM threadline.audit_suspensions",
    );
    assert_eq!(reasons, "one, two");
}

#[test]
fn suspending_a_table_that_is_not_captured_is_refused() {
    let trail = captured(
        "CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY LIST (id);
         CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1); CREATE TABLE plain (id int)",
        &["parted"],
    );
    for table in ["parted_1", "plain", "pg_class"] {
        let error = trail.expect_error(&format!(
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
