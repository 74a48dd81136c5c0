//! Findings with their remedies, and suspensions of capture.

use maud::{Markup, html};
use threadline_diesel::coverage::{CoverageReport, Finding, Severity};
use threadline_diesel::query::Suspension;

use crate::request::GrantedRequest;
use crate::view::code::remedy;
use crate::view::id::transaction_id;
use crate::view::instant::instant;

/// The findings, the most severe first.
pub(super) fn findings(request: &GrantedRequest, report: &CoverageReport) -> Markup {
    html! {
        section {
            h2 { "Findings" }
            @if report.findings.is_empty() {
                div.empty { p { "No findings." } }
            } @else {
                ul.entries aria-label="Findings" {
                    @for one in &report.findings { (finding(request, one)) }
                }
            }
        }
    }
}

fn finding(request: &GrantedRequest, finding: &Finding) -> Markup {
    let is_error = finding.severity == Severity::Error;
    let is_warning = finding.severity == Severity::Warning;
    let table = finding.table.as_ref();
    let policy = table.and_then(|table| {
        let is_of_column = finding.code.as_str().starts_with("column_");
        let href = request.screen("redaction").filter(|_| is_of_column)?;
        Some(href.with("table", table))
    });
    html! {
        li {
            div.line {
                span.badge.error[is_error].warning[is_warning] { (finding.severity.as_str()) }
                @if let Some(table) = table { " " span.table { bdi { (table) } } }
                " " span.who { code { (finding.code) } }
            }
            p { bdi { (finding.explanation) } "." }
            (remedy(&finding.remedy))
            @if let Some(href) = policy { div.links { a href=(href) { "its columns" } } }
        }
    }
}

/// The newest suspensions of capture.
pub(super) fn suspension_list(request: &GrantedRequest, suspensions: &[Suspension]) -> Markup {
    html! {
        @if !suspensions.is_empty() {
            section {
                h2 { "Suspensions of capture" }
                p.note { "Changes of these tables in these transactions are not in the trail. Newest first." }
                ul.entries aria-label="Suspensions" {
                    @for one in suspensions {
                        li {
                            div.line {
                                (instant(request, one.suspended_at))
                                " " span.table {
                                    @for (place, table) in one.tables.iter().enumerate() {
                                        @if place > 0 { ", " }
                                        bdi { (table) }
                                    }
                                }
                                " " span.who { "by " bdi { (one.suspended_by) } }
                            }
                            p { bdi { (one.reason) } }
                            div.links { span { "transaction " (transaction_id(request, one.transaction_id)) } }
                        }
                    }
                }
            }
        }
    }
}
