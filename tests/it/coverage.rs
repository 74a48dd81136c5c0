//! What capture cannot see is found and named, and the remedy that is named mends it.

mod rights;

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::coverage::{
    Coverage, CoverageReport, CoverageStatus, Finding, FindingCode, Remedy, Severity,
};
use threadline::expected_gap::ExpectedGap;
use threadline::nonblocking;
use threadline_testdb::Cluster;

use crate::harness::{Trail, block_on, captured, empty_trail};

threadline::expected_gap!("knowingly_not", "scratch space of the importer");

fn ask(trail: &Trail, question: &Coverage) -> CoverageReport {
    block_on(async { nonblocking::coverage(&mut trail.connect().await, question).await })
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Findings of every schema. Tests write as a superuser, which is a finding of its own.
fn findings(trail: &Trail) -> Vec<Finding> {
    let mut found = ask(trail, &Coverage::new()).findings;
    found.retain(|finding| finding.code != FindingCode::WriterIsSuperuser);
    found
}

/// The codes of all findings, but for the one about a right that belongs to the whole server: another
/// test gives it away meanwhile.
fn codes(trail: &Trail) -> BTreeSet<String> {
    let mut codes = all_codes(trail);
    codes.remove("replication_role_settable");
    codes
}

fn all_codes(trail: &Trail) -> BTreeSet<String> {
    findings(trail)
        .iter()
        .map(|finding| finding.code.to_string())
        .collect()
}

fn table() -> Trail {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, v int, kind text)",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 1, 'a')");
    trail
}

/// Runs every remedy that is SQL and belongs to a code.
fn mend(trail: &Trail, code: &str) {
    for finding in findings(trail) {
        if finding.code.as_str() == code {
            match &finding.remedy {
                Remedy::Sql { sql } => trail.run(sql),
                other => panic!("{code}: {other:?}"),
            }
        }
    }
}

/// What the tests call the functions of table t.
fn on_function(statement: &str) -> String {
    format!(
        "DO $$ BEGIN EXECUTE (SELECT format({statement}, p.oid::regprocedure)
           FROM pg_proc AS p WHERE p.proname LIKE 'capture_row_%'); END $$"
    )
}

#[test]
fn a_table_in_order_has_no_findings() {
    let trail = table();
    trail.run("CREATE TABLE other (id int); CREATE TABLE knowingly_not (id int); CREATE TABLE __diesel_schema_migrations (version text)");
    assert_eq!(findings(&trail), []);
    let report = ask(&trail, &Coverage::registered().unwrap());
    let tables: Vec<_> = report
        .tables
        .iter()
        .map(|table| {
            let reason = table.reason.as_deref().unwrap_or_default();
            format!("{} {} {reason}", table.table, table.status.as_str())
        })
        .collect();
    assert_eq!(
        tables,
        [
            "public.__diesel_schema_migrations expected gap Diesel's note of the migrations that ran",
            "public.knowingly_not expected gap scratch space of the importer",
            "public.other needs capture ",
            "public.t captured ",
        ]
    );
    assert!(!report.is_in_order());
    let sum = report.summary;
    assert_eq!(
        (sum.captured, sum.expected_gaps, sum.needs_capture),
        (1, 2, 1)
    );
}

/// Hazards 10, 11, 18, 19, 20, 21: each drift, the code it is named by, and the remedy's effect.
#[test]
fn every_drift_that_sql_can_mend_is_named_and_mended_by_the_named_sql() {
    let row = "'CREATE TRIGGER again AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION %s'";
    let own =
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;";
    for (drift, code) in [
        ("ALTER TABLE t DISABLE TRIGGER ALL".to_owned(), "trigger_disabled"),
        ("ALTER TABLE t ENABLE REPLICA TRIGGER \"00_threadline_update\"".to_owned(), "trigger_replica_only"),
        ("DROP TRIGGER \"00_threadline_delete\" ON t".to_owned(), "trigger_missing"),
        (
            format!("{own} CREATE OR REPLACE TRIGGER \"00_threadline_update\" AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()"),
            "trigger_changed",
        ),
        (
            on_function("'CREATE OR REPLACE TRIGGER \"00_threadline_update\" AFTER UPDATE ON t FOR EACH ROW WHEN (NEW.v > 3) EXECUTE FUNCTION %s'"),
            "trigger_changed",
        ),
        (
            on_function("'CREATE OR REPLACE TRIGGER \"00_threadline_update\" AFTER UPDATE OF v ON t FOR EACH ROW EXECUTE FUNCTION %s'"),
            "trigger_changed",
        ),
        (
            "CREATE OR REPLACE TRIGGER \"00_threadline_truncate\" BEFORE TRUNCATE ON t FOR EACH STATEMENT
             EXECUTE FUNCTION threadline.capture_truncate('public', 'other', 'event', 'optional')".to_owned(),
            "trigger_changed",
        ),
        (on_function(row), "trigger_duplicated"),
        (
            on_function("'CREATE TABLE u (LIKE t); CREATE TRIGGER x AFTER UPDATE ON u FOR EACH ROW EXECUTE FUNCTION %s'"),
            "trigger_stray",
        ),
        ("CREATE TABLE c () INHERITS (t)".to_owned(), "child_uncovered"),
        (
            "CREATE TABLE c () INHERITS (t)".to_owned(),
            "trigger_level",
        ),
        (
            format!("{own} CREATE TRIGGER own AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"),
            "order_at_risk",
        ),
        (
            format!("{own} CREATE TRIGGER \"!own\" AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION f()"),
            "order_at_risk",
        ),
        (on_function("'ALTER FUNCTION %s SECURITY INVOKER'"), "function_not_definer"),
        (on_function("'ALTER FUNCTION %s SET search_path = public'"), "function_settings"),
        (on_function("'GRANT EXECUTE ON FUNCTION %s TO PUBLIC'"), "function_executable"),
        ("ALTER TABLE t SET UNLOGGED".to_owned(), "table_unlogged"),
        ("GRANT INSERT, DELETE ON threadline.audit_changes TO PUBLIC".to_owned(), "trail_writable"),
        ("GRANT UPDATE (actor_ref) ON threadline.audit_transactions TO PUBLIC".to_owned(), "trail_writable"),
        ("GRANT USAGE ON SEQUENCE threadline.audit_changes_id_seq TO PUBLIC".to_owned(), "trail_writable"),
        ("GRANT SELECT ON SEQUENCE threadline.capture_secret TO PUBLIC".to_owned(), "secret_readable"),
        ("GRANT CREATE ON SCHEMA threadline TO PUBLIC".to_owned(), "schema_writable"),
        (
            "GRANT EXECUTE ON FUNCTION threadline.remove_changes(timestamptz, integer, text) TO PUBLIC".to_owned(),
            "trail_function_executable",
        ),
        ("ALTER TABLE threadline.audit_changes ENABLE ROW LEVEL SECURITY".to_owned(), "trail_row_security"),
        ("ALTER TABLE threadline.audit_changes DISABLE TRIGGER guard_row".to_owned(), "guard_missing"),
        ("DROP TRIGGER guard_row ON threadline.audit_transactions".to_owned(), "guard_missing"),
        ("DROP TRIGGER guard_record ON threadline.audit_removals".to_owned(), "guard_missing"),
        ("DROP TRIGGER guard_truncate ON threadline.audit_changes_default".to_owned(), "guard_missing"),
        ("DROP INDEX threadline.audit_changes_row_idx".to_owned(), "trail_index_missing"),
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
        mend(&trail, code);
        if code == "child_uncovered" || code == "trigger_level" {
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
fn every_drift_that_takes_the_generator_is_named() {
    for (drift, code) in [
        ("ALTER TABLE t DROP COLUMN v".to_owned(), "column_missing"),
        ("ALTER TABLE t RENAME COLUMN v TO w".to_owned(), "column_renamed"),
        (
            "ALTER TABLE t RENAME COLUMN v TO w; ALTER TABLE t RENAME COLUMN id TO v;
             ALTER TABLE t RENAME COLUMN w TO id".to_owned(),
            "column_renamed",
        ),
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
               FROM pg_proc AS p WHERE p.proname LIKE 'capture_row_%'); END $$".to_owned(),
            "policy_changed",
        ),
        (
            "CREATE OR REPLACE FUNCTION threadline.guard_row() RETURNS trigger LANGUAGE plpgsql
             SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN OLD; END'".to_owned(),
            "trail_function_changed",
        ),
        (
            "CREATE OR REPLACE FUNCTION threadline.verified(signature text) RETURNS text LANGUAGE sql STABLE RETURN 'sanctioned'".to_owned(),
            "trail_function_changed",
        ),
        ("DROP FUNCTION threadline.erase_values(text, text, text, text[], text)".to_owned(), "trail_function_changed"),
        (
            "COMMENT ON FUNCTION threadline.installation() IS '{\"release\": \"0.0.9\", \"digest\": \"old\"}'".to_owned(),
            "install_outdated",
        ),
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
fn a_policy_that_cannot_be_read_does_not_keep_other_tables_from_being_mended() {
    let trail = table();
    trail.run(&on_function("'COMMENT ON FUNCTION %s IS ''{broken'''"));
    trail.run("CREATE TABLE u (id int PRIMARY KEY)");
    trail.capture(&trail.introspect("u"));
    trail.run("DROP TRIGGER \"00_threadline_delete\" ON u");
    mend(&trail, "trigger_missing");
    let left = codes(&trail);
    assert!(!left.contains("trigger_missing"), "{left:?}");
    assert!(left.contains("policy_missing"), "{left:?}");
}

#[test]
fn what_is_left_to_decide_is_named() {
    for (drift, code) in [
        (
            "SET session_replication_role = replica; INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name)
             VALUES (0, now(), gen_random_uuid(), 'insert', 'public', 't')",
            "orphan_changes",
        ),
        (
            "SET session_replication_role = replica; DELETE FROM threadline.audit_changes",
            "transactions_without_changes",
        ),
        (
            "BEGIN; SELECT threadline.suspend_capture('{t}', 'backfill'); INSERT INTO t VALUES (7, 7); COMMIT",
            "capture_was_suspended",
        ),
    ] {
        let trail = table();
        trail.run(drift);
        let found = codes(&trail);
        assert_eq!(found, BTreeSet::from([code.to_owned()]), "{drift}");
    }
    // What retention removed is not missing.
    let trail = table();
    trail.run("SELECT threadline.remove_changes(now() + interval '1 minute', 10, 'retention')");
    assert_eq!(codes(&trail), BTreeSet::new());
}

#[test]
fn partitions_are_covered_when_they_come_and_named_when_they_go() {
    // Hazard 10.
    let trail = captured(
        "CREATE TABLE m (id int, r text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
         CREATE TABLE m_a PARTITION OF m FOR VALUES IN ('a')",
        &["m"],
    );
    assert_eq!(findings(&trail), []);
    trail.run("CREATE TABLE m_b PARTITION OF m FOR VALUES IN ('b')");
    assert_eq!(
        codes(&trail),
        BTreeSet::from(["partition_uncovered".to_owned()])
    );
    mend(&trail, "partition_uncovered");
    assert_eq!(findings(&trail), []);
    for (drift, code) in [
        (
            "ALTER TABLE m_a DISABLE TRIGGER \"00_threadline_update\"",
            "trigger_disabled",
        ),
        (
            "DROP TRIGGER \"00_threadline_truncate\" ON m",
            "trigger_missing",
        ),
        ("ALTER TABLE m DETACH PARTITION m_b", "trigger_stray"),
    ] {
        trail.run(drift);
        assert_eq!(codes(&trail), BTreeSet::from([code.to_owned()]), "{drift}");
        mend(&trail, code);
        assert_eq!(findings(&trail), [], "{drift}");
    }
    let report = ask(&trail, &Coverage::new());
    let status = |name: &str| {
        report
            .tables
            .iter()
            .find(|table| table.table.name() == name)
            .map(|table| table.status)
    };
    assert_eq!(
        status("m_b"),
        Some(CoverageStatus::NeedsCapture),
        "detached"
    );
    assert_eq!(status("m_a"), None, "a partition is part of its root");
    let unknown = trail.refused("SELECT threadline.refresh_capture('public', 'n')");
    assert!(unknown.contains("has no capture policy"), "{unknown}");
}

#[test]
fn a_table_replaced_by_a_partitioned_one_is_captured_row_by_row_after_a_refresh() {
    let trail = table();
    trail.run(
        "ALTER TABLE t RENAME TO t_old;
         CREATE TABLE t (id int, v int, kind text, PRIMARY KEY (id)) PARTITION BY LIST (id);
         ALTER TABLE t ATTACH PARTITION t_old FOR VALUES IN (1);
         CREATE TABLE t_2 PARTITION OF t FOR VALUES IN (2)",
    );
    let found = codes(&trail);
    assert!(found.contains("trigger_missing"), "{found:?}");
    assert!(found.contains("trigger_level"), "{found:?}");
    trail.run(
        "DROP TRIGGER \"00_threadline_insert\" ON t_old; DROP TRIGGER \"00_threadline_delete\" ON t_old;
         DROP TRIGGER \"00_threadline_update\" ON t_old",
    );
    mend(&trail, "trigger_missing");
    assert_eq!(findings(&trail), []);
    let before = trail.count();
    trail.run("INSERT INTO t VALUES (2, 2, 'b'); UPDATE t SET v = 9; DELETE FROM t WHERE id = 2");
    assert_eq!(trail.count() - before, 4);
}

#[test]
fn rows_in_the_default_partition_find_their_months() {
    let trail = table();
    trail.run(
        "DO $$ DECLARE name text; BEGIN
           FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'threadline'::regnamespace
             AND relispartition AND relkind = 'r' AND relname ~ '_\\d{4}_\\d{2}$'
           LOOP EXECUTE format('DROP TABLE threadline.%I', name); END LOOP; END $$;
         INSERT INTO t VALUES (2, 2, 'b'); UPDATE t SET v = 3",
    );
    let recorded = trail.changes();
    assert!(codes(&trail).contains("default_partition_used"));
    // A month that has rows in the default partition is left to what moves them.
    trail.run("SELECT threadline.create_partitions(now(), 0)");
    assert!(codes(&trail).contains("default_partition_used"));
    mend_first(&trail, "default_partition_used");
    assert!(!codes(&trail).contains("default_partition_used"));
    assert_eq!(trail.changes(), recorded);
    assert_eq!(findings(&trail), []);
}

/// Runs the first remedy of a code: where several findings have the same one, once is enough.
fn mend_first(trail: &Trail, code: &str) {
    let found = findings(trail);
    let finding = found.iter().find(|finding| finding.code.as_str() == code);
    match &finding.expect("the finding").remedy {
        Remedy::Sql { sql } => trail.run(sql),
        other => panic!("{code}: {other:?}"),
    }
}

#[test]
fn a_suspension_is_seen_while_it_lasts() {
    let trail = table();
    let mut suspending = PgConnection::establish(&trail.url()).unwrap();
    suspending
        .batch_execute(
            "BEGIN; SELECT threadline.suspend_capture('{t}', 'backfill'); INSERT INTO t VALUES (7, 7)",
        )
        .unwrap();
    assert_eq!(
        codes(&trail),
        BTreeSet::from(["capture_suspended".to_owned()])
    );
    mend(&trail, "capture_suspended");
    let gone = (0..200).any(|_| {
        std::thread::yield_now();
        codes(&trail).is_empty()
    });
    assert!(gone, "{:?}", codes(&trail));
}

#[test]
fn odd_names_are_named_and_mended_like_any_other() {
    let long = "ü".repeat(31) + "x";
    let names = [r#"odd ""Name""'s"#.to_owned(), "Select".to_owned(), long];
    let trail = empty_trail();
    trail.run("CREATE SCHEMA \"Odd Schema\"");
    for name in &names {
        trail.run(&format!(
            "CREATE TABLE \"Odd Schema\".\"{name}\" (\"Id\" int PRIMARY KEY, \"a b\" text)"
        ));
        trail.capture(&trail.introspect(&format!("\"Odd Schema\".\"{name}\"")));
    }
    assert_eq!(findings(&trail), []);
    for name in &names {
        let table = format!("\"Odd Schema\".\"{name}\"");
        for (drift, code) in [
            (
                format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
                "trigger_disabled",
            ),
            (
                format!("DROP TRIGGER \"00_threadline_insert\" ON {table}"),
                "trigger_missing",
            ),
            (
                format!("CREATE TABLE c () INHERITS ({table})"),
                "child_uncovered",
            ),
        ] {
            trail.run(&drift);
            let found = findings(&trail);
            let found_one = found.iter().find(|finding| finding.code.as_str() == code);
            let found_one = found_one.unwrap_or_else(|| panic!("{drift}: {found:?}"));
            assert_eq!(found_one.table.as_ref().unwrap().quoted(), table);
            mend(&trail, code);
            assert_eq!(findings(&trail), [], "{drift}");
        }
        trail.run("DROP TABLE c");
    }
    let report = ask(&trail, &Coverage::new().schema("Odd Schema"));
    assert_eq!(report.summary.captured, 3);
    assert_eq!(
        ask(&trail, &Coverage::new().schema("public")).tables.len(),
        0
    );
}

#[test]
fn a_schema_narrows_tables_and_findings_but_not_the_trail_itself() {
    let trail = captured(
        "CREATE SCHEMA billing; CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE billing.t (id int PRIMARY KEY)",
        &["t", "billing.t"],
    );
    trail.run(
        "ALTER TABLE t DISABLE TRIGGER ALL; ALTER TABLE billing.t ADD COLUMN v int;
         GRANT DELETE ON threadline.audit_actions TO PUBLIC",
    );
    let report = ask(&trail, &Coverage::new().schema("billing"));
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| finding.code.as_str())
        .collect();
    assert_eq!(found, ["column_unclassified", "trail_writable"]);
    assert_eq!(report.tables.len(), 1);
}

#[test]
fn expected_gaps_that_are_not_so_are_named() {
    let trail = table();
    let gap = |name| Coverage::new().expecting(ExpectedGap::new(name, "why"));
    let report = ask(&trail, &gap("t").unwrap());
    assert_eq!(report.findings[0].code, FindingCode::GapUnneeded);
    assert_eq!(report.tables[0].status, CoverageStatus::Captured);
    let report = ask(&trail, &gap("nothing").unwrap());
    assert_eq!(report.findings[0].code, FindingCode::GapUnknown);
    assert!(gap("a.b.c").is_err());
}

#[test]
fn every_code_is_known_to_rust_and_every_known_code_is_found_in_sql_or_rust() {
    let sql = include_str!("../../threadline-core/sql/install/17_capture_findings.sql").to_owned()
        + include_str!("../../threadline-core/sql/install/18_trail_findings.sql");
    let in_rust = [
        "install_outdated",
        "policy_changed",
        "gap_unknown",
        "gap_unneeded",
    ];
    for code in FindingCode::ALL {
        let code = code.as_str();
        assert!(
            in_rust.contains(&code) || sql.contains(&format!("'{code}'")),
            "{code}"
        );
    }
}

#[test]
fn a_hundred_tables_are_looked_at_quickly() {
    let trail = empty_trail();
    trail.run(
        "DO $$ BEGIN FOR n IN 1..100 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v int)', n); END LOOP; END $$",
    );
    let migration: String = (1..=100)
        .map(|n| {
            let table = trail.introspect("t1");
            let renamed = serde_json::to_string(&table)
                .unwrap()
                .replace("\"t1\"", &format!("\"t{n}\""));
            let table: threadline::table::AuditedTable = serde_json::from_str(&renamed).unwrap();
            threadline::capture::CaptureSql::new(&table).enrol()
        })
        .collect();
    trail.run(&migration);
    let begun = std::time::Instant::now();
    assert_eq!(findings(&trail), []);
    let elapsed = begun.elapsed();
    println!("100 tables: {elapsed:?}");
    assert!(elapsed < std::time::Duration::from_secs(20), "{elapsed:?}");
}

#[test]
fn a_server_of_another_database_is_no_concern() {
    // Defaults of other databases say nothing about this one.
    let trail = table();
    let other = crate::harness::cluster().create_database().unwrap();
    trail.run(&format!(
        "DO $$ BEGIN EXECUTE 'ALTER DATABASE \"{}\" SET session_replication_role = replica'; END $$",
        other.name()
    ));
    assert_eq!(findings(&trail), []);
    assert!(Cluster::existing(&trail.url()).is_ok());
}

#[test]
fn a_sequence_that_is_behind_the_changes_is_named_and_mended() {
    let trail = table();
    trail.run("INSERT INTO t VALUES (11, 1), (12, 1)");
    // As after logical replication, which brings rows and no sequences.
    trail.run("ALTER SEQUENCE threadline.audit_changes_id_seq RESTART");
    let reader = trail.ask("SELECT 'reader_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{reader}\"; GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO \"{reader}\";
         GRANT EXECUTE ON FUNCTION threadline.coverage_findings TO \"{reader}\""
    ));
    let told = trail.ask(&format!(
        "SET ROLE \"{reader}\"; SELECT string_agg(code, ' ') FROM threadline.coverage_findings() WHERE severity = 'error'"
    ));
    assert_eq!(told, "change_ids_behind");
    trail.run(&format!(
        "DROP OWNED BY \"{reader}\"; DROP ROLE \"{reader}\""
    ));
    assert_eq!(
        codes(&trail),
        BTreeSet::from(["change_ids_behind".to_owned()])
    );
    mend(&trail, "change_ids_behind");
    trail.run("INSERT INTO t VALUES (13, 1)");
    assert_eq!(codes(&trail), BTreeSet::new());
    let ids = trail.ask("SELECT count(DISTINCT id) = count(*) AND max(id) = (SELECT id FROM threadline.audit_changes WHERE row_key = '13') FROM threadline.audit_changes");
    assert_eq!(ids, "t");
}
