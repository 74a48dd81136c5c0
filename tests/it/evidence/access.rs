//! Who can write evidence, and the migration that it needs.

use diesel_async::SimpleAsyncConnection;
use threadline::evidence::{
    Attestation, Basis, Check, CheckOptions, EvidenceDocumentQuery, EvidenceError, EvidenceHistory,
    EvidenceSubject, Verdict, evidence_document, history, overview, record_attestation, run_check,
};
use threadline::install::migrations;
use threadline::query::PageSize;

use super::{cards, declared, newest, recorded, run};
use crate::harness::{Trail, cluster, run_async_at};

/// A role that is unique to the database.
fn create_role(trail: &Trail) -> String {
    let role = trail.query_text("SELECT 'worker_' || current_database()");
    trail.run(&format!("CREATE ROLE \"{role}\" LOGIN"));
    role
}

fn drop_role(trail: &Trail, role: &str) {
    trail.run(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

const RECORD: &str = r#"{"subject": "trigger_coverage", "subject_ref": {}, "outcome": "pass",
    "summary_status": "fine", "detail": {}, "basis": "checked", "check_name": "coverage", "check_version": 9,
    "library_version": "9", "recorded_at": "2020-01-01T00:00:00Z", "recorded_by": "auditor", "order_id": 1}"#;

#[test]
fn a_role_without_grants_cannot_record_or_change_evidence() {
    let trail = cards();
    run(&trail, Check::Coverage, &declared(&trail));
    let role = create_role(&trail);
    for statement in [
        "SELECT * FROM threadline.audit_evidence",
        "INSERT INTO threadline.audit_evidence SELECT * FROM threadline.audit_evidence",
        "UPDATE threadline.audit_evidence SET outcome = 'pass'",
        "DELETE FROM threadline.audit_evidence",
        "TRUNCATE threadline.audit_evidence",
        &format!("SELECT threadline.record_check('{RECORD}')"),
        &format!("SELECT threadline.record_evidence('{RECORD}')"),
        &format!("SELECT threadline.insert_evidence('checked', '{RECORD}')"),
    ] {
        let error = trail.run_as(&role, statement).unwrap_err();
        assert!(error.contains("permission denied"), "{statement}: {error}");
    }
    drop_role(&trail, &role);
}

#[test]
fn a_statement_of_the_host_cannot_set_its_basis_time_user_or_check() {
    let trail = cards();
    let role = create_role(&trail);
    trail.run(&format!(
        "GRANT EXECUTE ON FUNCTION threadline.record_evidence(jsonb) TO \"{role}\""
    ));
    trail
        .run_as(
            &role,
            &format!("SELECT threadline.record_evidence('{RECORD}')"),
        )
        .unwrap();
    let stored = newest(&trail);
    assert_eq!(stored.basis, Basis::Attested);
    assert_eq!(stored.recorded_by, role);
    assert!(stored.order_id > 1);
    assert_eq!(
        (
            stored.check_name,
            stored.check_version,
            stored.library_version
        ),
        (None, None, None)
    );
    let age = chrono::Utc::now() - stored.recorded_at;
    assert!(age < chrono::TimeDelta::minutes(5), "{age}");
    for direct in ["insert_evidence('checked', ", "record_check("] {
        let call = format!("SELECT threadline.{direct}'{RECORD}')");
        let error = trail.run_as(&role, &call).unwrap_err();
        assert!(error.contains("permission denied"), "{error}");
    }
    drop_role(&trail, &role);
}

#[test]
fn the_owner_of_the_trail_cannot_change_evidence() {
    let trail = cards();
    run(&trail, Check::Coverage, &declared(&trail));
    for statement in [
        "UPDATE threadline.audit_evidence SET outcome = 'pass'",
        "DELETE FROM threadline.audit_evidence",
        "TRUNCATE threadline.audit_evidence",
    ] {
        let error = trail.expect_error(statement);
        assert!(error.contains("append-only"), "{statement}: {error}");
    }
}

#[test]
fn a_worker_with_select_and_record_check_runs_every_check() {
    let trail = cards();
    let role = create_role(&trail);
    trail.run(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO \"{role}\";
         GRANT SELECT ON SEQUENCE threadline.audit_changes_id_seq TO \"{role}\";
         GRANT EXECUTE ON FUNCTION threadline.record_check(jsonb) TO \"{role}\""
    ));
    let policy = threadline::retention::RetentionPolicy::keep(
        threadline::retention::Keep::days(30).unwrap(),
    );
    let options = declared(&trail)
        .application_role("pg_monitor")
        .retention(policy.enabled().build().unwrap());
    for check in Check::ALL {
        let ran = run_async_at(&trail.url_as(&role), async |conn| {
            run_check(conn, *check, &options).await.unwrap()
        });
        assert!(ran.error.is_none(), "{check}: {:?}", ran.error);
        assert_eq!(
            ran.result.summary_status(),
            "pass",
            "{check}: {:?}",
            ran.result
        );
        assert_eq!(newest(&trail).recorded_by, role);
    }
    drop_role(&trail, &role);
}

#[test]
fn a_statement_of_the_host_is_never_proven_and_does_not_hide_a_failed_check() {
    let trail = cards();
    trail.run("CREATE TABLE uncaptured (id int PRIMARY KEY)");
    recorded(&trail, Check::Coverage, &declared(&trail));
    let statement = Attestation::new("reviewed").subject_ref("check", "coverage");
    let (newest, document) = trail.run_async(async |conn| {
        record_attestation(conn, &EvidenceSubject::TriggerCoverage, &statement)
            .await
            .unwrap();
        // Reading needs no write.
        conn.batch_execute("SET default_transaction_read_only = on")
            .await
            .unwrap();
        let newest = overview(conn, PageSize::default()).await.unwrap();
        let query = EvidenceDocumentQuery::latest().subject(EvidenceSubject::TriggerCoverage);
        (newest, evidence_document(conn, &query).await.unwrap())
    });
    let now = chrono::Utc::now();
    let verdicts: Vec<_> = newest.iter().map(|one| one.assess(now).status).collect();
    assert_eq!(verdicts, [Verdict::InferredPosture, Verdict::Unsupported]);
    let claim = &document.content.claim_assessment;
    assert_eq!(claim.assessment.status, Verdict::Unsupported);
}

#[test]
fn uninstalling_migration_0002_refuses_while_evidence_exists() {
    let trail = cards();
    run(&trail, Check::Coverage, &declared(&trail));
    let down = &migrations()[1].down;
    let error = trail.expect_error(down);
    assert!(error.contains("evidence is recorded"), "{error}");
    trail.run(&format!("SET threadline.discard_trail = 'yes'; {down}"));
}

#[test]
fn without_migration_0002_every_function_names_the_migration() {
    let database = cluster().create_database().unwrap();
    database.execute_script(&migrations()[0].up).unwrap();
    run_async_at(&database.url(), async |conn| {
        let errors = [
            run_check(conn, Check::Coverage, &CheckOptions::new())
                .await
                .unwrap_err(),
            history(conn, &EvidenceHistory::new()).await.unwrap_err(),
            record_attestation(
                conn,
                &EvidenceSubject::RetentionPolicy,
                &Attestation::new("approved"),
            )
            .await
            .unwrap_err(),
            evidence_document(conn, &EvidenceDocumentQuery::latest())
                .await
                .unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(error, EvidenceError::MigrationMissing),
                "{error:?}"
            );
            assert!(error.to_string().contains("threadline_0002"));
        }
    });
}
