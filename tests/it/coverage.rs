//! What capture cannot see is found and named.

use threadline::capture::GENERATOR_VERSION;

use crate::harness::{Trail, captured};

fn findings(trail: &Trail) -> Vec<String> {
    let all = trail.ask_json(&format!(
        "SELECT COALESCE(jsonb_agg(DISTINCT code), '[]') FROM threadline.coverage_findings({GENERATOR_VERSION}, now() - interval '1 day')"
    ));
    serde_json::from_value(all).unwrap()
}

fn table() -> Trail {
    captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"])
}

#[test]
fn a_table_in_order_has_no_findings() {
    let trail = table();
    trail.run("INSERT INTO t VALUES (1, 1)");
    assert_eq!(findings(&trail), Vec::<String>::new());
    let tables = trail.ask("CREATE TABLE other (id int); SELECT string_agg(table_name || ' ' || captured, ', ') FROM threadline.coverage()");
    assert_eq!(tables, "other false, t true");
}

#[test]
fn every_kind_of_drift_is_named() {
    for (drift, expected) in [
        ("ALTER TABLE t DISABLE TRIGGER ALL", "trigger_disabled"),
        ("ALTER TABLE t ENABLE REPLICA TRIGGER \"00_threadline_update\"", "trigger_replica_only"),
        ("DROP TRIGGER \"00_threadline_delete\" ON t", "trigger_missing"),
        ("ALTER TABLE t DROP COLUMN v", "column_missing"),
        ("ALTER TABLE t ADD COLUMN w int", "column_unclassified"),
        ("ALTER TABLE t RENAME TO u", "table_missing"),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (v)", "key_drift"),
        ("CREATE TABLE c () INHERITS (t)", "child_uncovered"),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER own AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
            "order_at_risk",
        ),
        (
            "DO $$ BEGIN EXECUTE (SELECT format('CREATE TRIGGER again AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION %s()', p.oid::regproc)
               FROM pg_proc AS p WHERE p.proname LIKE 'capture_row_%'); END $$",
            "trigger_duplicated",
        ),
        (
            "DO $$ BEGIN EXECUTE (SELECT format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS ''BEGIN RETURN NULL; END''', p.oid::regproc)
               FROM pg_proc AS p WHERE p.proname LIKE 'capture_row_%'); END $$",
            "function_changed",
        ),
        (
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER FUNCTION %s() SECURITY INVOKER', p.oid::regproc)
               FROM pg_proc AS p WHERE p.proname LIKE 'capture_row_%'); END $$",
            "function_owner",
        ),
        ("GRANT INSERT ON threadline.audit_changes TO PUBLIC", "trail_writable"),
        ("ALTER TABLE threadline.audit_changes DISABLE TRIGGER guard_row", "guard_missing"),
        (
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); END $$",
            "replication_role_default",
        ),
        (
            "SET session_replication_role = replica; INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name)
             VALUES (0, now(), gen_random_uuid(), 'insert', 'public', 't')",
            "orphan_changes",
        ),
    ] {
        let trail = table();
        trail.run(drift);
        let found = findings(&trail);
        assert!(found.contains(&expected.to_owned()), "{drift}: {found:?}");
    }
}

#[test]
fn a_partition_without_its_truncate_trigger_is_named() {
    let trail = captured(
        "CREATE TABLE m (id int, r text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
         CREATE TABLE m_a PARTITION OF m FOR VALUES IN ('a')",
        &["m"],
    );
    assert_eq!(findings(&trail), Vec::<String>::new());
    trail.run("CREATE TABLE m_b PARTITION OF m FOR VALUES IN ('b')");
    assert_eq!(findings(&trail), ["partition_uncovered"]);
    trail.run("SELECT threadline.refresh_capture('public', 'm')");
    assert_eq!(findings(&trail), Vec::<String>::new());
    let unknown = trail.refused("SELECT threadline.refresh_capture('public', 'n')");
    assert!(unknown.contains("has no capture policy"), "{unknown}");
}

#[test]
fn refreshing_mends_what_triggers_can_mend() {
    for (drift, code) in [
        (
            "DROP TRIGGER \"00_threadline_delete\" ON t",
            "trigger_missing",
        ),
        ("ALTER TABLE t DISABLE TRIGGER ALL", "trigger_disabled"),
        ("CREATE TABLE c () INHERITS (t)", "child_uncovered"),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER own AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
            "order_at_risk",
        ),
    ] {
        let trail = table();
        trail.run(drift);
        assert_eq!(findings(&trail), [code]);
        trail.run("SELECT threadline.refresh_capture('public', 't')");
        assert_eq!(findings(&trail), Vec::<String>::new(), "{drift}");
        trail.run("INSERT INTO t VALUES (1, 1); UPDATE t SET v = 2; DELETE FROM t");
        assert_eq!(trail.count(), 3, "{drift}");
    }
}

#[test]
fn an_application_that_owns_table_and_trail_is_named() {
    let trail = table();
    let role = trail.ask("SELECT 'owner_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\"; ALTER TABLE t OWNER TO \"{role}\"; ALTER SCHEMA threadline OWNER TO \"{role}\""
    ));
    assert!(findings(&trail).contains(&"trail_owned_by_writer".to_owned()));
    trail.run(&format!(
        "REASSIGN OWNED BY \"{role}\" TO postgres; DROP ROLE \"{role}\""
    ));
}
