//! What each check finds.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use threadline::evidence::{
    Check, CheckOptions, EvidenceError, Outcome, Verdict, VerdictReason, record_check_result,
    run_check,
};
use threadline::retention::{Keep, PurgeOptions, RetentionPolicy};

use super::{cards, declared, detail, newest, recorded};
use crate::harness::{Trail, captured};

fn keep(days: u32) -> RetentionPolicy {
    let policy = RetentionPolicy::keep(Keep::days(days).unwrap());
    policy.enabled().build().unwrap()
}

#[test]
fn checks_of_a_sound_trail_pass_and_only_those_that_read_records_prove() {
    let trail = cards();
    let role = trail.query_text("SELECT 'app_' || current_database()");
    trail.run(&format!("CREATE ROLE \"{role}\" LOGIN"));
    let options = declared(&trail).application_role(&role).retention(keep(30));
    for check in Check::ALL {
        let evidence = recorded(&trail, *check, &options);
        assert_eq!(
            evidence.outcome,
            Outcome::Pass,
            "{check}: {:?}",
            evidence.detail
        );
        assert_eq!(evidence.subject, check.subject());
        let verdict = evidence.assess(evidence.recorded_at);
        let expected = match check {
            Check::Roles => VerdictReason::CheckedSettings,
            _ => VerdictReason::CheckedRecords,
        };
        assert_eq!(verdict.reason, expected, "{check}");
    }
    let stored =
        trail.query_text("SELECT string_agg(e::text, '') FROM threadline.audit_evidence AS e");
    assert!(!stored.contains("secret"), "{stored}");
    trail.run(&format!("DROP ROLE \"{role}\""));
}

#[test]
fn coverage_fails_for_a_table_that_is_not_captured() {
    let trail = cards();
    trail.run("CREATE TABLE uncaptured (id int PRIMARY KEY)");
    let evidence = recorded(&trail, Check::Coverage, &declared(&trail));
    assert_eq!(evidence.outcome, Outcome::Fail);
    assert_eq!(detail(&evidence)["needs_capture"][0]["name"], "uncaptured");
    let assessed = evidence.assess(evidence.recorded_at);
    assert_eq!(assessed.status, Verdict::Unsupported);
    assert_eq!(assessed.reason, VerdictReason::Failed);
}

/// Inserts a change with this image as the owner of the trail.
fn insert_image(trail: &Trail, image: &str) {
    trail.run(&format!(
        "INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name, data_after)
         SELECT nextval('threadline.audit_changes_id_seq'), now(), transaction_id, 'insert', 'public', 'cards', '{image}'
         FROM threadline.audit_changes LIMIT 1"
    ));
}

#[test]
fn policy_fails_for_stored_images_with_excluded_or_unmasked_values_and_does_not_quote_them() {
    for (image, column) in [
        (
            r#"{"id": 2, "pin": "secret-1234", "number": "[REDACTED]"}"#,
            "pin",
        ),
        (r#"{"id": 2, "number": "secret-4111"}"#, "number"),
    ] {
        let trail = cards();
        insert_image(&trail, image);
        let evidence = recorded(&trail, Check::Policy, &declared(&trail));
        assert_eq!(evidence.outcome, Outcome::Fail, "{image}");
        let found = detail(&evidence);
        assert_eq!(found["sampled_changes"], 2);
        assert_eq!(found["images_differ"][0]["column"], column);
        assert_eq!(found["images_differ"][0]["changes"], 1);
        let stored = trail.query_text("SELECT e::text FROM threadline.audit_evidence AS e");
        assert!(!stored.contains("secret"), "{stored}");
    }
}

#[test]
fn policy_accepts_erased_values_and_images_of_an_earlier_policy() {
    let trail = cards();
    trail.run("SELECT threadline.erase_values('public', 'cards', '1', '{number}', 'request')");
    // Under the new policy, `id` alone is stored in clear.
    let table = trail.introspect("cards");
    insert_image(&trail, r#"{"id": 2, "number": "[REDACTED]"}"#);
    trail.capture(&table.redact(["pin", "number"], [""; 0]).unwrap());
    trail.run("INSERT INTO cards VALUES (3, '1', '2')");
    let evidence = recorded(&trail, Check::Policy, &declared(&trail));
    assert_eq!(evidence.outcome, Outcome::Pass, "{:?}", evidence.detail);
    assert_eq!(detail(&evidence)["sampled_changes"], 1);
}

#[test]
fn policy_fails_if_the_code_declares_another_policy() {
    let trail = cards();
    let declared = vec![trail.introspect("cards")];
    let evidence = recorded(
        &trail,
        Check::Policy,
        &CheckOptions::new().declared(declared),
    );
    assert_eq!(evidence.outcome, Outcome::Fail);
    assert_eq!(detail(&evidence)["policy_differs"][0]["status"], "drift");
}

#[test]
fn a_policy_without_rules_is_a_check_of_settings() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let evidence = recorded(&trail, Check::Policy, &declared(&trail));
    let assessed = evidence.assess(evidence.recorded_at);
    assert_eq!(assessed.reason, VerdictReason::CheckedSettings);
    assert_eq!(assessed.status, Verdict::InferredPosture);
}

#[test]
fn retention_fails_until_expired_records_are_removed() {
    let trail = cards();
    trail.run(
        "INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name)
         SELECT g, now() - interval '10 days', gen_random_uuid(), 'truncate', 'public', 'cards'
         FROM generate_series(1, 3) AS g",
    );
    let options = declared(&trail).retention(keep(5));
    let evidence = recorded(&trail, Check::Retention, &options);
    assert_eq!(evidence.outcome, Outcome::Fail);
    assert_eq!(detail(&evidence)["expired_records"], 3);
    // Records that expired within the interval of purges may wait.
    let patient = options
        .clone()
        .purge_interval(Duration::from_secs(6 * 86_400));
    let evidence = recorded(&trail, Check::Retention, &patient);
    assert_eq!(evidence.outcome, Outcome::Pass);
    trail.run_async(async |conn| {
        threadline::purge(conn, &keep(5), &PurgeOptions::new())
            .await
            .unwrap();
    });
    let evidence = recorded(&trail, Check::Retention, &options);
    assert_eq!(evidence.outcome, Outcome::Pass, "{:?}", evidence.detail);
    assert_eq!(detail(&evidence)["last_run_state"], "completed");
    // A run that removed more than is recorded.
    trail.run(
        "INSERT INTO threadline.audit_retention_runs (state, lease_until, policy, cutoffs, change_count, finished_at)
         VALUES ('completed', now(), '{}', '{}', 7, clock_timestamp())",
    );
    let evidence = recorded(&trail, Check::Retention, &options);
    assert_eq!(evidence.outcome, Outcome::Fail);
    assert_eq!(detail(&evidence)["runs_without_record_of_removal"], 1);
}

#[test]
fn roles_fail_for_privileges_that_a_role_inherits_and_for_the_right_to_record_checks() {
    let trail = cards();
    let role = trail.query_text("SELECT 'app_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; CREATE ROLE \"{role}_group\"; GRANT \"{role}_group\" TO \"{role}\""
    ));
    let options = declared(&trail).application_role(&role);
    let check = || recorded(&trail, Check::Roles, &options);
    assert_eq!(check().outcome, Outcome::Pass);
    for (object, privilege) in [
        ("INSERT ON threadline.audit_changes", "write audit_changes"),
        (
            "EXECUTE ON FUNCTION threadline.record_check(jsonb)",
            "execute record_check",
        ),
        (
            "UPDATE ON SEQUENCE threadline.audit_changes_id_seq",
            "set audit_changes_id_seq",
        ),
        (
            "CREATE ON SCHEMA threadline",
            "create objects in the schema of the trail",
        ),
    ] {
        trail.run(&format!("GRANT {object} TO \"{role}_group\""));
        let evidence = check();
        assert_eq!(evidence.outcome, Outcome::Fail, "{object}");
        let privileges = &detail(&evidence)["privileges"];
        assert_eq!(privileges[0]["may"], privilege, "{privileges}");
        trail.run(&format!("REVOKE {object} FROM \"{role}_group\""));
    }
    // Capture writes as a superuser here.
    let superuser = recorded(&trail, Check::Roles, &declared(&trail));
    assert_eq!(superuser.outcome, Outcome::Fail);
    trail.run(&format!("DROP ROLE \"{role}\", \"{role}_group\""));
}

#[test]
fn continuity_fails_after_a_suspension_and_while_triggers_are_missing() {
    let trail = cards();
    let check = || recorded(&trail, Check::Continuity, &CheckOptions::new());
    assert_eq!(check().outcome, Outcome::Pass);
    trail.run("SELECT threadline.suspend_capture('{cards}', 'secret reason'); DELETE FROM cards");
    let evidence = check();
    assert_eq!(evidence.outcome, Outcome::Fail);
    let gaps = &detail(&evidence)["gaps"];
    assert_eq!(
        (&gaps[0]["kind"], &gaps[0]["table"]["name"]),
        (&"suspended".into(), &"cards".into())
    );
    assert!(!evidence.detail.as_str().contains("secret"));

    let trail = cards();
    trail.run("DROP TRIGGER \"00_threadline_capture\" ON cards");
    let evidence = recorded(&trail, Check::Continuity, &CheckOptions::new());
    assert_eq!(evidence.outcome, Outcome::Fail);
    assert_eq!(detail(&evidence)["without_triggers"][0]["name"], "cards");
}

#[test]
fn a_check_that_does_not_run_to_its_end_is_recorded_as_incomplete() {
    let trail = cards();
    for (check, options, kind) in [
        (Check::Retention, CheckOptions::new(), "no_retention_policy"),
        (
            Check::Roles,
            CheckOptions::new().application_role("nobody_of_this_name"),
            "no_such_role",
        ),
        (
            Check::Coverage,
            CheckOptions::new().application_role("nobody_of_this_name"),
            "no_such_role",
        ),
    ] {
        let evidence = recorded(&trail, check, &options);
        assert_eq!(evidence.outcome, Outcome::Incomplete, "{check}");
        assert_eq!(detail(&evidence)["error"], kind);
        let assessed = evidence.assess(evidence.recorded_at);
        assert_eq!(assessed.reason, VerdictReason::Incomplete);
    }
    // The error of the database is not stored.
    trail.run("ALTER TABLE threadline.audit_retention_runs RENAME TO secret_name");
    let evidence = recorded(
        &trail,
        Check::Retention,
        &CheckOptions::new().retention(keep(5)),
    );
    assert_eq!(evidence.outcome, Outcome::Incomplete);
    assert_eq!(evidence.detail.as_str(), r#"{"error": "database"}"#);
}

#[test]
fn the_result_of_a_check_whose_connection_is_lost_can_be_recorded_on_another() {
    let trail = cards();
    let error = trail.run_async(async |conn| {
        conn.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())")
            .await
            .unwrap_err();
        run_check(conn, Check::Policy, &CheckOptions::new())
            .await
            .unwrap_err()
    });
    let EvidenceError::NotRecorded { check, result, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(check, Check::Policy);
    trail.run_async(async |conn| record_check_result(conn, &result).await.unwrap());
    let evidence = newest(&trail);
    assert_eq!(evidence.outcome, Outcome::Incomplete);
    assert_eq!(evidence.check_name.as_deref(), Some("policy"));
}
