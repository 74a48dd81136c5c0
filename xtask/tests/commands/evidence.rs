//! Evidence: checks that run and are recorded, and what the commands show.

use super::*;

/// A database with a captured table, and a function that runs `evidence`.
fn captured() -> (Database, tempfile::TempDir) {
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    let print = [
        "gen-triggers",
        "--tables",
        "orders",
        "--mask",
        "orders.card",
        "--print",
    ];
    let sql = threadline(folder.path(), Some(&database), &print);
    database.execute_script(&out(&sql)).unwrap();
    database
        .execute_script("INSERT INTO orders VALUES (1, 'open', '4111')")
        .unwrap();
    (database, folder)
}

#[test]
fn evidence_is_recorded_shown_listed_and_printed_as_a_document() {
    let (database, folder) = captured();
    let run = |arguments: &[&str]| {
        let arguments = [&["evidence"], arguments].concat();
        threadline(folder.path(), Some(&database), &arguments)
    };
    let nothing = run(&["show"]);
    assert_eq!(code(&nothing), 1, "{}", err(&nothing));
    assert!(
        out(&nothing).contains("unsupported (no_records)"),
        "{}",
        out(&nothing)
    );

    let passed = run(&["run", "--actor", "admin:rita"]);
    assert_eq!(code(&passed), 0, "{}{}", out(&passed), err(&passed));
    let lines: Vec<_> = out(&passed).lines().map(str::to_owned).collect();
    for check in ["coverage", "policy", "continuity"] {
        let line = lines
            .iter()
            .find(|line| line.trim_start().starts_with(check));
        assert!(line.is_some_and(|line| line.contains("pass")), "{lines:?}");
    }
    let shown = run(&["show"]);
    assert_eq!(code(&shown), 0, "{}", err(&shown));
    assert!(
        out(&shown).contains("verdict: proven (checked_records)"),
        "{}",
        out(&shown)
    );
    let policy = json(&run(&["show", "--subject", "redaction_policy", "--json"]));
    assert_eq!(policy["mode"], "latest");
    assert_eq!(policy["records"][0]["detail"]["sampled_changes"], 1);
    assert_eq!(policy["records"][0]["actor_ref"]["id"], "rita");

    database
        .execute_script("CREATE TABLE uncaptured (id int)")
        .unwrap();
    let failed = run(&["run", "coverage", "--json"]);
    assert_eq!(code(&failed), 1, "{}", err(&failed));
    let failed: serde_json::Value = serde_json::from_str(&out(&failed)).unwrap();
    assert_eq!(failed[0]["outcome"], "fail");
    assert!(failed[0]["order_id"].is_i64());
    assert_eq!(code(&run(&["show"])), 1);

    let first = json(&run(&["history", "--limit", "1", "--json"]));
    assert_eq!(first["entries"][0]["outcome"], "fail");
    let cursor = first["next"].as_str().unwrap();
    let rest = json(&run(&["history", "--after", cursor, "--json"]));
    assert_eq!(rest["entries"].as_array().unwrap().len(), 3);
    let other = run(&["history", "--subject", "role_posture", "--after", cursor]);
    assert_eq!(code(&other), 2);

    let document = run(&["document", "--from", "2026-01-01", "--to", "2099-01-01"]);
    assert_eq!(code(&document), 0, "{}", err(&document));
    let document = json(&document);
    assert_eq!(document["format_version"], 2);
    assert_eq!(document["summary"]["record_count"], 4);
    assert_eq!(document["claim_assessment"]["status"], "unsupported");
    assert_eq!(document["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn wrong_use_of_evidence_exits_with_2_and_names_the_remedy() {
    let (database, folder) = captured();
    for (arguments, message) in [
        (
            &["run", "triggers"][..],
            "is not a check: use coverage, policy",
        ),
        (&["run", "retention"], "needs a policy"),
        (
            &["run", "roles", "--application-role", "no_such_role_here"],
            "there is no role",
        ),
        (&["run", "--due"], "there is no plan of checks"),
        (&["due"], "there is no plan of checks"),
        (
            &["show", "--subject", "triggers"],
            "is not a subject of evidence",
        ),
        (
            &["document", "--from", "2026-02-01", "--to", "2026-01-01"],
            "is empty",
        ),
    ] {
        let arguments = [&["evidence"], arguments].concat();
        let output = threadline(folder.path(), Some(&database), &arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", err(&output));
        assert!(
            err(&output).contains(message),
            "{arguments:?}: {}",
            err(&output)
        );
    }
}

#[test]
fn evidence_without_its_migration_exits_with_3_and_names_it() {
    let database = database();
    let first = &threadline_core::install::migrations()[0];
    database.execute_script(&first.up).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["run", "coverage"][..],
        &["show"],
        &["history"],
        &["document", "--from", "7d", "--to", "now"],
    ] {
        let arguments = [&["evidence"], arguments].concat();
        let output = threadline(folder.path(), Some(&database), &arguments);
        assert_eq!(code(&output), 3, "{arguments:?}: {}", err(&output));
        let message = err(&output);
        assert!(
            message.contains("needs the migration threadline_0002"),
            "{message}"
        );
    }
}

#[test]
fn a_check_whose_connection_is_lost_is_recorded_as_incomplete_on_a_new_connection() {
    let (database, folder) = captured();
    let ask = |sql: &str| database.query_text(sql).unwrap().unwrap_or_default();
    let waiting = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let output = std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            database.execute_script(&format!(
                "LOCK TABLE threadline.audit_changes IN ACCESS EXCLUSIVE MODE;
                 DO $$
                 BEGIN
                     FOR attempt IN 1..600 LOOP
                         PERFORM pg_stat_clear_snapshot();
                         EXIT WHEN ({waiting}) > 0;
                         PERFORM pg_sleep(0.05);
                     END LOOP;
                     PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock';
                 END
                 $$"
            ))
        });
        while ask(
            "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
            AND relation = 'threadline.audit_changes'::regclass",
        ) == "0"
        {
            assert!(!holder.is_finished());
        }
        let output = threadline(
            folder.path(),
            Some(&database),
            &["evidence", "run", "policy"],
        );
        holder.join().unwrap().unwrap();
        output
    });
    assert_eq!(code(&output), 3, "{}{}", out(&output), err(&output));
    assert_eq!(
        ask("SELECT check_name || ' ' || outcome || ' ' || detail FROM threadline.audit_evidence"),
        r#"policy incomplete {"error": "database"}"#
    );
}
