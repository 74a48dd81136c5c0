//! Coverage reports what capture misses, and its remedies repair it.

mod drift;
mod rights;

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::coverage::{
    Coverage, CoverageReport, CoverageStatus, Finding, FindingCode, Remedy, Severity,
};
use threadline::expected_gap::ExpectedGap;
use threadline::{blocking, nonblocking};
use threadline_testdb::Cluster;

use crate::harness::{Trail, block_on, captured, empty_trail};

threadline::expected_gap!("knowingly_not", "scratch space of the importer");

fn ask(trail: &Trail, question: &Coverage) -> CoverageReport {
    block_on(async { nonblocking::coverage(&mut trail.connect().await, question).await })
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The findings of all schemas, without the one that the tests write as a superuser.
fn findings(trail: &Trail) -> Vec<Finding> {
    let mut found = ask(trail, &Coverage::new()).findings;
    found.retain(|finding| finding.code != FindingCode::WriterIsSuperuser);
    found
}

/// The codes of all findings, without `replication_role_settable`: the privilege belongs to the whole
/// server, and another test grants it at the same time.
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

/// Runs the SQL remedies of all findings with a code.
fn apply_remedies(trail: &Trail, code: &str) {
    for finding in findings(trail) {
        if finding.code.as_str() == code {
            match &finding.remedy {
                Remedy::Sql { sql } => trail.run(sql),
                other => panic!("{code}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_correctly_captured_table_has_no_findings() {
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

#[test]
fn session_settings_do_not_change_the_findings() {
    let trail = table();
    trail.run(
        "CREATE TABLE d (id int PRIMARY KEY, at timestamptz, span interval, x float8, b bytea, r tstzrange);
         CREATE SCHEMA evil; CREATE FUNCTION evil.format(text, name) RETURNS text LANGUAGE sql RETURN 'shadowed'",
    );
    trail.capture(&trail.introspect("d"));
    trail.run("ALTER TABLE t DISABLE TRIGGER ALL; ALTER TABLE d ADD COLUMN w int");
    let expected = ask(&trail, &Coverage::new()).findings;
    assert!(expected.len() > 2, "{expected:?}");
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    for settings in [
        "SET TimeZone = 'Europe/Berlin'; SET DateStyle = 'German, DMY'",
        "SET IntervalStyle = 'sql_standard'; SET bytea_output = 'escape'; SET extra_float_digits = 0",
        "SET search_path = evil, public, pg_catalog; SET quote_all_identifiers = off",
        "SET lc_messages = 'C'; SET standard_conforming_strings = on; SET search_path = ''",
    ] {
        conn.batch_execute(settings).unwrap();
        let before = trail_setting(&mut conn);
        let found = blocking::coverage(&mut conn, &Coverage::new())
            .unwrap()
            .findings;
        assert_eq!(found, expected, "{settings}");
        assert_eq!(trail_setting(&mut conn), before, "{settings}");
        // The same inside a transaction of the caller.
        conn.begin_test_transaction().unwrap();
        let found = blocking::coverage(&mut conn, &Coverage::new())
            .unwrap()
            .findings;
        assert_eq!(found, expected, "{settings}");
        assert_eq!(trail_setting(&mut conn), before, "{settings}");
        conn.batch_execute("ROLLBACK; BEGIN").unwrap();
        conn = PgConnection::establish(&trail.url()).unwrap();
    }
}

fn trail_setting(conn: &mut PgConnection) -> String {
    let settings = "pg_catalog.concat(pg_catalog.current_setting('search_path'), '; ', pg_catalog.current_setting('jit'))";
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(settings))
        .get_result(conn)
        .unwrap()
}

#[test]
fn a_newer_schema_version_is_reported() {
    let trail = table();
    trail.run("CREATE OR REPLACE FUNCTION threadline.schema_version() RETURNS integer LANGUAGE sql RETURN 99");
    let found = findings(&trail);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].code, FindingCode::InstallNewer);
    assert_eq!(found[0].severity, Severity::Warning);
}

#[test]
fn orphan_changes_empty_transactions_and_past_suspensions_are_reported() {
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
    // Changes that retention removed are not reported as missing.
    let trail = table();
    trail.run(
        "SELECT threadline.record_removal('retention', 'two years',
             jsonb_build_object('cutoffs', jsonb_build_object('public.t', now() + interval '1 minute')), 1);
         SET session_replication_role = replica; DELETE FROM threadline.audit_changes",
    );
    assert_eq!(codes(&trail), BTreeSet::new());
}

#[test]
fn uncovered_and_detached_partitions_are_reported_and_repaired() {
    // Hazard 10: the row triggers of a partition.
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
    apply_remedies(&trail, "partition_uncovered");
    assert_eq!(findings(&trail), []);
    for (drift, code) in [
        (
            "ALTER TABLE m_a DISABLE TRIGGER \"00_threadline_capture\"",
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
        apply_remedies(&trail, code);
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
    assert_eq!(status("m_a"), None, "a partition is covered by its root");
}

#[test]
fn a_table_replaced_by_a_partitioned_one_is_captured_after_the_remedies() {
    let trail = table();
    trail.run(
        "ALTER TABLE t RENAME TO t_old;
         CREATE TABLE t (id int, v int, kind text, PRIMARY KEY (id)) PARTITION BY LIST (id);
         ALTER TABLE t ATTACH PARTITION t_old FOR VALUES IN (1);
         CREATE TABLE t_2 PARTITION OF t FOR VALUES IN (2)",
    );
    let found = codes(&trail);
    assert!(found.contains("trigger_missing"), "{found:?}");
    trail.run("DROP TRIGGER \"00_threadline_capture\" ON t_old");
    apply_first_remedy(&trail, "trigger_missing");
    assert_eq!(findings(&trail), []);
    let before = trail.count();
    trail.run("INSERT INTO t VALUES (2, 2, 'b'); UPDATE t SET v = 9; DELETE FROM t WHERE id = 2");
    assert_eq!(trail.count() - before, 4);
}

#[test]
fn the_remedy_moves_rows_from_the_default_partition_to_their_months() {
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
    // The remedy does not wait for locks. If it reports a locked partition, run it again.
    let repaired = (0..50).any(|_| {
        apply_first_remedy(&trail, "default_partition_used");
        !codes(&trail).contains("default_partition_used")
    });
    assert!(repaired, "{:?}", findings(&trail));
    assert_eq!(trail.changes(), recorded);
    assert_eq!(findings(&trail), []);
}

/// Runs the remedy of the first finding with a code. Several findings can share one remedy.
fn apply_first_remedy(trail: &Trail, code: &str) {
    let found = findings(trail);
    let finding = found.iter().find(|finding| finding.code.as_str() == code);
    match &finding.expect("the finding").remedy {
        Remedy::Sql { sql } => trail.run(sql),
        other => panic!("{code}: {other:?}"),
    }
}

#[test]
fn a_running_suspension_is_reported() {
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
    apply_remedies(&trail, "capture_suspended");
    let gone = (0..200).any(|_| {
        std::thread::yield_now();
        codes(&trail).is_empty()
    });
    assert!(gone, "{:?}", codes(&trail));
}

#[test]
fn findings_on_names_that_need_quoting_are_reported_and_repaired() {
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
                format!("DROP TRIGGER \"00_threadline_capture\" ON {table}"),
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
            apply_remedies(&trail, code);
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
fn a_schema_filter_applies_to_tables_but_not_to_the_trail() {
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
fn expected_gaps_for_captured_or_unknown_tables_are_reported() {
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
fn the_number_of_statements_does_not_grow_with_the_number_of_tables() {
    let trail = empty_trail();
    trail.run(
        "DO $$ BEGIN FOR n IN 1..200 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v int)', n); END LOOP; END $$",
    );
    let introspected = serde_json::to_string(&trail.introspect("t1")).unwrap();
    let migration: String = (1..=200)
        .map(|n| {
            let renamed = introspected.replace("\"t1\"", &format!("\"t{n}\""));
            let table: threadline::table::AuditedTable = serde_json::from_str(&renamed).unwrap();
            threadline::capture::CaptureSql::new(&table).enable()
        })
        .collect();
    trail.run(&format!("BEGIN; {migration} COMMIT"));
    let begun = std::time::Instant::now();
    assert_eq!(findings(&trail), []);
    println!("200 tables: {:?}", begun.elapsed());
    let statements = statements(&trail, |conn| {
        blocking::coverage(conn, &Coverage::new()).unwrap();
        blocking::deployed_policies(conn).unwrap();
    });
    assert!(statements < 35, "{statements}");
}

/// The number of statements that `work` sends on its connection.
fn statements(trail: &Trail, work: impl FnOnce(&mut PgConnection)) -> usize {
    use diesel::connection::{Instrumentation, InstrumentationEvent};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    struct Counter(Arc<AtomicUsize>);
    impl Instrumentation for Counter {
        fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
            if matches!(event, InstrumentationEvent::StartQuery { .. }) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    conn.set_instrumentation(Counter(Arc::clone(&count)));
    work(&mut conn);
    count.load(Ordering::Relaxed)
}

#[test]
fn settings_of_other_databases_are_not_reported() {
    // Settings of another database do not affect this one.
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
fn a_sequence_behind_the_change_ids_is_reported_and_repaired() {
    let trail = table();
    trail.run("INSERT INTO t VALUES (11, 1), (12, 1)");
    // Logical replication copies rows but not sequences, which leaves this state.
    trail.run("ALTER SEQUENCE threadline.audit_changes_id_seq RESTART");
    assert_eq!(
        codes(&trail),
        BTreeSet::from(["change_ids_behind".to_owned()])
    );
    apply_remedies(&trail, "change_ids_behind");
    trail.run("INSERT INTO t VALUES (13, 1)");
    assert_eq!(codes(&trail), BTreeSet::new());
    let ids = trail.ask("SELECT count(DISTINCT id) = count(*) AND max(id) = (SELECT id FROM threadline.audit_changes WHERE row_key = '13') FROM threadline.audit_changes");
    assert_eq!(ids, "t");
}
