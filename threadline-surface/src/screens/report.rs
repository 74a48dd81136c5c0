//! The report: a printable answer to a ticket, and its JSON document.

mod page;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use threadline_core::action;
use threadline_diesel::query::TableCompleteness;

use self::page::{ReportPage, form_page};
use crate::access::Capability;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::preferences::Preferences;
use crate::question::timeline_terminal;
use crate::report::{Evidence, Report, ReportQuestion, digest, read, sentences, unknown};
use crate::request::{GrantedRequest, PageContext};
use crate::self_audit;
use crate::view::completeness::Completeness;

/// The page.
pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    if context.request.wants_json() {
        return document(context).await;
    }
    let request = context.request;
    match answer(context).await {
        Err(PageError::Invalid(errors)) => Ok(form_page(request, &errors).into()),
        outcome => outcome,
    }
}

async fn answer(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let question = question_of(context.request, false)?.0;
    if question.is_empty() {
        return Ok(form_page(context.request, &[]).into());
    }
    let request = in_zone(context.request, &question);
    let mut context = PageContext {
        conn: context.conn,
        request: &request,
    };
    let report = read(&mut context, &question).await?;
    let evidence = evidence_of(&request, &report);
    let canonical = evidence.canonical()?;
    let digest = digest(&canonical);
    record(&request, &question, &report, &digest).await;
    let page = ReportPage {
        request: &request,
        question: &question,
        report: &report,
        evidence: &evidence,
        digest: &digest,
        end: end(&report),
    };
    let title = match &question.ticket {
        Some(ticket) => format!("Report for {ticket}"),
        None => "Report".to_owned(),
    };
    let terminal = terminal(&question, end(&report));
    Ok(Page::new(title, page.body(&terminal)?)
        .terminal(terminal)
        .zone(request.zone())
        .into())
}

/// The JSON document. With `evidence=true` it is the canonical JSON alone, of which the digest is the SHA-256.
pub(crate) async fn document(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let (question, is_bare) = question_of(request, true)?;
    if question.is_empty() {
        let message = "give a transaction, a correlation or filters";
        return Err(crate::view::states::field_required("transaction", message));
    }
    let report = read(context, &question).await?;
    let evidence = evidence_of(request, &report);
    let canonical = evidence.canonical()?;
    let sha256 = digest(&canonical);
    record(request, &question, &report, &sha256).await;
    if is_bare {
        return Ok(Screen::Json(canonical));
    }
    let zone = question.zone.unwrap_or(request.zone());
    let state = evidence.state()?;
    Screen::json(&ReportDocument {
        format_version: 1,
        ticket: question.ticket.as_deref(),
        question: question.question.as_deref(),
        answer: sentences(&report, &evidence, zone),
        unknown: unknown(&report, &evidence),
        completeness: match &report.completeness {
            Completeness::Scoped => &[],
            Completeness::Tables { tables, .. } => tables,
        },
        command: terminal(&question, end(&report)).command,
        snapshot: &report.snapshot,
        is_as_shared: question.digest.as_ref().map(|shared| *shared == sha256),
        differences: question
            .shared
            .as_ref()
            .map(|shared| shared.differences(&state))
            .unwrap_or_default(),
        evidence: RawValue::from_string(canonical).map_err(|_| PageError::Internal("json"))?,
        sha256,
    })
}

/// The document of a report.
#[derive(Serialize)]
struct ReportDocument<'a> {
    format_version: u32,
    ticket: Option<&'a str>,
    question: Option<&'a str>,
    answer: Vec<String>,
    unknown: Vec<String>,
    completeness: &'a [TableCompleteness],
    command: Option<String>,
    snapshot: &'a str,
    /// Whether the evidence is that of the address; none if the address has no digest.
    is_as_shared: Option<bool>,
    differences: Vec<String>,
    /// The SHA-256 of the text of `evidence`.
    sha256: String,
    evidence: Box<RawValue>,
}

/// The question of the address, and whether only the evidence is wanted.
fn question_of(
    request: &GrantedRequest,
    is_document: bool,
) -> Result<(ReportQuestion, bool), PageError> {
    let mut parameters = request.parameters();
    let question = ReportQuestion::take(&mut parameters, request.now, request.zone());
    let is_bare = is_document && parameters.flag("evidence");
    parameters.finish()?;
    if question.filters.fields.scan_values.is_some() && !request.allows(Capability::Values) {
        return Err(PageError::Forbidden(Capability::Values));
    }
    Ok((question, is_bare))
}

/// The request with the zone of the report.
fn in_zone(request: &GrantedRequest, question: &ReportQuestion) -> GrantedRequest {
    GrantedRequest {
        preferences: Preferences {
            zone: question.zone.unwrap_or(request.zone()),
            ..request.preferences
        },
        ..request.clone()
    }
}

fn evidence_of<'a>(request: &GrantedRequest, report: &'a Report) -> Evidence<'a> {
    let with_values = request.allows(Capability::Values);
    Evidence::new(&report.entries, &report.actions, &report.rules, with_values)
}

/// The end of the window of a permalink: the snapshot, or a change that was captured while it was taken.
fn end(report: &Report) -> DateTime<Utc> {
    let changes = report.entries.iter().map(|entry| entry.change.captured_at);
    let actions = report.actions.iter().map(|action| action.recorded_at);
    changes.chain(actions).fold(report.taken_at, Ord::max)
}

async fn record(
    request: &GrantedRequest,
    question: &ReportQuestion,
    report: &Report,
    digest: &str,
) {
    let mut action = action!("console.report")
        .meta("rows", report.entries.len())
        .meta("sha256", digest)
        .meta("scoped", request.scope().is_some())
        .meta("filters", self_audit::recorded_filters(&question.filters));
    if let Some(id) = &question.transaction {
        action = action.meta("transaction", id.to_string());
    }
    self_audit::record_request(request, "report", action).await;
}

/// How to read the same changes without the console.
fn terminal(question: &ReportQuestion, end: DateTime<Utc>) -> Terminal {
    if let Some(id) = &question.transaction {
        return Terminal::command(["incident", &id.to_string()]).sql(format!(
            "SELECT * FROM threadline.audit_timeline WHERE transaction_id = '{id}' ORDER BY id;"
        ));
    }
    let filters = question.filters_until(end);
    let mut arguments = vec!["export".to_owned(), "--format=ndjson".to_owned()];
    arguments.extend(filters.arguments());
    let terminal = Terminal::command(arguments);
    match timeline_terminal(&filters, false).sql {
        // A report has more changes than a page.
        Some(sql) => terminal.sql(sql.replace(" LIMIT 50;", ";")),
        None => terminal,
    }
}
