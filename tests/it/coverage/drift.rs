//! Every drift of tables, triggers, functions and the trail has a finding code and a remedy.

use std::collections::BTreeSet;

use threadline::coverage::Severity;

use super::{apply_remedies, codes, findings, table};
use crate::harness::empty_trail;

/// A statement about the capture function of table `t`; `%s` is the name of the function.
fn on_function(statement: &str) -> String {
    format!(
        "DO $$ BEGIN EXECUTE (SELECT format({statement}, p.oid::regprocedure)
           FROM pg_proc AS p WHERE p.proname LIKE 'capture_public_%'); END $$"
    )
}

/// Hazards 10, 11, 18, 19, 20, 21: each drift has its finding code, and the remedy removes it.
#[test]
fn every_drift_with_a_sql_remedy_is_reported_and_repaired() {
    let row = "'CREATE TRIGGER again AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION %s'";
    let own =
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;";
    for (drift, code) in [
        ("ALTER TABLE t DISABLE TRIGGER ALL".to_owned(), "trigger_disabled"),
        ("ALTER TABLE t ENABLE REPLICA TRIGGER \"00_threadline_capture\"".to_owned(), "trigger_replica_only"),
        ("DROP TRIGGER \"00_threadline_capture\" ON t".to_owned(), "trigger_missing"),
        (
            format!("{own} CREATE OR REPLACE TRIGGER \"00_threadline_capture\" AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()"),
            "trigger_changed",
        ),
        (
            on_function("'CREATE OR REPLACE TRIGGER \"00_threadline_capture\" AFTER UPDATE ON t FOR EACH ROW WHEN (NEW.v > 3) EXECUTE FUNCTION %s'"),
            "trigger_changed",
        ),
        (
            on_function("'CREATE OR REPLACE TRIGGER \"00_threadline_capture\" AFTER UPDATE OF v ON t FOR EACH ROW EXECUTE FUNCTION %s'"),
            "trigger_changed",
        ),
        (
            "CREATE OR REPLACE TRIGGER \"00_threadline_truncate\" AFTER TRUNCATE ON t FOR EACH STATEMENT
             EXECUTE FUNCTION threadline.capture_truncate('public', 'other', 'false')".to_owned(),
            "trigger_changed",
        ),
        (on_function(row), "trigger_duplicated"),
        (
            on_function("'CREATE TABLE u (LIKE t); CREATE TRIGGER x AFTER UPDATE ON u FOR EACH ROW EXECUTE FUNCTION %s'"),
            "trigger_stray",
        ),
        ("CREATE TABLE c () INHERITS (t)".to_owned(), "child_uncovered"),
        (
            format!("{own} CREATE TRIGGER \"!own\" AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"),
            "order_at_risk",
        ),
        (on_function("'ALTER FUNCTION %s SECURITY INVOKER'"), "function_not_definer"),
        (on_function("'GRANT EXECUTE ON FUNCTION %s TO PUBLIC'"), "function_executable"),
        ("ALTER TABLE t SET UNLOGGED".to_owned(), "table_unlogged"),
        ("GRANT INSERT, DELETE ON threadline.audit_changes TO PUBLIC".to_owned(), "trail_writable"),
        ("GRANT UPDATE (actor) ON threadline.audit_transactions TO PUBLIC".to_owned(), "trail_writable"),
        ("GRANT USAGE ON SEQUENCE threadline.audit_changes_id_seq TO PUBLIC".to_owned(), "trail_writable"),
        ("GRANT UPDATE ON SEQUENCE threadline.capture_session TO PUBLIC".to_owned(), "trail_writable"),
        ("GRANT CREATE ON SCHEMA threadline TO PUBLIC".to_owned(), "schema_writable"),
        (
            "GRANT EXECUTE ON FUNCTION threadline.erase_values(text, text, text, text[], text) TO PUBLIC".to_owned(),
            "trail_function_executable",
        ),
        ("ALTER TABLE threadline.audit_changes ENABLE ROW LEVEL SECURITY".to_owned(), "trail_row_security"),
        ("ALTER TABLE threadline.audit_changes DISABLE TRIGGER guard_row".to_owned(), "guard_missing"),
        ("DROP TRIGGER guard_row ON threadline.audit_transactions".to_owned(), "guard_missing"),
        ("DROP TRIGGER guard_record ON threadline.audit_removals".to_owned(), "guard_missing"),
        ("DROP TRIGGER guard_truncate ON threadline.audit_changes_default".to_owned(), "guard_missing"),
        ("DROP INDEX threadline.audit_changes_row_idx".to_owned(), "trail_index_missing"),
        (
            "CREATE OR REPLACE FUNCTION threadline.guard_record() RETURNS trigger LANGUAGE plpgsql
             SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN OLD; END'".to_owned(),
            "trail_function_changed",
        ),
        (
            "CREATE OR REPLACE FUNCTION threadline.trail_delete_is_allowed() RETURNS boolean LANGUAGE sql STABLE RETURN true".to_owned(),
            "trail_function_changed",
        ),
        ("ALTER FUNCTION threadline.suspend_capture SECURITY INVOKER".to_owned(), "trail_function_changed"),
        ("DROP FUNCTION threadline.erase_values(text, text, text, text[], text)".to_owned(), "trail_function_changed"),
        (
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); END $$".to_owned(),
            "replication_role_default",
        ),
        (
            "DO $$ DECLARE name text; BEGIN
               FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'threadline'::regnamespace
                 AND relname = 'audit_changes_' || to_char((now() + interval '1 month') AT TIME ZONE 'UTC', 'YYYY_MM')
               LOOP EXECUTE format('DROP TABLE threadline.%I', name); END LOOP; END $$".to_owned(),
            "partition_missing",
        ),
    ] {
        let trail = table();
        trail.run(&drift);
        let found = codes(&trail);
        assert!(found.contains(code), "{drift}: {found:?}");
        apply_remedies(&trail, code);
        if code == "child_uncovered" {
            assert_eq!(codes(&trail), BTreeSet::new(), "{drift}");
        }
        let left = codes(&trail);
        assert!(!left.contains(code), "{drift}: {left:?}");
        if code.starts_with("trigger_") || code.starts_with("function_") || code == "order_at_risk" {
            assert_eq!(left, BTreeSet::new(), "{drift}");
            let before = trail.count();
            trail.run("INSERT INTO t VALUES (2, 1); UPDATE t SET v = 5 WHERE id = 2; DELETE FROM t WHERE id = 2");
            assert_eq!(trail.count() - before, 3, "{drift}");
        }
    }
}

#[test]
fn every_drift_that_needs_the_generator_is_reported() {
    for (drift, code) in [
        ("ALTER TABLE t DROP COLUMN v".to_owned(), "column_missing"),
        ("ALTER TABLE t RENAME COLUMN v TO w".to_owned(), "column_renamed"),
        (
            "ALTER TABLE t RENAME COLUMN v TO w; ALTER TABLE t RENAME COLUMN id TO v;
             ALTER TABLE t RENAME COLUMN w TO id".to_owned(),
            "column_renamed",
        ),
        // An excluded column takes the name of a stored column.
        ("ALTER TABLE t RENAME COLUMN v TO w; ALTER TABLE t RENAME COLUMN kind TO v".to_owned(), "column_renamed"),
        ("ALTER TABLE t ADD COLUMN w int".to_owned(), "column_unclassified"),
        ("ALTER TABLE t ALTER COLUMN v TYPE numeric".to_owned(), "column_retyped"),
        ("DROP TABLE t".to_owned(), "table_missing"),
        ("ALTER TABLE t RENAME TO u".to_owned(), "table_renamed"),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (v)".to_owned(), "key_drift"),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey".to_owned(), "key_drift"),
        (
            "CREATE TABLE p (id int, v int, kind text, PRIMARY KEY (id)) PARTITION BY LIST (id);
             ALTER TABLE p ATTACH PARTITION t FOR VALUES IN (1)".to_owned(),
            "table_became_partition",
        ),
        (
            on_function("'CREATE OR REPLACE FUNCTION %s RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS ''BEGIN RETURN NULL; END'''"),
            "function_changed",
        ),
        (on_function("'DROP FUNCTION %s CASCADE'"), "function_missing"),
        (on_function("'COMMENT ON FUNCTION %s IS NULL'"), "policy_missing"),
        (on_function("'COMMENT ON FUNCTION %s IS ''{broken'''"), "policy_missing"),
        (
            "DO $$ BEGIN EXECUTE (SELECT format('COMMENT ON FUNCTION %s IS %L', p.oid::regprocedure,
               replace(obj_description(p.oid, 'pg_proc'), '[REDACTED]', '[FORGED]'))
               FROM pg_proc AS p WHERE p.proname LIKE 'capture_public_%'); END $$".to_owned(),
            "policy_changed",
        ),
        (on_function("'ALTER FUNCTION %s SET search_path = public'"), "function_settings"),
        (on_function("'ALTER FUNCTION %s SET work_mem = 1024'"), "function_settings"),
        (
            "CREATE OR REPLACE FUNCTION threadline.schema_version() RETURNS integer LANGUAGE sql RETURN 0".to_owned(),
            "install_outdated",
        ),
        ("DROP FUNCTION threadline.schema_version()".to_owned(), "install_outdated"),
    ] {
        let trail = table();
        trail.run(&drift);
        let found = findings(&trail);
        let named: Vec<_> = found.iter().filter(|finding| finding.code.as_str() == code).collect();
        assert!(!named.is_empty(), "{drift}: {found:?}");
        assert!(named.iter().all(|finding| finding.severity == Severity::Error), "{drift}");
    }
}

#[test]
fn columns_that_swapped_names_are_reported() {
    let trail = empty_trail();
    trail.run("CREATE TABLE t (id int PRIMARY KEY, pin text, note text, v int)");
    trail.capture(&trail.introspect("t").redact(["pin"], []).unwrap());
    let name_swap = || {
        let found = findings(&trail);
        let mut swapped = found
            .into_iter()
            .filter(|finding| finding.explanation.contains("swapped"));
        swapped
            .next()
            .map(|finding| (finding.explanation, finding.remedy.to_string()))
    };
    assert_eq!(name_swap(), None);
    trail.run(
        "ALTER TABLE t RENAME COLUMN pin TO x; ALTER TABLE t RENAME COLUMN note TO pin;
         ALTER TABLE t RENAME COLUMN x TO note",
    );
    let (explanation, remedy) = name_swap().unwrap();
    assert!(
        explanation.contains("note was pin, pin was note"),
        "{explanation}"
    );
    assert!(remedy.ends_with("redeploy-triggers public.t"), "{remedy}");
    // A restore creates the table again, without the attribute numbers of dropped columns.
    trail.run("ALTER TABLE t RENAME COLUMN note TO x; ALTER TABLE t RENAME COLUMN pin TO note; ALTER TABLE t RENAME COLUMN x TO pin");
    assert_eq!(name_swap(), None);
    trail.run(
        "ALTER TABLE t RENAME TO before; CREATE TABLE t (id int PRIMARY KEY, note text, pin text, v int);
         ALTER TABLE before RENAME CONSTRAINT t_pkey TO before_pkey",
    );
    let (explanation, _) = name_swap().unwrap();
    assert!(
        explanation.contains("note was pin, pin was note"),
        "{explanation}"
    );
    trail.run("DROP TABLE t; CREATE TABLE t (gone int, id int PRIMARY KEY, pin text, note text, v int); ALTER TABLE t DROP COLUMN gone");
    assert_eq!(name_swap(), None);
}

#[test]
fn an_unreadable_policy_does_not_block_remedies_of_other_tables() {
    let trail = table();
    trail.run(&on_function("'COMMENT ON FUNCTION %s IS ''{broken'''"));
    trail.run("CREATE TABLE u (id int PRIMARY KEY)");
    trail.capture(&trail.introspect("u"));
    trail.run("DROP TRIGGER \"00_threadline_capture\" ON u");
    apply_remedies(&trail, "trigger_missing");
    let left = codes(&trail);
    assert!(!left.contains("trigger_missing"), "{left:?}");
    assert!(left.contains("policy_missing"), "{left:?}");
}
