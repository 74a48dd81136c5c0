//! Coverage on a terminal.

use std::fmt::Write as _;

use threadline_diesel::coverage::{
    CoverageReport, CoverageStatus, FindingGroup, Remedy, TableCoverage, shell_quoted,
};

use super::list::show_table;
use super::text::{escape, wrap_for_terminal};
use crate::settings::settings;

/// Which tables a report on coverage lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    All,
    None,
}

/// Coverage: findings with remedies, then tables, those that need capture first, then totals.
pub(crate) fn show_coverage(report: &CoverageReport, listed: Tables) -> String {
    let mut text = String::new();
    for group in report.findings_by_remedy() {
        for line in explanation_lines(&group) {
            let _ = writeln!(text, "{}", wrap_for_terminal(&escape(&line), 4));
        }
        for remedy in &group.remedies {
            for line in remedy_lines(remedy) {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    let uncovered: Vec<_> = uncovered_tables(report)
        .map(|table| table.table.to_string())
        .collect();
    if let Some(first) = uncovered.first() {
        let names = uncovered.join(",");
        let line = format!(
            "{}: derive Audited on {} and run gen-triggers; or gen-triggers --tables {}; or, if that is \
             meant, expected_gap!({first:?}, \"why\")",
            escape(&uncovered.join(", ")),
            if uncovered.len() == 1 {
                "its model"
            } else {
                "their models"
            },
            escape(&shell_quoted(&names)),
        );
        let _ = writeln!(text, "{}", wrap_for_terminal(&line, 4));
    }
    if listed == Tables::All && !report.tables.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{}\n", show_tables(&report.tables));
    }
    let sum = &report.summary;
    let totals = format!(
        "coverage: {} captured, {} expected gaps, {} need capture; {} errors, {} warnings, {} infos",
        sum.captured, sum.expected_gaps, sum.needs_capture, sum.errors, sum.warnings, sum.infos
    );
    text.push_str(&wrap_for_terminal(&totals, 4));
    text
}

fn show_tables(tables: &[TableCoverage]) -> String {
    let mut sorted: Vec<_> = tables.iter().collect();
    sorted.sort_by_key(|table| table.status != CoverageStatus::NeedsCapture);
    let rows: Vec<_> = sorted
        .into_iter()
        .map(|table| {
            [
                escape(&table.table.to_string()),
                table.status.as_str().to_owned(),
                escape(table.reason.as_deref().unwrap_or_default()),
            ]
        })
        .collect();
    show_table(["table", "status", "why"], &rows)
}

/// The tables that need capture. The finding of a table whose capture is broken has its remedy.
fn uncovered_tables(report: &CoverageReport) -> impl Iterator<Item = &TableCoverage> {
    let has_finding = |table: &TableCoverage| {
        let mut findings = report.findings.iter();
        findings.any(|finding| finding.table.as_ref() == Some(&table.table))
    };
    report
        .tables
        .iter()
        .filter(move |table| table.status == CoverageStatus::NeedsCapture && !has_finding(table))
}

/// One line for each explanation, with all its tables.
fn explanation_lines(group: &FindingGroup<'_>) -> Vec<String> {
    let explanations = group.explanations().into_iter();
    explanations
        .map(|(finding, tables)| {
            let tables: Vec<_> = tables.iter().map(ToString::to_string).collect();
            let space = if tables.is_empty() { "" } else { " " };
            format!(
                "{} {}{space}{}: {}",
                finding.severity.as_str(),
                finding.code,
                tables.join(", "),
                finding.explanation
            )
        })
        .collect()
}

/// The lines of a remedy. On a terminal, prose is wrapped; a command is one line, so that it can be copied.
fn remedy_lines(remedy: &Remedy) -> Vec<String> {
    let line = |text: &str| format!("    {}", escape(text));
    let prose = |text: &str| wrap_for_terminal(&line(text), 4);
    match remedy {
        Remedy::Decide { advice } => vec![prose(advice)],
        Remedy::Command {
            first: Some(first),
            arguments,
        } if settings().width.is_some() => {
            let command = Remedy::Command {
                first: None,
                arguments: arguments.clone(),
            };
            vec![prose(&format!("{first}; then")), line(&command.to_string())]
        }
        remedy => vec![line(&remedy.to_string())],
    }
}
