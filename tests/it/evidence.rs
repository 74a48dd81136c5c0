//! Evidence: checks that run and are recorded, statements of the host, verdicts, gaps and documents.

mod access;
mod checks;
mod document;
mod job;
mod plan;

use threadline::evidence::{
    Check, CheckOptions, CheckRun, Evidence, EvidenceDocument, EvidenceDocumentQuery,
    EvidenceHistory, evidence_document, history, run_check,
};

use crate::harness::{Trail, empty_trail};

/// A table with an excluded and a masked column, captured, with one row.
fn cards() -> Trail {
    let trail = empty_trail();
    trail.run("CREATE TABLE cards (id int PRIMARY KEY, pin text, number text)");
    let table = trail.introspect("cards");
    trail.capture(&table.redact(["pin"], ["number"]).unwrap());
    trail.run("INSERT INTO cards VALUES (1, 'secret-1234', 'secret-4111')");
    trail
}

/// The options of a host that declares the captured tables.
fn declared(trail: &Trail) -> CheckOptions {
    let tables = trail.run_async(async |conn| threadline::deployed_tables(conn).await.unwrap());
    CheckOptions::new().declared(tables)
}

fn run(trail: &Trail, check: Check, options: &CheckOptions) -> CheckRun {
    trail.run_async(async |conn| run_check(conn, check, options).await.unwrap())
}

/// Runs a check and returns its evidence.
fn recorded(trail: &Trail, check: Check, options: &CheckOptions) -> Evidence {
    let run = run(trail, check, options);
    let evidence = newest(trail);
    assert_eq!(evidence.order_id, run.order_id);
    evidence
}

fn newest(trail: &Trail) -> Evidence {
    trail.run_async(async |conn| {
        let page = history(conn, &EvidenceHistory::new()).await.unwrap();
        page.entries.into_iter().next().expect("evidence")
    })
}

/// The `detail` of a record.
fn detail(evidence: &Evidence) -> serde_json::Value {
    evidence.detail.read().unwrap()
}

fn document(trail: &Trail, query: &EvidenceDocumentQuery) -> EvidenceDocument {
    trail.run_async(async |conn| evidence_document(conn, query).await.unwrap())
}

/// Inserts past results of a check as the owner of the trail: one for each of these days ago, valid for 36 hours.
fn insert_past_results(trail: &Trail, check: &str, subject: &str, days_ago: &[i32]) {
    for days in days_ago {
        trail.run(&format!(
            "INSERT INTO threadline.audit_evidence (order_id, transaction_id, recorded_at, recorded_by, basis, subject,
                subject_ref, outcome, summary_status, check_name, check_version, observed_from, observed_to,
                valid_until, detail)
             SELECT nextval('threadline.audit_changes_id_seq'), gen_random_uuid(), past.at, 'worker', 'checked',
                '{subject}', '{{\"check\": \"{check}\"}}', 'pass', 'pass', '{check}', 1, past.at - interval '1 day', past.at,
                past.at + interval '36 hours', '{{}}'
             FROM (SELECT date_trunc('day', now(), 'UTC') - interval '{days} days' AS at) AS past"
        ));
    }
}
