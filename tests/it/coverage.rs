//! Coverage reports what capture misses, and its remedies repair it.

mod drift;
mod environment;
mod rights;

use std::collections::BTreeSet;

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use threadline::coverage::{
    Coverage, CoverageReport, CoverageStatus, ExpectedGap, Finding, FindingCode, Remedy,
};
use threadline_testdb::Cluster;

use crate::harness::{Trail, captured, empty_trail};

threadline::expected_gap!("knowingly_not", "scratch space of the importer");

fn coverage_report(trail: &Trail, query: &Coverage) -> CoverageReport {
    trail
        .run_async(async |conn| threadline::coverage(conn, query).await)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The findings of all schemas, without the one that the tests write as a superuser.
fn findings(trail: &Trail) -> Vec<Finding> {
    let mut found = coverage_report(trail, &Coverage::new()).findings;
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
    let report = coverage_report(&trail, &Coverage::registered().unwrap());
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
            "public.__diesel_schema_migrations expected gap Diesel's record of applied migrations",
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
    // As in `finding_codes`, without the privilege that belongs to the whole server.
    let own_findings = |report: CoverageReport| {
        let mut findings = report.findings;
        findings.retain(|finding| finding.code != FindingCode::ReplicationRoleSettable);
        findings
    };
    let expected = own_findings(coverage_report(&trail, &Coverage::new()));
    assert!(expected.len() > 2, "{expected:?}");
    for settings in [
        "SET TimeZone = 'Europe/Berlin'; SET DateStyle = 'German, DMY'",
        "SET IntervalStyle = 'sql_standard'; SET bytea_output = 'escape'; SET extra_float_digits = 0",
        "SET search_path = evil, public, pg_catalog; SET quote_all_identifiers = off",
        "SET lc_messages = 'C'; SET standard_conforming_strings = on; SET search_path = ''",
    ] {
        trail.run_async(async |conn| {
            conn.batch_execute(settings).await.unwrap();
            let before = trail_setting(conn).await;
            let found = threadline::coverage(conn, &Coverage::new()).await.unwrap();
            assert_eq!(own_findings(found), expected, "{settings}");
            assert_eq!(trail_setting(conn).await, before, "{settings}");
            // The same inside a transaction of the caller.
            conn.begin_test_transaction().await.unwrap();
            let found = threadline::coverage(conn, &Coverage::new()).await.unwrap();
            assert_eq!(own_findings(found), expected, "{settings}");
            assert_eq!(trail_setting(conn).await, before, "{settings}");
        });
    }
}

async fn trail_setting(conn: &mut AsyncPgConnection) -> String {
    let settings = "pg_catalog.concat(pg_catalog.current_setting('search_path'), '; ', pg_catalog.current_setting('jit'))";
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(settings))
        .get_result(conn)
        .await
        .unwrap()
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
    let report = coverage_report(&trail, &Coverage::new().schema("billing"));
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
    let report = coverage_report(&trail, &gap("t").unwrap());
    assert_eq!(report.findings[0].code, FindingCode::GapUnneeded);
    assert_eq!(report.tables[0].status, CoverageStatus::Captured);
    let report = coverage_report(&trail, &gap("nothing").unwrap());
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
            threadline::install::CaptureSql::new(&table).enable()
        })
        .collect();
    trail.run(&format!("BEGIN; {migration} COMMIT"));
    let begun = std::time::Instant::now();
    assert_eq!(findings(&trail), []);
    println!("200 tables: {:?}", begun.elapsed());
    let statements = statements(&trail, async |conn| {
        threadline::coverage(conn, &Coverage::new()).await.unwrap();
        threadline::deployed_policies(conn).await.unwrap();
    });
    assert!(statements < 35, "{statements}");
}

/// The number of statements that `work` sends on its connection.
fn statements(trail: &Trail, work: impl AsyncFnOnce(&mut AsyncPgConnection)) -> usize {
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
    trail.run_async(async |conn| {
        conn.set_instrumentation(Counter(Arc::clone(&count)));
        work(conn).await;
    });
    AtomicUsize::load(&count, Ordering::Relaxed)
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
    let ids = trail.query_text("SELECT count(DISTINCT id) = count(*) AND max(id) = (SELECT id FROM threadline.audit_changes WHERE row_key = '13') FROM threadline.audit_changes");
    assert_eq!(ids, "t");
}
