//! Plans: validity of results, due checks, gaps.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use threadline::evidence::{
    Check, DueState, EvidenceDocumentQuery, EvidencePlan, Verdict, VerdictReason, days, due_checks,
    run_due,
};

use super::{cards, declared, document, insert_past_results, recorded};
use crate::harness::Trail;

fn midnight(trail: &Trail, days_ago: i32) -> DateTime<Utc> {
    let midnight = trail.query_text(&format!(
        "SELECT to_json(date_trunc('day', now(), 'UTC') - interval '{days_ago} days') #>> '{{}}'"
    ));
    midnight.parse().unwrap()
}

#[test]
fn evidence_becomes_unsupported_when_its_validity_ends() {
    let trail = cards();
    let evidence = recorded(&trail, Check::Policy, &declared(&trail));
    let after = |hours| evidence.assess(evidence.recorded_at + TimeDelta::hours(hours));
    assert_eq!(after(35).status, Verdict::Proven);
    assert_eq!(after(37).status, Verdict::Unsupported);
    assert_eq!(after(37).reason, VerdictReason::OutOfDate);
    let age = evidence.age(evidence.recorded_at + TimeDelta::hours(2));
    assert_eq!(age, TimeDelta::hours(2));

    // By the clock of the server.
    let trail = cards();
    let short = declared(&trail).valid_for(Duration::from_micros(1));
    recorded(&trail, Check::Policy, &short);
    let stale = document(&trail, &EvidenceDocumentQuery::latest());
    let claim = stale.content.claim_assessment.assessment;
    assert_eq!(claim.reason, VerdictReason::OutOfDate);
}

#[test]
fn due_checks_run_once_and_are_current_afterwards() {
    let trail = cards();
    let plan = EvidencePlan::new(declared(&trail))
        .every(Check::Coverage, days(1))
        .every(Check::Policy, days(7));
    let states = || {
        trail.run_async(async |conn| {
            let schedules = due_checks(conn, &plan).await.unwrap();
            schedules.iter().map(|one| one.state).collect::<Vec<_>>()
        })
    };
    let run = || {
        trail.run_async(async |conn| {
            let runs = run_due(conn, &plan).await.unwrap();
            runs.iter().map(|run| run.check).collect::<Vec<_>>()
        })
    };
    insert_past_results(&trail, "policy", "redaction_policy", &[3]);
    assert_eq!(states(), [DueState::Overdue, DueState::Current]);
    assert_eq!(run(), [Check::Coverage]);
    assert_eq!(states(), [DueState::Current, DueState::Current]);
    assert_eq!(run(), []);
    let valid_for = trail.query_text(
        "SELECT round(extract(epoch FROM valid_until - recorded_at)) FROM threadline.audit_evidence \
         WHERE check_name = 'coverage'",
    );
    assert_eq!(valid_for, "129600", "one and a half days");
}

#[test]
fn a_document_shows_two_days_without_a_planned_check_as_a_gap() {
    let trail = cards();
    insert_past_results(
        &trail,
        "coverage",
        "trigger_coverage",
        &[9, 8, 7, 4, 3, 2, 1],
    );
    let window = || EvidenceDocumentQuery::history(midnight(&trail, 8), midnight(&trail, 1));
    let shown = document(&trail, &window());
    let gaps: Vec<_> = shown
        .content
        .gaps
        .iter()
        .map(|gap| (gap.check.as_str(), gap.from, gap.to))
        .collect();
    assert_eq!(
        gaps,
        [("coverage", midnight(&trail, 7), midnight(&trail, 4))]
    );
    let claim = shown.content.claim_assessment.assessment;
    assert_eq!(claim.status, Verdict::InferredPosture);
    assert_eq!(claim.reason, VerdictReason::Gaps);

    // Without the gap.
    let complete = EvidenceDocumentQuery::history(midnight(&trail, 4), midnight(&trail, 1));
    let shown = document(&trail, &complete);
    assert_eq!(shown.content.gaps, []);
    assert_eq!(
        shown.content.claim_assessment.assessment.status,
        Verdict::Proven
    );

    // A planned check that never ran.
    let plan = EvidencePlan::new(declared(&trail)).every(Check::Roles, days(1));
    let shown = document(&trail, &window().plan(&plan));
    assert_eq!(shown.content.gaps.len(), 2);
    assert_eq!(shown.content.gaps[1].check, "roles");
    assert_eq!(shown.content.gaps[1].from, midnight(&trail, 8));
    assert_eq!(shown.content.gaps[1].to, midnight(&trail, 1));
}
