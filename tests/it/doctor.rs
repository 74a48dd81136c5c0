//! The checks of the doctor: results, hints, and checks with an unknown result.

use diesel_async::SimpleAsyncConnection;
use threadline::doctor::{CheckStatus, Doctor, DoctorReport};

use crate::harness::{Trail, captured, run_async_at};

fn trail() -> Trail {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    trail
}

fn status(report: &DoctorReport, id: &str) -> CheckStatus {
    report
        .check(id)
        .unwrap_or_else(|| panic!("no check {id}"))
        .status
}

#[test]
fn a_healthy_database_passes_all_checks_and_the_pooler_is_unknown() {
    let trail = trail();
    let report = trail.run_async(async |conn| threadline::doctor(conn, &Doctor::new()).await);
    assert!(report.is_healthy(), "{report:?}");
    for id in [
        "clock",
        "installation",
        "server_version",
        "long_transactions",
        "prepared_transactions",
        "trail_size",
        "partitions_ahead",
        "indexes",
        "vacuum",
    ] {
        assert_eq!(status(&report, id), CheckStatus::Ok, "{report:?}");
    }
    assert_eq!(status(&report, "pooler"), CheckStatus::Unknown);
    assert_eq!(
        report.check("trail_size").unwrap().details.len(),
        5,
        "a default partition, this month and three more"
    );
}

#[test]
fn problems_of_the_trail_are_reported_with_hints() {
    let trail = trail();
    trail.run(
        "DO $$ DECLARE name text; BEGIN
           FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'threadline'::regnamespace
             AND relkind = 'r' AND relname ~ '_\\d{4}_\\d{2}$'
           LOOP EXECUTE format('DROP TABLE threadline.%I', name); END LOOP; END $$;
         UPDATE pg_index SET indisvalid = false
         WHERE indexrelid = 'threadline.audit_removals_pkey'::regclass;
         CREATE OR REPLACE FUNCTION threadline.schema_version() RETURNS integer LANGUAGE sql RETURN 0",
    );
    let report = trail.run_async(async |conn| {
        conn.batch_execute("SET session_replication_role = replica; SET synchronous_commit = off")
            .await
            .unwrap();
        threadline::doctor(conn, &Doctor::new()).await
    });
    for (id, expected, hint) in [
        ("partitions_ahead", CheckStatus::Fail, "maintain()"),
        ("indexes", CheckStatus::Warn, "REINDEX INDEX CONCURRENTLY"),
        ("installation", CheckStatus::Warn, "install"),
        (
            "settings",
            CheckStatus::Fail,
            "RESET session_replication_role",
        ),
        ("settings", CheckStatus::Fail, "synchronous_commit"),
    ] {
        let check = report.check(id).unwrap();
        assert_eq!(check.status, expected, "{check:?}");
        assert!(check.hint.as_ref().unwrap().contains(hint), "{check:?}");
    }
    assert!(!report.is_healthy());
}

#[test]
fn a_role_without_rights_gets_a_report_that_says_so() {
    let trail = trail();
    let role = trail.query_text("SELECT 'visitor_' || current_database()");
    trail.run(&format!("CREATE ROLE \"{role}\" LOGIN"));
    let report = run_async_at(&trail.url_as(&role), async |conn| {
        threadline::doctor(conn, &Doctor::new()).await
    });
    trail.run(&format!("DROP ROLE \"{role}\""));
    let connected = report.check("connected_role").unwrap();
    assert_eq!(connected.status, CheckStatus::Ok);
    assert!(
        connected
            .text
            .contains("may neither read nor change the trail"),
        "{connected:?}"
    );
    assert_eq!(status(&report, "installation"), CheckStatus::Ok);
    assert_eq!(status(&report, "trail_size"), CheckStatus::Ok);
}
