//! Evidence: verdicts with their reasons and ages.

use axum::http::StatusCode;
use maud::{Markup, html};
use threadline_diesel::evidence::{
    Assessment, Evidence, EvidenceError, EvidenceSubject, Verdict, VerdictReason,
};

use super::actor::actor;
use super::id::linked;
use super::instant::{age, instant};
use crate::page_error::PageError;
use crate::request::GrantedRequest;

impl From<EvidenceError> for PageError {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::MigrationMissing => Self::refused(
                StatusCode::CONFLICT,
                "The migration threadline_0002 is not applied",
                error,
            ),
            EvidenceError::DocumentTooLarge { .. } => {
                Self::refused(StatusCode::UNPROCESSABLE_ENTITY, "Too large", error)
            }
            EvidenceError::Read(error) => error.into(),
            EvidenceError::Database(error) => error.into(),
            _ => Self::Internal("evidence"),
        }
    }
}

/// A verdict as a word.
pub(crate) fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Proven => "Proven",
        Verdict::InferredPosture => "Inferred",
        _ => "Unsupported",
    }
}

/// A verdict.
pub(crate) fn verdict(verdict: Verdict) -> Markup {
    let (is_proven, is_inferred) = (
        verdict == Verdict::Proven,
        verdict == Verdict::InferredPosture,
    );
    html! {
        span.badge.good[is_proven].warning[is_inferred].error[!is_proven && !is_inferred] {
            (verdict_word(verdict))
        }
    }
}

/// The reason of a verdict.
pub(crate) fn reason(assessment: &Assessment) -> &'static str {
    match assessment.reason {
        VerdictReason::CheckedRecords => "a check read records of the trail and passed",
        VerdictReason::CheckedSettings => "a check of settings passed; it read no records",
        VerdictReason::Attested => "the application states it; no check ran",
        VerdictReason::Gaps => "a planned check did not run for some time",
        VerdictReason::Failed => "the check failed, or the application states a failure",
        VerdictReason::Incomplete => "the check did not run to its end",
        VerdictReason::OutOfDate => "the result is out of date",
        VerdictReason::NoRecords => "there is no evidence",
        _ => "",
    }
}

/// A subject in words: `trigger coverage`.
pub(crate) fn subject_words(subject: &EvidenceSubject) -> String {
    subject.as_str().replace('_', " ")
}

/// Records as a table, assessed at the instant of the request.
pub(crate) fn evidence_table(request: &GrantedRequest, records: &[Evidence]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Evidence" {
            table {
                thead {
                    tr {
                        th scope="col" { "Subject" }
                        th scope="col" { "Verdict" }
                        th scope="col" { "Result" }
                        th scope="col" { "Recorded" }
                        th scope="col" { "By" }
                    }
                }
                tbody { @for record in records { (evidence_row(request, record)) } }
            }
        }
    }
}

fn evidence_row(request: &GrantedRequest, record: &Evidence) -> Markup {
    let assessment = record.assess(request.now);
    let record_href = request.href("/evidence/record").with("id", record.order_id);
    let history = request
        .href("/evidence/history")
        .with("subject", &record.subject);
    html! {
        tr data-id=(record.order_id) {
            th scope="row" {
                a href=(history) { bdi { (subject_words(&record.subject)) } }
                @if let Some(object) = object(record) { div.note { bdi { (object) } } }
            }
            td {
                (verdict(assessment.status))
                div.note { (reason(&assessment)) }
            }
            td {
                bdi { (record.summary_status) }
                div.note {
                    @if record.outcome.as_str() != record.summary_status { (record.outcome.as_str()) ", " }
                    (record.basis.as_str())
                }
            }
            td {
                (instant(request, record.recorded_at))
                div.note { (age(record.age(request.now))) " ago, " (linked(Some(record_href), &record.order_id.to_string())) }
            }
            td {
                bdi { (record.recorded_by) }
                @if record.actor.is_some() { div.note { (actor(request, record.actor.as_ref())) } }
            }
        }
    }
}

/// The object of a record, unless it is the check itself: `job 0198…`.
fn object(record: &Evidence) -> Option<String> {
    let fields = record.subject_ref.fields();
    let named: Vec<_> = fields
        .iter()
        .filter(|(name, _)| *name != "check")
        .map(|(name, value)| format!("{name} {}", value.to_text()))
        .collect();
    (!named.is_empty()).then(|| named.join(", "))
}
