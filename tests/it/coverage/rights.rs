//! Who could change the trail, and who may ask.

use std::collections::BTreeSet;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::blocking;
use threadline::coverage::{Coverage, CoverageReport, FindingCode, Severity};

use super::{ask, codes, mend, table};
use crate::harness::{Trail, empty_trail};
use threadline::capture::CaptureMigration;

/// Roles belong to the whole server, so each test has its own and drops them.
struct Roles<'a> {
    trail: &'a Trail,
    names: Vec<String>,
}

impl<'a> Roles<'a> {
    fn new(trail: &'a Trail, names: &[&str]) -> Self {
        let database = trail.ask("SELECT current_database()");
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
fn who_could_change_the_trail_is_named_by_what_it_may_do() {
    let trail = table();
    let roles = Roles::new(&trail, &["owner", "app"]);
    let (owner, app) = (roles.name(0), roles.name(1));
    trail.run(&format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON t TO \"{app}\"; GRANT \"{owner}\" TO \"{app}\""
    ));
    // The trail as a whole belongs to a role of its own.
    trail.run(&format!("ALTER SCHEMA threadline OWNER TO \"{owner}\""));
    let found = codes(&trail);
    assert!(
        found.contains("function_owner") && found.contains("trail_owner_mixed"),
        "{found:?}"
    );
    mend(&trail, "function_owner");
    mend(&trail, "trail_owner_mixed");
    assert_eq!(
        codes(&trail),
        BTreeSet::from(["trail_owner_member".to_owned()])
    );

    // The application writes as a member of that role.
    trail.run_as(app, "UPDATE t SET v = 2").unwrap();
    assert!(codes(&trail).contains("writer_may_own_trail"));
    mend(&trail, "writer_may_own_trail");
    assert_eq!(codes(&trail), BTreeSet::new());

    // It is named before it has written, where it is known.
    let asked = ask(&trail, &Coverage::new().application_role(owner));
    let asked: BTreeSet<_> = asked
        .findings
        .iter()
        .map(|finding| finding.code.as_str())
        .collect();
    assert!(asked.contains("writer_is_trail_owner"), "{asked:?}");

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
    mend(&trail, "replication_role_settable");
    mend(&trail, "suspension_granted");
    assert_eq!(codes(&trail), BTreeSet::new());
}

#[test]
fn a_role_without_rights_is_told_what_it_lacks() {
    let trail = table();
    let roles = Roles::new(&trail, &["reader"]);
    let reader = roles.name(0);
    let ask = || {
        let mut conn = PgConnection::establish(&trail.url_as(reader)).unwrap();
        blocking::coverage(&mut conn, &Coverage::new()).unwrap()
    };
    let unreadable = |report: &CoverageReport| {
        let mut found = report.findings.iter();
        let found = found.find(|finding| finding.code == FindingCode::TrailUnreadable);
        found.map(|finding| (finding.explanation.clone(), finding.remedy.to_string()))
    };
    let granted = |remedy: &str| remedy.replace("CURRENT_USER", &format!("\"{reader}\""));
    // The catalog alone tells what is captured, and how well.
    trail.run("ALTER TABLE t DISABLE TRIGGER \"00_threadline_capture\"");
    let report = ask();
    let mut found = report.findings.iter();
    assert!(found.any(|finding| finding.code == FindingCode::TriggerDisabled));
    let (told, remedy) = unreadable(&report).unwrap();
    assert!(told.contains("audit_changes, audit_transactions"), "{told}");
    assert!(told.contains("suspensions"), "{told}");
    trail.run("ALTER TABLE t ENABLE TRIGGER \"00_threadline_capture\"");
    trail.run(&granted(&remedy));
    let report = ask();
    assert_eq!(report.summary.captured, 1);
    let (told, remedy) = unreadable(&report).unwrap();
    assert!(
        told.contains("may not read audit_changes_id_seq, so this"),
        "{told}"
    );
    trail.run(&granted(&remedy));
    let report = ask();
    assert_eq!(unreadable(&report), None);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);

    // A role that may not use the schema of the trail gets an answer, too.
    trail.run("REVOKE USAGE ON SCHEMA threadline FROM PUBLIC");
    assert!(unreadable(&ask()).is_some());
    trail.run("GRANT USAGE ON SCHEMA threadline TO PUBLIC");

    let nothing = crate::harness::cluster().create_database().unwrap();
    let mut conn = PgConnection::establish(&nothing.url()).unwrap();
    let error = blocking::coverage(&mut conn, &Coverage::new()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("there is no trail in this database"),
        "{error}"
    );
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let error = blocking::coverage(&mut conn, &Coverage::new().schema("nowhere")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no schema `nowhere` in this database"
    );
}

/// Capture writes with the rights of the trail's owner. One that is no superuser can take them from
/// itself, and then every write of a captured table fails.
#[test]
fn an_owner_that_lacks_a_right_on_the_trail_is_told_before_writes_fail() {
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
        owned_by(&trail, owner);
        assert_eq!(errors(&trail), BTreeSet::new(), "{drift}");
        trail.run(&format!("{drift} \"{owner}\""));
        let found = errors(&trail);
        assert_eq!(
            found,
            BTreeSet::from(["trail_owner_lacks".to_owned()]),
            "{drift}"
        );
        // The function is called where the context changes within a transaction.
        let write = r#"INSERT INTO t VALUES (1);
            SELECT set_config('threadline.actor_ref', '{"type": "user", "id": "1"}', true);
            UPDATE t SET id = 2"#;
        assert!(trail.run_as(owner, write).is_err(), "{drift}");
        mend(&trail, "trail_owner_lacks");
        assert_eq!(errors(&trail), BTreeSet::new(), "{drift}");
        trail.run_as(owner, "INSERT INTO t VALUES (1)").unwrap();
    }
    let trail = empty_trail();
    let roles = Roles::new(&trail, &["tow"]);
    owned_by(&trail, roles.name(0));
    trail.run(
        "ALTER TABLE threadline.audit_changes ENABLE ROW LEVEL SECURITY;
         ALTER TABLE threadline.audit_changes FORCE ROW LEVEL SECURITY",
    );
    assert_eq!(
        errors(&trail),
        BTreeSet::from(["trail_row_security".to_owned()])
    );
    mend(&trail, "trail_row_security");
    assert_eq!(errors(&trail), BTreeSet::new());
    trail
        .run_as(roles.name(0), "INSERT INTO t VALUES (1)")
        .unwrap();
}

/// A trail of a role's own, and a captured table that it may write.
fn owned_by(trail: &Trail, owner: &str) {
    trail.run(&format!(
        "DROP SCHEMA threadline CASCADE; GRANT CREATE ON DATABASE \"{}\" TO \"{owner}\";
         CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO \"{owner}\"",
        trail.ask("SELECT current_database()")
    ));
    trail.run_as(owner, &threadline::install::up_sql()).unwrap();
    trail
        .run_as(
            owner,
            CaptureMigration::new([&trail.introspect("t")], |_| None).up(),
        )
        .unwrap();
}

/// The codes of errors, but for that one role has it all here.
fn errors(trail: &Trail) -> BTreeSet<String> {
    super::findings(trail)
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.code.to_string())
        .filter(|code| !["writer_is_trail_owner", "trail_owned_by_writer"].contains(&code.as_str()))
        .collect()
}
