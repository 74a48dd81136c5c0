//! Proofs of records and of evidence.

use threadline_diesel::evidence::{EvidenceDocumentQuery, evidence_document};
use threadline_export::seal::SealedRecord;
use threadline_seal::proof::RecordProof;
use threadline_seal::sealed_line::Body;

use super::*;

fn record(text: &str) -> SealedRecord {
    text.parse().expect("a record")
}

fn keys() -> [threadline_seal::key::VerifierKey; 1] {
    [key().verifier_key().clone()]
}

#[test]
fn records_of_each_kind_are_proven() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    trail.run(
        "INSERT INTO members SELECT n, 'member ' || n, n, NULL FROM generate_series(100, 900) AS n",
    );
    let id = |sql: &str| trail.query(sql);
    let records = [
        format!(
            "change:{}",
            id("SELECT min(id)::text FROM threadline.audit_changes")
        ),
        format!(
            "change:{}",
            id("SELECT max(id)::text FROM threadline.audit_changes")
        ),
        format!(
            "action:{}",
            id("SELECT order_id::text FROM threadline.audit_actions")
        ),
        format!(
            "evidence:{}",
            id("SELECT order_id::text FROM threadline.audit_evidence")
        ),
        format!(
            "suspension:{}",
            id("SELECT order_id::text FROM threadline.audit_suspensions")
        ),
        format!(
            "enrolment:{}",
            id("SELECT order_id::text FROM threadline.audit_enrolments")
        ),
        format!(
            "transaction:{}",
            id("SELECT max(id::text) FROM threadline.audit_transactions")
        ),
    ];
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        let early = seal::prove(&mut conn, record(&records[0])).await;
        assert!(matches!(early, Err(SealError::NoCheckpoint)), "{early:?}");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        for text in &records {
            let proof = seal::prove(&mut conn, record(text)).await.expect("a proof");
            assert!(matches!(proof.line.body, Body::Complete { .. }), "{text}");
            let read = RecordProof::parse(&proof.to_string()).expect("a proof");
            read.verify(&keys()).expect("a valid proof");
            let kind = text.split(':').next().expect("a kind");
            assert_eq!(read.line.entry.kind.name(), kind);
        }
        let unknown = seal::prove(&mut conn, record("change:9999999")).await;
        assert!(
            matches!(unknown, Err(SealError::NotSealed(_))),
            "{unknown:?}"
        );
        // An action with the id of a change is another record.
        let change = records[0].replace("change", "action");
        let other = seal::prove(&mut conn, record(&change)).await;
        assert!(matches!(other, Err(SealError::NotSealed(_))), "{other:?}");
    });
    for text in [
        "genesis:1",
        "clock:5",
        "change",
        "change:x",
        "transaction:1",
        "rows:1",
    ] {
        assert!(text.parse::<SealedRecord>().is_err(), "{text}");
    }
}

#[test]
fn a_proof_of_an_erased_record_has_no_erased_value() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        trail.run(
            "SELECT threadline.erase_values('public', 'members', '1', ARRAY['email'], 'request 5')",
        );
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        let id =
            trail.query("SELECT min(id)::text FROM threadline.audit_changes WHERE row_key = '1'");
        let proof = seal::prove(&mut conn, record(&format!("change:{id}")))
            .await
            .expect("a proof");
        proof.verify(&keys()).expect("a valid proof");
        let Body::Erased { erased, .. } = &proof.line.body else {
            panic!("{proof:?}");
        };
        assert!(erased.contains_key("data_after/email"));
        assert!(!proof.line.to_json().contains("ada@example.com"));
    });
}

#[test]
fn a_record_changed_behind_the_guards_is_not_proven() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        trail.run("SET session_replication_role = replica; UPDATE threadline.audit_changes SET actor = 'user:1' WHERE op = 'delete'");
        let id = trail.query("SELECT id::text FROM threadline.audit_changes WHERE op = 'delete'");
        let proof = seal::prove(&mut conn, record(&format!("change:{id}")))
            .await
            .expect("a proof");
        assert!(proof.verify(&keys()).is_err());
        trail.run("SET session_replication_role = replica; UPDATE threadline.audit_seal_chunks SET entries = set_byte(entries, 50, 0)");
        let forged = seal::prove(&mut conn, record(&format!("change:{id}"))).await;
        assert!(matches!(forged, Err(SealError::State(_))), "{forged:?}");
    });
}

#[test]
fn evidence_documents_have_the_proof_of_each_sealed_record() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    let evidence = |number: u32| {
        trail.run(&format!(
            r#"SELECT threadline.record_evidence('{{"subject": "capture_coverage", "subject_ref": {{"n": {number}}},
            "outcome": "pass", "summary_status": "ok", "detail": {{}}}}')"#
        ));
    };
    block_on(async {
        let mut conn = trail.connect().await;
        let mut document = evidence_document(&mut conn, &EvidenceDocumentQuery::latest())
            .await
            .expect("a document");
        seal::add_seals(&mut conn, &mut document)
            .await
            .expect("no log");
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        (1..5).for_each(evidence);
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        trail.run("INSERT INTO members SELECT n, 'member ' || n, n, NULL FROM generate_series(100, 900) AS n");
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        evidence(5);
        let mut document = evidence_document(&mut conn, &EvidenceDocumentQuery::latest())
            .await
            .expect("a document");
        seal::add_seals(&mut conn, &mut document)
            .await
            .expect("proofs");
        let records = &document.content.records;
        assert_eq!(records.len(), 6);
        for record in records {
            let is_last = record.evidence.subject_ref.as_str().contains('5');
            assert_eq!(
                record.seal.is_none(),
                is_last,
                "only sealed records have a proof"
            );
            if let Some(seal) = &record.seal {
                let proof = RecordProof::parse(&seal.proof).expect("a proof");
                let checkpoint = proof.verify(&keys()).expect("a valid proof");
                assert_eq!((proof.line.leaf, checkpoint.size), (seal.leaf, seal.size));
                assert_eq!(proof.line.entry.id, record.evidence.order_id);
            }
        }
    });
}
