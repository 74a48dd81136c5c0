//! Evidence: what checks of the audit system prove, and since when.

mod document;
mod history;
mod record;
#[cfg(feature = "background")]
mod requested;

use maud::{Markup, html};
use threadline_diesel::PageSize;
use threadline_diesel::evidence::{
    Check, CheckSchedule, DueState, Evidence, EvidenceDocumentQuery, EvidenceSubject, due_checks,
    evidence_document, overview,
};

pub(crate) use self::document::show as show_document;
pub(crate) use self::history::show as show_history;
pub(crate) use self::record::show as show_record;
#[cfg(feature = "background")]
pub(crate) use self::requested::{request_check, requested_checks};
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::code::command_block;
use crate::view::evidence::{evidence_table, subject_words};
use crate::view::form::{Field, field};
use crate::view::instant::{age, instant};
use crate::view::states::empty_state;

/// The number of records on the page.
const SHOWN: u32 = 200;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    request.parameters().finish()?;
    if request.wants_json() {
        let query = EvidenceDocumentQuery::latest();
        return Screen::json(&evidence_document(context.conn, &query).await?);
    }
    let mut newest = overview(context.conn, PageSize::new(SHOWN).unwrap_or_default()).await?;
    newest.sort_by(|one, other| one.subject.as_str().cmp(other.subject.as_str()));
    let due = match &request.settings.evidence {
        Some(plan) => due_checks(context.conn, plan).await?,
        None => Vec::new(),
    };
    #[cfg(feature = "background")]
    let requested = requested_checks(context).await?;
    #[cfg(not(feature = "background"))]
    let requested = html! {};
    let body = html! {
        p.note {
            "Proven: a check read records and passed. Inferred: settings were checked, or the application states it. "
            "Unsupported: it failed, is out of date, or there is no evidence."
        }
        @if newest.is_empty() {
            (empty_state("No evidence is recorded", &html! {
                p { "A worker records the results of checks. To run all of them now:" }
                (command_block(["evidence", "run"]))
            }))
        } @else {
            (evidence_table(request, &newest))
        }
        (without_evidence(&newest))
        (requested)
        (checks(request, &due))
        (document_form(request))
    };
    Ok(Page::new("Evidence", body).terminal(terminal()).into())
}

fn terminal() -> Terminal {
    Terminal::command(["evidence", "show"])
        .sql(
            "SELECT DISTINCT ON (subject, subject_ref, basis) * FROM threadline.audit_evidence\n\
             ORDER BY subject, subject_ref, basis, order_id DESC;",
        )
        .rust("threadline::evidence::overview(&mut conn, PageSize::default()).await?")
}

/// The subjects of which there is no record.
fn without_evidence(newest: &[Evidence]) -> Markup {
    let is_known = |subject: &EvidenceSubject| newest.iter().any(|one| one.subject == *subject);
    let missing: Vec<_> = EvidenceSubject::ALL
        .iter()
        .filter(|subject| !is_known(subject))
        .map(subject_words)
        .collect();
    html! {
        @if !missing.is_empty() {
            p.note { strong { "Unsupported, without any evidence: " } (missing.join(", ")) "." }
        }
    }
}

/// The checks, when they ran last, and how to run them again.
fn checks(request: &GrantedRequest, due: &[CheckSchedule]) -> Markup {
    let run = request
        .screen("evidence_check")
        .filter(|_| request.scope().is_none());
    html! {
        section {
            h2 { "Check again" }
            div.scroll tabindex="0" role="region" aria-label="Checks" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Check" }
                            @if !due.is_empty() { th scope="col" { "Planned" } }
                            th scope="col" { "Command" }
                            @if run.is_some() { th scope="col" { "In the background" } }
                        }
                    }
                    tbody {
                        @for check in Check::ALL {
                            tr {
                                th scope="row" { (check) }
                                @if !due.is_empty() {
                                    td { (planned(request, due.iter().find(|one| one.check == *check))) }
                                }
                                td { code { "threadline evidence run " (check) } }
                                @if let Some(run) = &run {
                                    td {
                                        form method="post" action=(run) {
                                            button type="submit" name="check" value=(check) aria-label={ "Run the check " (check) } { "Run" }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn planned(request: &GrantedRequest, schedule: Option<&CheckSchedule>) -> Markup {
    let Some(schedule) = schedule else {
        return html! { span.note { "not planned" } };
    };
    let interval = std::time::Duration::from_secs(schedule.interval_seconds);
    let interval = chrono::TimeDelta::from_std(interval).unwrap_or_default();
    let is_overdue = schedule.state == DueState::Overdue;
    let is_due = schedule.state == DueState::Due;
    html! {
        span.badge.error[is_overdue].warning[is_due] { (schedule.state.as_str()) }
        div.note {
            "every " (age(interval)) ", "
            @match schedule.last_run_at {
                Some(last) => { "last " (instant(request, last)) }
                None => "never ran",
            }
        }
    }
}

/// The form of a document for an auditor.
fn document_form(request: &GrantedRequest) -> Markup {
    let file = request.href("/evidence/document.json");
    html! {
        section {
            h2 { "Document for an auditor" }
            p.note {
                "A JSON document with its SHA-256: with a window all evidence of that time and the times without a "
                "check, otherwise the newest."
            }
            form method="get" action=(file) {
                div.fields {
                    (field(&Field::new("from", "From").hint("-90d, 2026-01-01")))
                    (field(&Field::new("to", "To").hint("now")))
                    (field(&Field::new("subject", "Subject").hint("trigger_coverage; all unless given")))
                }
                div.buttons { button.primary type="submit" { "Download" } }
            }
        }
    }
}
