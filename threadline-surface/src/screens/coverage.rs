//! Coverage: which tables are captured, what is wrong, and the state of the trail.

mod badge;
mod doctor;
mod findings;
mod tables;

use std::time::Duration;

use axum::http::StatusCode;
use maud::{Markup, html};
use threadline_diesel::coverage::{CoverageReport, CoverageStatus, Severity};

pub(crate) use self::badge::{coverage_badge, show_badge};
use self::doctor::doctor_table;
use self::findings::{findings, suspension_list};
use self::tables::{needs_capture, table_list};
use crate::coverage_check::{self, CheckedCoverage};
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::question::{FieldError, GivenInstant};
use crate::request::GrantedRequest;
use crate::view::form::{Choice, Field, field, select};
use crate::view::instant::instant;
use crate::view::polled::polled;

/// The seconds after which the script loads the answer again.
const POLL_SECONDS: u32 = 30;

const SEVERITIES: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Info];

/// What the address asks for.
#[derive(Debug)]
struct Question {
    schema: Option<String>,
    severity: Option<Severity>,
    since: Option<GivenInstant>,
}

/// An answer, and whether it is an older one because the check failed.
struct Answer {
    report: CoverageReport,
    checked: std::sync::Arc<CheckedCoverage>,
    has_failed: bool,
}

pub(crate) async fn show(request: &GrantedRequest) -> Result<Screen, PageError> {
    match page(request).await {
        Err(PageError::Invalid(errors))
            if !request.wants_json() && errors.iter().all(|error| !error.field.is_empty()) =>
        {
            let body = filter_form(request, None, &errors);
            Ok(Page::new("Coverage", body)
                .status(StatusCode::UNPROCESSABLE_ENTITY)
                .into())
        }
        outcome => outcome,
    }
}

async fn page(request: &GrantedRequest) -> Result<Screen, PageError> {
    let question = Question::take(request)?;
    let answer = answer(request, &question).await?;
    if request.wants_json() {
        return Screen::json(&answer.report);
    }
    let part = request.href("/parts/coverage").with_all(question.pairs());
    let again = request.href("/coverage").with_all(question.pairs());
    let body = html! {
        (polled("coverage", &part, POLL_SECONDS, (&again, "Check again"), &body(request, &answer)))
        details {
            summary { "Filter" }
            (filter_form(request, Some(&question), &[]))
        }
    };
    Ok(Page::new("Coverage", body)
        .terminal(question.terminal())
        .into())
}

/// The answer as a part of the page.
pub(crate) async fn show_answer(request: &GrantedRequest) -> Result<Screen, PageError> {
    let question = Question::take(request)?;
    let answer = answer(request, &question).await?;
    Ok(Screen::Fragment(body(request, &answer)))
}

/// The current answer, or the last good one if the check fails.
async fn answer(request: &GrantedRequest, question: &Question) -> Result<Answer, PageError> {
    let settings = &request.settings;
    let mut has_failed = false;
    let checked = if question.is_whole() {
        match settings.coverage.current(settings).await {
            Ok(checked) => checked,
            Err(error) => {
                has_failed = true;
                settings.coverage.last().ok_or(error)?
            }
        }
    } else {
        let mut query = coverage_check::query(settings)?;
        if let Some(schema) = &question.schema {
            query = query.schema(schema);
        }
        if let Some(since) = &question.since {
            query = query.records_since(since.instant);
        }
        coverage_check::check(settings, &query).await?.into()
    };
    let mut report = checked.report.clone();
    if let Some(severity) = question.severity {
        report
            .findings
            .retain(|finding| finding.severity == severity);
    }
    Ok(Answer {
        report,
        checked,
        has_failed,
    })
}

fn body(request: &GrantedRequest, answer: &Answer) -> Markup {
    let report = &answer.report;
    html! {
        (headline(request, answer))
        (findings(request, report))
        (needs_capture(report))
        (table_list(request, report, &answer.checked.captured))
        (suspension_list(request, &answer.checked.suspensions))
        (doctor_table(&answer.checked.doctor))
    }
}

fn headline(request: &GrantedRequest, answer: &Answer) -> Markup {
    let summary = &answer.report.summary;
    let tables = summary.captured + summary.needs_capture;
    html! {
        p.headline {
            strong { (summary.captured) " of " (tables) }
            " tables captured"
            @if summary.expected_gaps > 0 { ", " (plural(summary.expected_gaps, "expected gap")) }
            " · "
            span.badge.error[summary.errors > 0] { (plural(summary.errors, "error")) }
            " "
            span.badge.warning[summary.warnings > 0] { (plural(summary.warnings, "warning")) }
            " "
            span.badge { (plural(summary.infos, "info")) }
        }
        p.note {
            "Checked " (instant(request, answer.report.checked_at))
            @if answer.has_failed {
                " " span.token.warning { "the last check failed" }
                " This answer is " (age(answer.checked.age())) " old."
            }
        }
    }
}

fn plural(count: usize, name: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {name}{plural}")
}

/// An age in its largest unit.
fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

/// Whether a table needs a look first.
fn is_captured(status: CoverageStatus) -> bool {
    status == CoverageStatus::Captured
}

fn filter_form(
    request: &GrantedRequest,
    question: Option<&Question>,
    errors: &[FieldError],
) -> Markup {
    let schema = question.and_then(|one| one.schema.as_deref());
    let since = question.and_then(|one| one.since.as_ref());
    let severity = question.and_then(|one| one.severity);
    let choices = SEVERITIES.map(|one| Choice::new(one.as_str(), severity == Some(one)));
    html! {
        form method="get" action=(request.href("/coverage")) {
            div.fields {
                (field(&Field::new("schema", "Schema").value(schema.unwrap_or_default()).errors(errors)))
                (select("severity", "Severity", [Choice::new("", severity.is_none())].into_iter().chain(choices)))
                (field(&Field::new("since", "Records since")
                    .value(since.map(|since| since.text.as_str()).unwrap_or_default())
                    .hint("-7d; a day unless given")
                    .errors(errors)))
            }
            div.buttons {
                button.primary type="submit" { "Apply" }
                a.button href=(request.href("/coverage")) { "Reset" }
            }
        }
    }
}

impl Question {
    fn take(request: &GrantedRequest) -> Result<Self, PageError> {
        let mut parameters = request.parameters();
        let question = Self {
            schema: parameters.text("schema"),
            severity: parameters.parsed("severity", |text| {
                let found = SEVERITIES.into_iter().find(|one| one.as_str() == text);
                found.ok_or_else(|| "write error, warning or info".to_owned())
            }),
            since: parameters.parsed("since", |text| {
                GivenInstant::parse(text, request.now, request.zone())
            }),
        };
        parameters.finish()?;
        Ok(question)
    }

    /// Whether the shared check answers it.
    fn is_whole(&self) -> bool {
        self.schema.is_none() && self.since.is_none()
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let pairs = [
            ("schema", self.schema.clone()),
            (
                "severity",
                self.severity.map(|severity| severity.as_str().to_owned()),
            ),
            ("since", self.since.as_ref().map(|since| since.text.clone())),
        ];
        let given = pairs.into_iter();
        given
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    fn terminal(&self) -> Terminal {
        let mut arguments = vec!["coverage".to_owned()];
        let mut query = vec!["Coverage::registered()?".to_owned()];
        if let Some(schema) = &self.schema {
            arguments.extend(["--schema".to_owned(), schema.clone()]);
            query.push(format!("schema({schema:?})"));
        }
        if let Some(since) = &self.since {
            let since = since.fixed().text;
            query.push(format!("records_since({since:?}.parse()?)"));
            arguments.extend(["--since".to_owned(), since]);
        }
        Terminal::command(arguments).rust(format!(
            "threadline::coverage(&mut conn, &{}).await?;\nthreadline::doctor(&mut conn, &Doctor::new()).await",
            query.join(".")
        ))
    }
}
