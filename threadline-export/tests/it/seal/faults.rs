//! Sealers beside other sealers, prepared transactions, erasures and forks.

use super::*;

#[test]
fn a_prepared_transaction_is_sealed_after_its_commit_and_nothing_after_it_before() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        trail.run("BEGIN; INSERT INTO members VALUES (10, 'prepared', 1, NULL); PREPARE TRANSACTION 'seal'");
        trail.run("INSERT INTO members VALUES (11, 'later', 1, NULL)");
        let publication = Publication::directory(directory.path());
        seal::run_round(&mut conn, &signer(), &publication)
            .await
            .expect("a round");
        let state = seal::status(&mut conn)
            .await
            .expect("a state")
            .expect("a log");
        assert!(state.sealed_to < state.last_id - 1, "{state:?}");
        let text = export(&mut conn, directory.path()).await;
        assert!(!text.contains("prepared") && !text.contains("later"));
        verified(directory.path());
        trail.run("COMMIT PREPARED 'seal'");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let text = export(&mut conn, directory.path()).await;
        let place = |text: &str, value| text.find(value).expect("a record");
        assert!(place(&text, "prepared") < place(&text, "later"));
    });
    verified(directory.path());
}

#[test]
fn two_sealers_that_publish_to_one_place_publish_each_checkpoint() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    let publication = Publication::directory(directory.path()).with_tiles();
    block_on(async {
        let (mut conn, mut other) = (trail.connect().await, trail.connect().await);
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        for round in 0..8 {
            trail.run(&format!(
                "INSERT INTO members SELECT n, 'member ' || n, n, NULL FROM generate_series({0}, {0} + 150) AS n",
                1_000 * (round + 1)
            ));
            let signer = signer();
            let (one, two) = tokio::join!(
                seal::run_round(&mut conn, &signer, &publication),
                seal::run_round(&mut other, &signer, &publication)
            );
            one.expect("a round");
            two.expect("a round");
        }
        publish_to(&mut conn, &signer(), &publication)
            .await
            .expect("a checkpoint");
        export(&mut conn, directory.path()).await;
    });
    assert_eq!(
        trail.query("SELECT count(*)::text FROM threadline.audit_seal_checkpoints WHERE published_at IS NULL"),
        "0"
    );
    let answer = Verification::new(vec![key().verifier_key().clone()], directory.path())
        .export(directory.path().join("export.ndjson"))
        .tiles(directory.path())
        .run()
        .expect("readable files");
    assert!(matches!(answer, Answer::Verified(_)), "{answer:?}");
}

#[test]
fn erasures_beside_the_sealer_leave_explained_records() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    trail.run("INSERT INTO members SELECT n, 'secret-' || n, n, NULL FROM generate_series(100, 6000) AS n");
    std::thread::scope(|scope| {
        let erasures = scope.spawn(|| {
            for key in (100..6000).step_by(150) {
                trail.run(&format!(
                    "SELECT threadline.erase_values('public', 'members', '{key}', ARRAY['email'], 'request {key}')"
                ));
            }
        });
        block_on(async {
            let mut conn = trail.connect().await;
            seal::begin(&mut conn, ORIGIN).await.expect("a log");
            let publication = Publication::directory(directory.path());
            while !erasures.is_finished() {
                seal::run_round(&mut conn, &signer(), &publication)
                    .await
                    .expect("a round");
            }
        });
        erasures.join().expect("erasures");
    });
    block_on(async {
        let mut conn = trail.connect().await;
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let text = export(&mut conn, directory.path()).await;
        for key in (100..6000).step_by(150) {
            assert!(!text.contains(&format!("secret-{key}\\")), "{key}");
        }
        assert!(text.contains("secret-101\\"));
    });
    verified(directory.path());
}

#[test]
fn a_fork_signed_with_the_real_key_is_found_with_two_sets_of_checkpoints() {
    let trail = trail();
    let (one, two) = (
        TempDir::new().expect("a directory"),
        TempDir::new().expect("a directory"),
    );
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, one.path()).await.expect("a checkpoint");
        std::fs::create_dir(two.path().join("checkpoints")).expect("a directory");
        for file in std::fs::read_dir(one.path().join("checkpoints")).expect("a directory") {
            let file = file.expect("an entry");
            std::fs::copy(
                file.path(),
                two.path().join("checkpoints").join(file.file_name()),
            )
            .expect("a copy");
        }
        std::fs::copy(one.path().join("checkpoint"), two.path().join("checkpoint"))
            .expect("a copy");
    });
    let fork = trail.copy();
    block_on(async {
        for (trail, directory, value) in [(&trail, &one, "honest"), (&fork, &two, "forged")] {
            trail.run(&format!(
                "INSERT INTO members VALUES (30, '{value}', 1, NULL)"
            ));
            let mut conn = trail.connect().await;
            publish(&mut conn, directory.path())
                .await
                .expect("a checkpoint");
            export(&mut conn, directory.path()).await;
            verified(directory.path());
        }
    });
    let both = Verification::new(vec![key().verifier_key().clone()], one.path())
        .published(two.path())
        .export(one.path().join("export.ndjson"))
        .run()
        .expect("readable files");
    assert!(
        matches!(&both, Answer::NotVerified(finding) if finding.reason == Reason::InconsistentCheckpoints),
        "{both:?}"
    );
}
