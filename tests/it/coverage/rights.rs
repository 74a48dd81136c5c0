//! Roles that could change the trail, and rights that coverage needs.

use std::collections::BTreeSet;

use threadline::coverage::{Coverage, CoverageReport, FindingCode, Severity};
use threadline::install::CaptureMigration;

use super::{apply_remedies, codes, coverage_report, table};
use crate::harness::{Trail, empty_trail, run_async_at};

/// Roles belong to the whole server, so each test creates its own and drops them.
struct Roles<'a> {
    trail: &'a Trail,
    names: Vec<String>,
}

impl<'a> Roles<'a> {
    fn new(trail: &'a Trail, names: &[&str]) -> Self {
        let database = trail.query_text("SELECT current_database()");
        let names: Vec<_> = names
            .iter()
            .map(|name| format!("{name}_{database}"))
            .collect();
        for name in &names {
            trail.run(&format!("CREATE ROLE \"{name}\" LOGIN"));
        }
        Self { trail, names }
    }

    fn name(&self, at: usize) -> &str {
        &self.names[at]
    }
}

impl Drop for Roles<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = self.trail.run_as(
                "postgres",
                &format!("REASSIGN OWNED BY \"{name}\" TO postgres; DROP OWNED BY \"{name}\" CASCADE; DROP ROLE \"{name}\""),
            );
        }
    }
}

#[test]
fn roles_that_could_change_the_trail_are_reported() {
    let trail = table();
    let roles = Roles::new(&trail, &["owner", "app"]);
    let (owner, app) = (roles.name(0), roles.name(1));
    trail.run(&format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON t TO \"{app}\"; GRANT \"{owner}\" TO \"{app}\""
    ));
    // A separate role owns the whole trail.
    trail.run(&format!("ALTER SCHEMA threadline OWNER TO \"{owner}\""));
    let found = codes(&trail);
    assert!(
        found.contains("function_owner") && found.contains("trail_owner_mixed"),
        "{found:?}"
    );
    apply_remedies(&trail, "function_owner");
    apply_remedies(&trail, "trail_owner_mixed");
    assert_eq!(
        codes(&trail),
        BTreeSet::from(["trail_owner_member".to_owned()])
    );

    // The application role is a member of the owner.
    trail.run_as(app, "UPDATE t SET v = 2").unwrap();
    assert!(codes(&trail).contains("writer_may_own_trail"));
    apply_remedies(&trail, "writer_may_own_trail");
    assert_eq!(codes(&trail), BTreeSet::new());

    // With `application_role` it is reported before its first write.
    let reported = coverage_report(&trail, &Coverage::new().application_role(owner));
    let reported: BTreeSet<_> = reported
        .findings
        .iter()
        .map(|finding| finding.code.as_str())
        .collect();
    assert!(reported.contains("writer_is_trail_owner"), "{reported:?}");

    trail.run(&format!("ALTER TABLE t OWNER TO \"{app}\""));
    assert!(codes(&trail).contains("writer_owns_table"));
    trail.run(&format!("ALTER TABLE t OWNER TO \"{owner}\""));
    assert!(codes(&trail).contains("trail_owned_by_writer"));
    trail.run(&format!(
        "ALTER TABLE t OWNER TO postgres; GRANT SET ON PARAMETER session_replication_role TO \"{app}\";
         GRANT EXECUTE ON FUNCTION threadline.suspend_capture TO \"{app}\""
    ));
    let found = super::all_codes(&trail);
    assert!(found.contains("replication_role_settable"), "{found:?}");
    assert!(found.contains("suspension_granted"), "{found:?}");
    apply_remedies(&trail, "replication_role_settable");
    apply_remedies(&trail, "suspension_granted");
    assert_eq!(codes(&trail), BTreeSet::new());
}

#[test]
fn a_role_without_rights_gets_findings_that_name_the_missing_grants() {
    let trail = table();
    let roles = Roles::new(&trail, &["reader"]);
    let reader = roles.name(0);
    let read_report = || {
        run_async_at(&trail.url_as(reader), async |conn| {
            threadline::coverage(conn, &Coverage::new()).await.unwrap()
        })
    };
    let unreadable = |report: &CoverageReport| {
        let mut found = report.findings.iter();
        let found = found.find(|finding| finding.code == FindingCode::TrailUnreadable);
        found.map(|finding| (finding.explanation.clone(), finding.remedy.to_string()))
    };
    let granted = |remedy: &str| remedy.replace("CURRENT_USER", &format!("\"{reader}\""));
    // Findings about triggers need only the catalog.
    trail.run("ALTER TABLE t DISABLE TRIGGER \"00_threadline_capture\"");
    let report = read_report();
    let mut found = report.findings.iter();
    assert!(found.any(|finding| finding.code == FindingCode::TriggerDisabled));
    let (explanation, remedy) = unreadable(&report).unwrap();
    assert!(
        explanation.contains("audit_changes, audit_transactions"),
        "{explanation}"
    );
    assert!(explanation.contains("suspensions"), "{explanation}");
    trail.run("ALTER TABLE t ENABLE TRIGGER \"00_threadline_capture\"");
    trail.run(&granted(&remedy));
    let report = read_report();
    assert_eq!(report.summary.captured, 1);
    let (explanation, remedy) = unreadable(&report).unwrap();
    assert!(
        explanation.contains("may not read audit_changes_id_seq, so these"),
        "{explanation}"
    );
    trail.run(&granted(&remedy));
    let report = read_report();
    assert_eq!(unreadable(&report), None);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);

    // A role without USAGE on the schema of the trail gets the finding as well.
    trail.run("REVOKE USAGE ON SCHEMA threadline FROM PUBLIC");
    assert!(unreadable(&read_report()).is_some());
    trail.run("GRANT USAGE ON SCHEMA threadline TO PUBLIC");

    let nothing = crate::harness::cluster().create_database().unwrap();
    let error = run_async_at(&nothing.url(), async |conn| {
        threadline::coverage(conn, &Coverage::new())
            .await
            .unwrap_err()
    });
    assert!(
        error
            .to_string()
            .contains("there is no trail in this database"),
        "{error}"
    );
    let error = trail
        .run_async(async |conn| {
            threadline::coverage(conn, &Coverage::new().schema("nowhere")).await
        })
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no schema `nowhere` in this database"
    );
}

/// Capture writes with the rights of the trail's owner. If the owner is not a superuser and revokes
/// them from itself, every write to a captured table fails.
#[test]
fn a_trail_owner_that_lacks_a_right_is_reported_and_repaired() {
    for drift in [
        "REVOKE INSERT ON threadline.audit_changes FROM",
        "REVOKE ALL ON threadline.audit_transactions FROM",
        "REVOKE ALL ON SEQUENCE threadline.audit_changes_id_seq FROM",
        "REVOKE EXECUTE ON FUNCTION threadline.record_transaction FROM",
        "REVOKE USAGE ON SCHEMA threadline FROM PUBLIC,",
    ] {
        let trail = empty_trail();
        let roles = Roles::new(&trail, &["tow"]);
        let owner = roles.name(0);
        install_owned_by(&trail, owner);
        assert_eq!(errors(&trail), BTreeSet::new(), "{drift}");
        trail.run(&format!("{drift} \"{owner}\""));
        let found = errors(&trail);
        assert_eq!(
            found,
            BTreeSet::from(["trail_owner_lacks".to_owned()]),
            "{drift}"
        );
        // `record_transaction` is called when the context changes within a transaction.
        let write = r#"INSERT INTO t VALUES (1);
            SELECT set_config('threadline.actor_ref', '{"type": "user", "id": "1"}', true);
            UPDATE t SET id = 2"#;
        assert!(trail.run_as(owner, write).is_err(), "{drift}");
        apply_remedies(&trail, "trail_owner_lacks");
        assert_eq!(errors(&trail), BTreeSet::new(), "{drift}");
        trail.run_as(owner, "INSERT INTO t VALUES (1)").unwrap();
    }
    let trail = empty_trail();
    let roles = Roles::new(&trail, &["tow"]);
    install_owned_by(&trail, roles.name(0));
    trail.run(
        "ALTER TABLE threadline.audit_changes ENABLE ROW LEVEL SECURITY;
         ALTER TABLE threadline.audit_changes FORCE ROW LEVEL SECURITY",
    );
    assert_eq!(
        errors(&trail),
        BTreeSet::from(["trail_row_security".to_owned()])
    );
    apply_remedies(&trail, "trail_row_security");
    assert_eq!(errors(&trail), BTreeSet::new());
    trail
        .run_as(roles.name(0), "INSERT INTO t VALUES (1)")
        .unwrap();
}

/// Installs a trail and a captured table that both belong to `owner`.
fn install_owned_by(trail: &Trail, owner: &str) {
    trail.run(&format!(
        "DROP SCHEMA threadline CASCADE; GRANT CREATE ON DATABASE \"{}\" TO \"{owner}\";
         CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO \"{owner}\"",
        trail.query_text("SELECT current_database()")
    ));
    trail.run_as(owner, &threadline::install::up_sql()).unwrap();
    trail
        .run_as(
            owner,
            CaptureMigration::new([&trail.introspect("t")], |_| None).up(),
        )
        .unwrap();
}

/// The codes of findings with severity error, without those that follow from one role owning both the
/// table and the trail.
fn errors(trail: &Trail) -> BTreeSet<String> {
    super::findings(trail)
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.code.to_string())
        .filter(|code| !["writer_is_trail_owner", "trail_owned_by_writer"].contains(&code.as_str()))
        .collect()
}

#[test]
fn the_grants_of_a_role_that_purges_are_not_reported() {
    let trail = table();
    let roles = Roles::new(&trail, &["purge"]);
    let role = roles.name(0);
    trail.run(&format!(
        "GRANT INSERT, UPDATE ON threadline.audit_retention_runs TO \"{role}\""
    ));
    let found = codes(&trail);
    assert!(!found.contains("trail_writable"), "{found:?}");
}
