//! Databases restored from an older copy.

use threadline_diesel::evidence::{EvidenceHistory, EvidenceSubject};

use super::*;

const SECOND_ORIGIN: &str = "example.com/trail/2";

fn second_key() -> SigningKey {
    SigningKey::from_seed(SECOND_ORIGIN, &[8; 32]).expect("a key")
}

/// Verifies an export with the key, checkpoints and size of one origin.
fn verify_as(key: &SigningKey, checkpoints: &Path, export: &Path, size: Option<u64>) -> Answer {
    let mut verification = Verification::new(vec![key.verifier_key().clone()], checkpoints)
        .export(export.join("export.ndjson"));
    if let Some(size) = size {
        verification = verification.size(size);
    }
    verification.run().expect("readable files")
}

#[test]
fn a_restored_log_continues_under_another_origin() {
    let trail = trail();
    let (first, second) = (
        TempDir::new().expect("a directory"),
        TempDir::new().expect("a directory"),
    );
    let (earlier, later) = (
        Publication::directory(first.path()),
        Publication::directory(second.path()),
    );
    let second_signer: Signer = second_key().into();
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, first.path())
            .await
            .expect("a checkpoint");
        let unneeded = seal::continue_log(&mut conn, SECOND_ORIGIN, &earlier, "a mistake").await;
        assert!(
            matches!(unneeded, Err(SealError::NothingToContinue { .. })),
            "{unneeded:?}"
        );
        // A checkpoint that is signed and not published yet is in the copy.
        trail.run("INSERT INTO members VALUES (20, 'in the copy', 1, NULL)");
        seal_everything(&mut conn).await;
        seal::sign_checkpoint(&mut conn, &signer())
            .await
            .expect("a checkpoint");
    });
    let restored = trail.copy();
    block_on(async {
        let mut conn = trail.connect().await;
        trail.run("INSERT INTO members VALUES (21, 'lost', 1, NULL)");
        publish(&mut conn, first.path())
            .await
            .expect("a checkpoint");

        let mut conn = restored.connect().await;
        restored.run("INSERT INTO members VALUES (22, 'after the restore', 1, NULL)");
        let copied = size_of(&restored);
        let refused = seal::run_round(&mut conn, &signer(), &earlier).await;
        assert!(
            matches!(refused, Err(SealError::PublishedDiffers { .. })),
            "{refused:?}"
        );
        let nothing = seal::continue_log(&mut conn, SECOND_ORIGIN, &later, "drill").await;
        assert!(
            matches!(nothing, Err(SealError::NotPublished)),
            "{nothing:?}"
        );
        let same = seal::continue_log(&mut conn, ORIGIN, &earlier, "drill").await;
        assert!(matches!(same, Err(SealError::SameOrigin(_))), "{same:?}");
        let size = seal::status(&mut conn)
            .await
            .expect("a state")
            .expect("a log")
            .size;
        assert_eq!(
            size, copied,
            "nothing is sealed before the log is continued"
        );
        let continued = seal::continue_log(&mut conn, SECOND_ORIGIN, &earlier, "restore drill 7")
            .await
            .expect("a log");
        assert_eq!(continued.earlier_origin, ORIGIN);
        assert_eq!(continued.size, u64::try_from(size).expect("a size"));

        // The first key, and the first place, are of the earlier log.
        let other_key = seal::run_round(&mut conn, &signer(), &later).await;
        assert!(
            matches!(other_key, Err(SealError::OtherKey { .. })),
            "{other_key:?}"
        );
        let other_place = publish_to(&mut conn, &second_signer, &earlier).await;
        assert!(
            matches!(other_place, Err(SealError::PublishedOrigin { .. })),
            "{other_place:?}"
        );
        publish_to(&mut conn, &second_signer, &later)
            .await
            .expect("a checkpoint");
        let text = export(&mut conn, second.path()).await;
        assert!(
            text.contains("restore drill 7") && text.contains("after the restore"),
            "{text}"
        );
        assert!(!text.contains("lost"));

        let query = EvidenceHistory::new().subject(&EvidenceSubject::SealVerification);
        let page = threadline_diesel::evidence::history(&mut conn, &query)
            .await
            .expect("evidence");
        let detail: serde_json::Value =
            serde_json::from_str(page.entries[0].detail.as_str()).expect("JSON");
        assert_eq!(detail["earlier_origin"], ORIGIN);
        assert_eq!(detail["published_size"], continued.published_size);
        assert_eq!(detail["size"], size);
    });
    verify_continued(&restored, first.path(), second.path());
}

/// Verifies the continued log with its key, and the common leaves with the earlier one.
fn verify_continued(restored: &Trail, first: &Path, second: &Path) {
    let whole = verify_as(&second_key(), second, second, None);
    assert!(
        matches!(&whole, Answer::Verified(summary) if summary.origin == SECOND_ORIGIN),
        "{whole:?}"
    );
    // The earlier checkpoints hold for the leaves that both logs have.
    let common = verify_as(
        &key(),
        first,
        second,
        Some(u64::try_from(size_of(restored)).expect("a size")),
    );
    assert!(
        matches!(&common, Answer::NotVerified(finding) if finding.reason == Reason::RootDiffers),
        "{common:?}"
    );
    let continued = restored.query(
        "SELECT detail ->> 'size' FROM threadline.audit_evidence WHERE subject = 'seal_verification'",
    );
    let common = verify_as(&key(), first, second, continued.parse().ok());
    assert!(
        matches!(&common, Answer::Verified(summary) if summary.origin == ORIGIN),
        "{common:?}"
    );
}

fn size_of(trail: &Trail) -> i64 {
    let size = trail.query("SELECT size::text FROM threadline.audit_seal_logs");
    size.parse().expect("a number")
}
