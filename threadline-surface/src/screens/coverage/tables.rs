//! The tables of the database: whether each is captured, and since when.

use maud::{Markup, html};
use threadline_diesel::coverage::{CoverageReport, CoverageStatus, TableCoverage};
use threadline_diesel::query::TableCompleteness;

use super::is_captured;
use crate::request::GrantedRequest;
use crate::view::code::command_block;
use crate::view::instant::instant;

fn has_finding(report: &CoverageReport, table: &TableCoverage) -> bool {
    let mut findings = report.findings.iter();
    findings.any(|finding| finding.table.as_ref() == Some(&table.table))
}

/// How to capture the tables that need it. A table whose capture is broken has a finding instead.
pub(super) fn needs_capture(report: &CoverageReport) -> Markup {
    let names: Vec<_> = report
        .tables
        .iter()
        .filter(|table| table.status == CoverageStatus::NeedsCapture)
        .filter(|table| !has_finding(report, table))
        .map(|table| table.table.to_string())
        .collect();
    html! {
        @if let Some(first) = names.first() {
            section {
                h2 { "Not captured" }
                p {
                    @for (place, name) in names.iter().enumerate() {
                        @if place > 0 { ", " }
                        bdi { (name) }
                    }
                }
                p { "Derive " code { "Audited" } " on the model and run " code { "gen-triggers" } ", or without a model:" }
                (command_block(["gen-triggers", "--tables", &names.join(",")]))
                p { "If a table is not to be captured, declare it in the code: " code { "expected_gap!(" (format!("{first:?}")) ", \"why\")" } }
            }
        }
    }
}

/// All tables: those that are not captured first.
pub(super) fn table_list(
    request: &GrantedRequest,
    report: &CoverageReport,
    captured: &[TableCompleteness],
) -> Markup {
    let rank = |table: &&TableCoverage| match table.status {
        CoverageStatus::NeedsCapture => 0,
        status if is_captured(status) => 1,
        _ => 2,
    };
    let mut tables: Vec<_> = report.tables.iter().collect();
    tables.sort_by_key(rank);
    html! {
        section {
            h2 { "Tables" }
            @if tables.is_empty() {
                div.empty { p { "The database has no tables besides the trail." } }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Tables" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Table" }
                                th scope="col" { "Status" }
                                th scope="col" { "Source" }
                                th scope="col" { "Changes known since" }
                                th scope="col" { "Gaps" }
                            }
                        }
                        tbody {
                            @for table in tables {
                                @let facts = captured.iter().find(|facts| facts.table == table.table);
                                (row(request, table, facts, has_finding(report, table)))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn row(
    request: &GrantedRequest,
    table: &TableCoverage,
    facts: Option<&TableCompleteness>,
    has_finding: bool,
) -> Markup {
    let changes = request
        .screen("timeline")
        .filter(|_| is_captured(table.status))
        .map(|href| href.with("table", &table.table));
    let is_warning = table.status == CoverageStatus::NeedsCapture;
    html! {
        tr {
            th scope="row" {
                @match changes {
                    Some(href) => a href=(href) { bdi { (table.table) } },
                    None => bdi { (table.table) },
                }
            }
            td { span.badge.warning[is_warning] { (table.status.as_str()) } }
            td {
                (source(request, table))
                @if is_warning && has_finding { div.note { "capture is broken: see the findings" } }
                @if let Some(reason) = &table.reason { div.note { bdi { (reason) } } }
            }
            td { @if let Some(since) = facts.and_then(|facts| facts.known_since) { (instant(request, since)) } }
            td {
                @if let Some(facts) = facts {
                    @if facts.gaps.is_empty() {
                        "none recorded"
                    } @else {
                        details {
                            summary { (facts.gaps.len()) " recorded" }
                            ul { @for gap in &facts.gaps { li { bdi { (gap) } } } }
                        }
                    }
                }
            }
        }
    }
}

/// Where the status comes from: a declaration in the code, or only the database.
fn source(request: &GrantedRequest, table: &TableCoverage) -> &'static str {
    let settings = &request.settings;
    let is_declared = settings
        .tables
        .iter()
        .any(|known| known.name() == &table.table);
    let is_gap = || {
        let mut gaps = settings.expected_gaps.iter();
        gaps.any(|gap| gap.table().is_ok_and(|name| name == table.table))
    };
    match table.status {
        _ if is_declared || is_gap() => "declared in the code",
        CoverageStatus::Captured => "capture function in the database",
        CoverageStatus::NeedsCapture => "",
        _ => "known to Threadline",
    }
}
