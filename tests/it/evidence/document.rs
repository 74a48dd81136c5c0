//! Documents and pages of evidence.

use std::io::Write;
use std::process::{Command, Stdio};

use threadline::evidence::{
    EvidenceDocumentQuery, EvidenceError, EvidenceHistory, EvidenceSubject, VerdictReason,
    evidence_document, history, latest, latest_refs,
};
use threadline::query::{PageSize, ReadError};

use super::{cards, document, insert_past_results};
use crate::harness::{Trail, empty_trail};

/// Fixed records: a check that passed twice, one that failed, and a statement of the host.
fn fixed_records() -> Trail {
    let trail = empty_trail();
    trail.run(
        r#"INSERT INTO threadline.audit_evidence
           SELECT past.id, '000303c2-476f-25e9-0000-0000000002f8', past.at, 'worker', past.basis, past.subject,
               past.ref::jsonb, past.outcome, past.status, past.checked, 1, '0.1.0', past.observed, past.observed,
               past.at + interval '36 hours', 'user:42', past.detail::jsonb
           FROM (VALUES
               (1, '2026-01-01T03:00:00Z'::timestamptz, 'checked', 'trigger_coverage', '{"check": "coverage"}',
                   'pass', 'pass', 'coverage', '2026-01-01T03:00:00Z'::timestamptz, '{"findings": []}'),
               (2, '2026-01-02T03:00:00Z', 'checked', 'trigger_coverage', '{"check": "coverage"}',
                   'pass', 'pass', 'coverage', '2026-01-02T03:00:00Z', '{"findings": [], "note": "a \"b\" \\ c"}'),
               (3, '2026-01-02T03:00:01Z', 'checked', 'role_posture', '{"check": "roles"}',
                   'fail', 'fail', 'roles', NULL, '{"privilege_count": 1}'),
               (4, '2026-01-02T09:00:00Z', 'attested', 'redaction_policy', '{"policy": "2026"}',
                   'pass', 'reviewed', NULL, NULL, '{}')
           ) AS past (id, at, basis, subject, ref, outcome, status, checked, observed, detail);
           SELECT setval('threadline.audit_changes_id_seq', 4)"#,
    );
    trail
}

fn january() -> EvidenceDocumentQuery {
    EvidenceDocumentQuery::history(
        "2026-01-01T00:00:00Z".parse().unwrap(),
        "2026-01-03T00:00:00Z".parse().unwrap(),
    )
}

#[test]
fn the_document_of_evidence_is_stable() {
    let mut document = document(&fixed_records(), &january());
    document.generated_at = "2026-02-01T00:00:00Z".parse().unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
}

#[test]
fn documents_of_equal_records_are_equal_except_for_their_time() {
    let text = |trail: &Trail| {
        let mut document = document(trail, &january());
        document.generated_at = chrono::DateTime::UNIX_EPOCH;
        serde_json::to_string(&document).unwrap()
    };
    let trail = fixed_records();
    assert_eq!(text(&trail), text(&trail));
    assert_eq!(text(&trail), text(&fixed_records()));
    let other = fixed_records();
    insert_past_results(&other, "coverage", "trigger_coverage", &[1]);
    assert_eq!(text(&trail), text(&other), "a record outside of the window");
}

#[test]
fn the_digest_of_a_document_can_be_computed_with_jq() {
    let document = document(&fixed_records(), &january());
    let mut jq = Command::new("jq")
        .args(["-cj", "del(.generated_at, .sha256, .records[].seal)"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("jq is installed");
    let text = serde_json::to_string_pretty(&document).unwrap();
    jq.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let compact = jq.wait_with_output().unwrap().stdout;
    let digest = server_sha256(&compact);
    assert_eq!(document.sha256, digest);
}

/// The SHA-256 of bytes, by the server.
fn server_sha256(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let literal = text.replace('\'', "''");
    empty_trail().query_text(&format!(
        "SELECT encode(sha256(convert_to('{literal}', 'UTF8')), 'hex')"
    ))
}

#[test]
fn a_document_that_would_be_too_large_is_refused() {
    let trail = empty_trail();
    trail.run(
        "INSERT INTO threadline.audit_evidence (order_id, transaction_id, recorded_at, recorded_by, basis, subject,
            subject_ref, outcome, summary_status, detail)
         SELECT g, gen_random_uuid(), now(), 'host', 'attested', 'export_delivery', jsonb_build_object('job', g),
            'pass', 'delivered', '{}'
         FROM generate_series(1, 10001) AS g",
    );
    let error = trail.run_async(async |conn| {
        evidence_document(conn, &EvidenceDocumentQuery::latest())
            .await
            .unwrap_err()
    });
    assert!(
        matches!(
            error,
            EvidenceError::DocumentTooLarge {
                records: 10_001,
                ..
            }
        ),
        "{error}"
    );
    let newest = trail.run_async(async |conn| {
        let limit = PageSize::new(3).unwrap();
        let refs = latest_refs(conn, &EvidenceSubject::ExportDelivery, limit).await;
        refs.unwrap()
    });
    let ids: Vec<_> = newest.iter().map(|evidence| evidence.order_id).collect();
    assert_eq!(ids, [10_001, 10_000, 9_999], "the limit applies to objects");
}

#[test]
fn an_empty_document_says_that_there_are_no_records() {
    let document = document(&empty_trail(), &EvidenceDocumentQuery::latest());
    let claim = &document.content.claim_assessment;
    assert_eq!(claim.assessment.reason, VerdictReason::NoRecords);
    assert_eq!(document.content.subject, "overview");
}

#[test]
fn pages_of_evidence_follow_each_other_in_both_directions() {
    let trail = fixed_records();
    let query = EvidenceHistory::new().page_size(PageSize::new(3).unwrap());
    trail.run_async(async |conn| {
        let ids = |page: &threadline::Page<threadline::evidence::Evidence>| {
            page.entries
                .iter()
                .map(|one| one.order_id)
                .collect::<Vec<_>>()
        };
        let first = history(conn, &query).await.unwrap();
        assert_eq!(ids(&first), [4, 3, 2]);
        let next = query.clone().after(first.next.clone().unwrap());
        let second = history(conn, &next).await.unwrap();
        assert_eq!(ids(&second), [1]);
        assert!(second.next.is_none());
        let back = query.clone().before(second.previous.clone().unwrap());
        assert_eq!(ids(&history(conn, &back).await.unwrap()), [4, 3, 2]);

        let of_roles = EvidenceHistory::new().subject(&EvidenceSubject::RolePosture);
        assert_eq!(ids(&history(conn, &of_roles).await.unwrap()), [3]);
        let other = of_roles.after(first.next.unwrap());
        let refused = history(conn, &other).await.unwrap_err();
        assert!(
            matches!(refused, EvidenceError::Read(ReadError::Cursor(_))),
            "{refused:?}"
        );
        let one_ref = serde_json::json!({"check": "coverage"});
        let one_ref = EvidenceHistory::new()
            .subject_ref(one_ref.as_object().unwrap().clone())
            .to("2026-01-01T12:00:00Z".parse().unwrap());
        assert_eq!(ids(&history(conn, &one_ref).await.unwrap()), [1]);
        let newest = latest(conn, &EvidenceSubject::TriggerCoverage)
            .await
            .unwrap();
        assert_eq!(newest.unwrap().order_id, 2);
    });
}

#[test]
fn a_subject_of_a_newer_release_is_read_under_its_name() {
    let trail = cards();
    trail.run(
        r#"SELECT threadline.record_evidence('{"subject": "restore_drill", "subject_ref": {}, "outcome": "pass",
            "summary_status": "restored", "detail": {}}')"#,
    );
    assert_eq!(super::newest(&trail).subject.as_str(), "restore_drill");
}
