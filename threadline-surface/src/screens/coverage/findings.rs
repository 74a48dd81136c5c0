//! Findings with their remedies, and suspensions of capture.

use maud::{Markup, html};
use threadline_core::table::TableName;
use threadline_diesel::coverage::{CoverageReport, Finding, Severity};
use threadline_diesel::query::Suspension;

use crate::request::GrantedRequest;
use crate::view::code::remedy;
use crate::view::id::transaction_id;
use crate::view::instant::instant;

/// The findings, the most severe first, each remedy once.
pub(super) fn findings(request: &GrantedRequest, report: &CoverageReport) -> Markup {
    html! {
        section {
            h2 { "Findings" }
            @if report.findings.is_empty() {
                div.empty { p { "No findings." } }
            } @else {
                ul.entries aria-label="Findings" {
                    @for group in report.findings_by_remedy() {
                        li {
                            @for (first, tables) in group.explanations() { (finding(request, first, &tables)) }
                            @for one in &group.remedies { (remedy(one)) }
                        }
                    }
                }
            }
        }
    }
}

/// A finding with its tables.
fn finding(request: &GrantedRequest, finding: &Finding, tables: &[&TableName]) -> Markup {
    let is_error = finding.severity == Severity::Error;
    let is_warning = finding.severity == Severity::Warning;
    let is_of_column = finding.code.as_str().starts_with("column_");
    let redaction = request.screen("redaction").filter(|_| is_of_column);
    html! {
        div.line {
            span.badge.error[is_error].warning[is_warning] { (finding.severity.as_str()) }
            @for table in tables {
                " " span.table { bdi { (table) } }
                @if let Some(href) = &redaction { " " a href=(href.clone().with("table", table)) { "its columns" } }
            }
            " " span.who { code { (finding.code) } }
        }
        p { bdi { (finding.explanation) } "." }
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
