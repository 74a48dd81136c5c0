//! Erasures of sealed records.

use threadline_core::actor::ActorType;
use threadline_diesel::erasure::{EraseOptions, SubjectMap, erase, plan_erasure};

use super::*;

#[test]
fn erased_values_are_explained_and_appear_nowhere_in_the_export() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let before = export(&mut conn, directory.path()).await;
        assert!(before.contains("eve@example.com"));
        for columns in ["email", "note"] {
            trail.run(&format!(
                "SELECT threadline.erase_values('public', 'members', '1', ARRAY['{columns}'], 'request 5')"
            ));
        }
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let after = export(&mut conn, directory.path()).await;
        assert!(!after.contains("eve@example.com") && !after.contains("ada@example.com"));
    });
    assert_eq!(verified(directory.path()).erased, 2);
    assert_eq!(
        trail.query(
            "SELECT count(*)::text FROM threadline.audit_seal_openings WHERE unrecorded <> '{}'"
        ),
        "0"
    );

    // An erasure does not cover another change of the record.
    trail.run(
        "SET session_replication_role = replica;
        UPDATE threadline.audit_changes SET data_after = data_after || '{\"total\": 9}' WHERE data_after ->> 'email' = '[ERASED]'",
    );
    block_on(async { export(&mut trail.connect().await, directory.path()).await });
    assert_eq!(finding(directory.path()).reason, Reason::ContentDiffers);
}

#[test]
fn erased_fields_of_transactions_and_actions_are_explained() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        trail.run(
            r#"SELECT threadline.allow_trail_delete(true);
            UPDATE threadline.audit_actions SET actor = 'user:erased-7', reason = '[ERASED]';
            UPDATE threadline.audit_transactions
            SET context = jsonb_set(context, '{meta,ip}', '"[ERASED]"'), client_addr = NULL WHERE context ? 'meta';
            SELECT threadline.allow_trail_delete(false);
            SELECT threadline.record_removal('erasure', 'request 6', '{"pseudonym": "erased-7"}', 0)"#,
        );
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let text = export(&mut conn, directory.path()).await;
        assert!(!text.contains("user:42") && text.contains("user:erased-7"));
        assert!(text.contains(r#""context/meta/n":"1.0""#));
    });
    assert_eq!(verified(directory.path()).erased, 2);
}

#[test]
fn an_erasure_without_a_record_is_found() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        trail.run(
            "SELECT threadline.allow_trail_delete(true);
            UPDATE threadline.audit_actions SET reason = '[ERASED]'",
        );
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        export(&mut conn, directory.path()).await;
    });
    let found = finding(directory.path());
    assert_eq!(
        (found.reason, found.kind),
        (Reason::ErasureUnexplained, Some("action"))
    );
}

#[test]
fn erasures_while_the_sealer_runs_are_explained() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    trail.run("INSERT INTO members SELECT n, 'member ' || n, n, NULL FROM generate_series(1000, 9000) AS n");
    block_on(async {
        use diesel_async::SimpleAsyncConnection as _;
        let (mut conn, mut other) = (trail.connect().await, trail.connect().await);
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        let erase = async {
            for row in (1000..9000).step_by(400) {
                let sql = format!(
                    "SELECT threadline.erase_values('public', 'members', '{row}', ARRAY['email'], 'request {row}')"
                );
                other.batch_execute(&sql).await.expect("an erasure");
            }
        };
        tokio::join!(seal_everything(&mut conn), erase);
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let text = export(&mut conn, directory.path()).await;
        assert!(!text.contains("member 1400") && text.contains("member 1401"));
    });
    assert!(verified(directory.path()).records > 8_000);
}

#[test]
fn values_erased_before_they_are_sealed_are_sealed_as_erased() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        trail.run(
            "SELECT threadline.erase_values('public', 'members', '1', ARRAY['email'], 'request 5')",
        );
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        export(&mut conn, directory.path()).await;
    });
    assert_eq!(verified(directory.path()).erased, 0);
}

#[test]
fn an_erased_person_is_nowhere_in_the_export_and_everything_else_stays_proven() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    trail.run(
        r#"SELECT set_config('threadline.actor_ref', '{"type": "user", "id": "4242"}', true),
            set_config('threadline.context', '{"remote_addr": "192.0.2.77", "meta": {"device": "ann-phone", "n": 1}}', true);
        INSERT INTO members VALUES (4242, 'ann@example.com', 5, NULL);
        UPDATE members SET email = 'ann@new.example' WHERE id = 4242;"#,
    );
    let map = SubjectMap::new()
        .actor(ActorType::User)
        .remote_addresses()
        .meta_keys(["device"])
        .row("members".parse().expect("a table"), ["email"]);
    let of_person = ["ann@", "user:4242", "192.0.2.77", "ann-phone"];
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let before = export(&mut conn, directory.path()).await;
        assert!(of_person.iter().all(|text| before.contains(text)));

        let subject = "4242".parse().expect("an id");
        let plan = plan_erasure(&mut conn, &map, &subject)
            .await
            .expect("a plan");
        let reason = "request 8".parse().expect("a reason");
        erase(
            &mut conn,
            &plan,
            &reason,
            EraseOptions::default(),
            &mut |_| {},
        )
        .await
        .expect("an erasure");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let after = export(&mut conn, directory.path()).await;
        for text in of_person {
            assert!(!after.contains(text), "{text}");
        }
        assert!(after.contains("user:erased-"));
    });
    // Two changes and their transaction.
    assert_eq!(verified(directory.path()).erased, 3);
}
