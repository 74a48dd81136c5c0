//! The sealer on a real trail; exports are verified without the database.

mod erasure;
mod faults;
mod proofs;
mod publication;
mod restore;
mod signers;
mod worker;

use std::path::Path;

use diesel_async::AsyncPgConnection;
use tempfile::TempDir;
use threadline_diesel::feed;
use threadline_export::seal::{self, Publication, SealError, Signer, Step};
use threadline_seal::key::SigningKey;
use threadline_seal::verify::{Answer, Finding, Reason, Summary, Verification};

use crate::harness::{Trail, block_on};

const ORIGIN: &str = "example.com/trail";

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[7; 32]).expect("a key")
}

/// A trail with records of all kinds.
fn trail() -> Trail {
    let trail = Trail::with_table(
        "members",
        "id int PRIMARY KEY, email text, total numeric, note jsonb",
    );
    trail.run(
        r#"INSERT INTO members VALUES (1, 'ada@example.com', 1.10, '{"": [1.50, null], "a\"b": "ä🧵"}'), (2, 'bob', 'NaN', NULL);
        UPDATE members SET email = 'eve@example.com' WHERE id = 1;
        DELETE FROM members WHERE id = 2;
        SELECT threadline.record_action(
            '{"id": "01a1fd70-f1c0-7abc-8def-0123456789ab", "name": "member.rename", "reason": "asked", "meta": {"ip": "192.0.2.7"}}',
            '{"type": "user", "id": "42"}', '{"request_id": "r-1"}');
        SELECT threadline.suspend_capture(ARRAY['public.members'], 'import');
        SELECT threadline.record_evidence(
            '{"subject": "capture_coverage", "subject_ref": {}, "outcome": "pass", "summary_status": "ok", "detail": {}}');"#,
    );
    trail.run(
        r#"SELECT set_config('threadline.context', '{"meta": {"ip": "192.0.2.7", "n": 1.0}, "source": "test"}', true);
        INSERT INTO members VALUES (3, 'cid@example.com', 3, '{}');
        TRUNCATE members;"#,
    );
    trail
}

async fn seal_all(conn: &mut AsyncPgConnection) {
    while seal::seal_next(conn).await.expect("a step") != Step::Idle {}
}

/// Seals everything; waits for other transactions of the server, such as those of autovacuum.
async fn seal_everything(conn: &mut AsyncPgConnection) {
    loop {
        seal_all(conn).await;
        let status = seal::status(conn).await.expect("a state").expect("a log");
        if status.sealed_to == status.last_id {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn signer() -> Signer {
    key().into()
}

/// Seals everything, signs and publishes.
async fn publish(conn: &mut AsyncPgConnection, directory: &Path) -> Result<(), SealError> {
    publish_to(conn, &signer(), &Publication::directory(directory)).await
}

async fn publish_to(
    conn: &mut AsyncPgConnection,
    signer: &Signer,
    publication: &Publication,
) -> Result<(), SealError> {
    seal_everything(conn).await;
    seal::run_round(conn, signer, publication).await?;
    Ok(())
}

async fn export(conn: &mut AsyncPgConnection, directory: &Path) -> String {
    let mut lines = Vec::new();
    seal::write_sealed_export(conn, &mut lines)
        .await
        .expect("an export");
    std::fs::write(directory.join("export.ndjson"), &lines).expect("a file");
    String::from_utf8(lines).expect("UTF-8")
}

fn verify(directory: &Path) -> Answer {
    Verification::new(vec![key().verifier_key().clone()], directory)
        .export(directory.join("export.ndjson"))
        .run()
        .expect("readable files")
}

fn verified(directory: &Path) -> Summary {
    match verify(directory) {
        Answer::Verified(summary) => summary,
        answer => panic!("{answer:?}"),
    }
}

fn finding(directory: &Path) -> Finding {
    match verify(directory) {
        Answer::NotVerified(finding) => finding,
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn an_export_of_records_of_all_kinds_is_verified() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        trail.run("INSERT INTO members VALUES (4, 'dan', 4, NULL)");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let text = export(&mut conn, directory.path()).await;
        for kind in [
            "genesis",
            "transaction",
            "change",
            "action",
            "suspension",
            "evidence",
            "enrolment",
            "clock",
        ] {
            assert!(text.contains(&format!("\"kind\":\"{kind}\"")), "{kind}");
        }
        for field in [
            r#""data_after/total":"1.10""#,
            r#""data_after/total":"\"NaN\"""#,
            r#""data_after/note":"{\"\": [1.50, null], \"a\\\"b\": \"ä🧵\"}""#,
            r#""context/meta/n":"1.0""#,
            r#""meta/ip":"\"192.0.2.7\"""#,
        ] {
            assert!(text.contains(field), "{field} in {text}");
        }
    });
    let summary = verified(directory.path());
    assert_eq!(
        (summary.checkpoints, summary.erased, summary.removed),
        (2, 0, 0)
    );
    let second = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/verify/verify.py");
    std::fs::write(
        directory.path().join("vkey"),
        key().verifier_key().to_string(),
    )
    .expect("a file");
    let output = std::process::Command::new("python3")
        .arg("-B")
        .arg(second)
        .arg("--vkey")
        .arg(directory.path().join("vkey"))
        .arg("--checkpoints")
        .arg(directory.path())
        .arg("--export")
        .arg(directory.path().join("export.ndjson"))
        .output()
        .expect("python3");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// The sealer computes the fields of changes and transactions from their rows, erasures with `seal_fields`.
#[test]
fn sealed_fields_of_odd_values_are_those_of_seal_fields() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    let database = trail.query("SELECT current_database()");
    trail.run(&format!(
        "ALTER DATABASE \"{database}\" SET timezone = 'Europe/Berlin'"
    ));
    for id in 60..66 {
        trail.run(&format!("INSERT INTO members VALUES ({id}, NULL, 0, NULL)"));
    }
    trail.run(
        r#"INSERT INTO members VALUES (50, E'tab\t\u0001 \\ "quoted" 🧵', 'NaN', '{"": null, "a/b": {"": [{}]}, "ä\u0007": "\u0008", "n": 1.10e2}');
        SET session_replication_role = replica;
        INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name, row_key, table_pk, data_after, changed_from)
        SELECT nextval('threadline.audit_changes_id_seq'), clock_timestamp() + place * interval '1 microsecond',
            (SELECT max(id::text)::uuid FROM threadline.audit_transactions), 'insert', 'public', E'odd "\\ table', 'k', pk, after, before
        FROM (VALUES
            (1, '{}'::jsonb, '{}'::jsonb, 'null'::jsonb),
            (2, '{"a/b": "1", "meta/x": null}', '[]', '"[ERASED]"'),
            (3, 'null', '"text \\ \"q\" \u00e9"', '12345678901234567890123456789012345678901234567890.000'),
            (4, '[1, {"x": 2}]', '{"meta": {"x": 1}, "meta/x": 2, "infinity": "infinity"}', '{"deep": [[[[[[]]]]]]}'),
            (5, NULL, NULL, '{"captured_at": "2026-01-01T00:00:00+00:00"}')
        ) AS odd (place, pk, after, before);
        UPDATE threadline.audit_transactions SET occurred_at = '2026-06-01 12:00:00.5+02', context = context.value
        FROM (SELECT row_number() OVER () AS place, id FROM threadline.audit_transactions) AS numbered
        JOIN (VALUES
            (1, '{"meta": {"a": 1, "": {"b": "c"}}, "source": "x"}'::jsonb),
            (2, '{"meta": {"a": 1}, "meta/a": 2}'), (3, '{"meta": {}}'), (4, '{"meta": "text"}'), (5, '"text"'), (6, '{"meta": null}')
        ) AS context (place, value) USING (place)
        WHERE numbered.id = audit_transactions.id"#,
    );
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let text = export(&mut conn, directory.path()).await;
        let mut compared = 0;
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let (table, id) = match line["kind"].as_str() {
                Some("change") => ("audit_changes", &line["fields"]["id"]),
                Some("transaction") => ("audit_transactions", &line["fields"]["id"]),
                _ => continue,
            };
            let id = id.as_str().expect("an id");
            let expected = trail.query(&format!(
                "SELECT threadline.seal_fields(to_jsonb(record))::text FROM threadline.{table} AS record WHERE id::text = '{id}'"
            ));
            let expected: serde_json::Value = serde_json::from_str(&expected).expect("JSON");
            assert_eq!(line["fields"], expected, "{table} {id}");
            compared += 1;
        }
        assert!(compared > 25, "{compared}");
        assert!(text.contains("\"context/meta/\"") && text.contains("\"context/meta/a\""));
    });
    verified(directory.path());
}

#[test]
fn records_removed_by_retention_are_explained() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        trail.run(
            "SELECT threadline.remove_changes('public', 'members', clock_timestamp(), 100, 'policy', true);
            SELECT threadline.remove_actions(clock_timestamp() + interval '1 hour', 100, 'policy')",
        );
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        export(&mut conn, directory.path()).await;
    });
    let summary = verified(directory.path());
    assert!(summary.removed >= 8, "{summary:?}");
}

#[test]
fn a_record_changed_or_deleted_behind_the_guards_is_found() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    let path = directory.path();
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, path).await.expect("a checkpoint");
        trail.run(
            "SET session_replication_role = replica;
            UPDATE threadline.audit_changes SET actor = 'user:1' WHERE op = 'delete'",
        );
        export(&mut conn, path).await;
        let changed = finding(path);
        assert_eq!(
            (changed.reason, changed.kind),
            (Reason::ContentDiffers, Some("change"))
        );
        trail.run("SET session_replication_role = replica; DELETE FROM threadline.audit_changes WHERE op = 'delete'");
        export(&mut conn, path).await;
        let deleted = finding(path);
        assert_eq!(
            (deleted.reason, deleted.leaf),
            (Reason::RemovalUnexplained, changed.leaf)
        );
    });
}

#[test]
fn a_transaction_that_commits_late_is_sealed_later_and_not_skipped() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    block_on(async {
        use diesel_async::SimpleAsyncConnection as _;
        let (mut conn, mut late) = (trail.connect().await, trail.connect().await);
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        seal_all(&mut conn).await;
        late.batch_execute("BEGIN; INSERT INTO members VALUES (10, 'late', 1, NULL)")
            .await
            .expect("a change");
        trail.run("INSERT INTO members VALUES (11, 'early', 1, NULL)");
        seal_all(&mut conn).await;
        let before = seal::status(&mut conn)
            .await
            .expect("a state")
            .expect("a log");
        assert!(before.sealed_to < before.last_id);
        late.batch_execute("COMMIT").await.expect("a commit");
        seal_everything(&mut conn).await;
        let after = seal::status(&mut conn)
            .await
            .expect("a state")
            .expect("a log");
        assert_eq!(after.sealed_to, after.last_id);
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let text = export(&mut conn, directory.path()).await;
        assert!(text.contains("late") && text.contains("early"));
    });
    verified(directory.path());
}

#[test]
fn two_sealers_seal_each_record_once() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    trail.run("INSERT INTO members SELECT n, 'member ' || n, n, NULL FROM generate_series(100, 9000) AS n");
    block_on(async {
        let (mut conn, mut other) = (trail.connect().await, trail.connect().await);
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        tokio::join!(seal_all(&mut conn), seal_all(&mut other));
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        export(&mut conn, directory.path()).await;
    });
    let sealed = trail.query("SELECT (count(*) + (SELECT count(*) FROM threadline.audit_transactions))::text FROM threadline.audit_changes");
    let records = verified(directory.path()).records;
    // Besides changes and transactions: genesis, enrolment, action, suspension, evidence and clock.
    assert_eq!(records, sealed.parse::<u64>().expect("a number") + 6);
}

#[test]
fn a_database_behind_the_published_checkpoint_is_refused() {
    let (trail, restored) = (trail(), self::trail());
    let directory = TempDir::new().expect("a directory");
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let mut conn = restored.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        let refused = publish(&mut conn, directory.path())
            .await
            .expect_err("another log");
        assert!(
            matches!(refused, SealError::PublishedDiffers { .. }),
            "{refused}"
        );
    });
}

#[test]
fn nothing_is_signed_twice_and_a_crash_before_publishing_is_repaired() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    let publication = Publication::directory(directory.path());
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        seal_everything(&mut conn).await;
        let signed = seal::sign_checkpoint(&mut conn, &signer())
            .await
            .expect("a checkpoint");
        assert!(signed.is_some());
        assert_eq!(
            seal::sign_checkpoint(&mut conn, &signer())
                .await
                .expect("no checkpoint"),
            None
        );
        assert_eq!(
            seal::publish_checkpoints(&mut conn, &publication)
                .await
                .expect("a file"),
            1
        );
        assert_eq!(
            seal::publish_checkpoints(&mut conn, &publication)
                .await
                .expect("no file"),
            0
        );
        let other = SigningKey::from_seed("other.example", &[7; 32]).expect("a key");
        let refused = seal::sign_checkpoint(&mut conn, &other.into())
            .await
            .expect_err("another name");
        assert!(matches!(refused, SealError::OtherKey { .. }), "{refused}");
        let again = seal::begin(&mut conn, ORIGIN)
            .await
            .expect_err("a second log");
        assert!(matches!(again, SealError::AlreadyBegun), "{again}");
    });
}

#[test]
fn retention_waits_for_the_sealer() {
    let trail = trail();
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        let soon = chrono::Utc::now() + chrono::TimeDelta::hours(1);
        let behind = feed::consumers_behind(&mut conn, soon)
            .await
            .expect("consumers");
        assert_eq!(behind, ["threadline.seal"]);
        seal_everything(&mut conn).await;
        assert!(
            feed::consumers_behind(&mut conn, soon)
                .await
                .expect("consumers")
                .is_empty()
        );
    });
}

#[test]
fn the_sealer_needs_a_log() {
    let trail = trail();
    block_on(async {
        let mut conn = trail.connect().await;
        assert!(matches!(
            seal::seal_next(&mut conn).await,
            Err(SealError::NotBegun)
        ));
        assert_eq!(seal::status(&mut conn).await.expect("a state"), None);
        assert!(seal::begin(&mut conn, "two words").await.is_err());
    });
}
