//! Coverage on a terminal.

use std::fmt::Write as _;

use threadline_diesel::coverage::{
    CoverageReport, CoverageStatus, Finding, TableCoverage, shell_quoted,
};

use super::table::new_table;
use super::text::escape;

/// Which tables a report on coverage lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    All,
    None,
}

/// Coverage: findings with remedies, then tables, those that need capture first, then totals.
pub(crate) fn show_coverage(report: &CoverageReport, listed: Tables) -> String {
    let mut text = String::new();
    for group in group_by_remedy(&report.findings) {
        for line in group.lines() {
            let _ = writeln!(text, "{}", escape(&line));
        }
        for remedy in &group.remedies {
            let _ = writeln!(text, "    {}", escape(remedy));
        }
    }
    for table in uncovered_tables(report) {
        let name = table.table.to_string();
        let _ = writeln!(
            text,
            "{}: derive Audited on its model and run gen-triggers; or gen-triggers --tables {}; \
             or, if that is meant, expected_gap!({:?}, \"why\")",
            escape(&name),
            escape(&shell_quoted(&name)),
            name
        );
    }
    if listed == Tables::All && !report.tables.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{}\n", show_tables(&report.tables));
    }
    let sum = &report.summary;
    let _ = write!(
        text,
        "coverage: {} captured, {} expected gaps, {} need capture; {} errors, {} warnings, {} infos",
        sum.captured, sum.expected_gaps, sum.needs_capture, sum.errors, sum.warnings, sum.infos
    );
    text
}

fn show_tables(tables: &[TableCoverage]) -> String {
    let mut sorted: Vec<_> = tables.iter().collect();
    sorted.sort_by_key(|table| table.status != CoverageStatus::NeedsCapture);
    let mut shown = new_table();
    shown.set_header(["table", "status", "why"]);
    for table in sorted {
        shown.add_row([
            escape(&table.table.to_string()),
            table.status.as_str().to_owned(),
            escape(table.reason.as_deref().unwrap_or_default()),
        ]);
    }
    shown.to_string()
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

/// Findings that are shown with their remedies once.
struct Group<'a> {
    findings: Vec<&'a Finding>,
    /// The distinct remedies.
    remedies: Vec<String>,
}

impl Group<'_> {
    /// One line for each explanation, with all its tables.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<(&Finding, String)> = Vec::new();
        for finding in &self.findings {
            let table = finding.table.as_ref().map(ToString::to_string);
            let known = lines
                .iter_mut()
                .find(|(first, _)| has_same_explanation(first, finding));
            match (known, table) {
                (Some((_, tables)), Some(table)) => {
                    let _ = write!(tables, ", {table}");
                }
                (Some(_), None) => {}
                (None, table) => {
                    lines.push((
                        finding,
                        table.map_or_else(String::new, |table| format!(" {table}")),
                    ));
                }
            }
        }
        lines
            .into_iter()
            .map(|(finding, tables)| {
                format!(
                    "{} {}{tables}: {}",
                    finding.severity.as_str(),
                    finding.code,
                    finding.explanation
                )
            })
            .collect()
    }
}

fn has_same_explanation(one: &Finding, other: &Finding) -> bool {
    one.severity == other.severity && one.code == other.code && one.explanation == other.explanation
}

/// Groups the findings that have the same remedy, and those that have the same explanation for different
/// tables, in the order of the first of each group.
fn group_by_remedy(findings: &[Finding]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for finding in findings {
        let remedy = finding.remedy.to_string();
        let known = groups.iter_mut().find(|group| {
            let first = group.findings[0];
            has_same_explanation(first, finding)
                || (first.severity == finding.severity && group.remedies == [remedy.as_str()])
        });
        match known {
            Some(group) => {
                group.findings.push(finding);
                if !group.remedies.contains(&remedy) {
                    group.remedies.push(remedy);
                }
            }
            None => groups.push(Group {
                findings: vec![finding],
                remedies: vec![remedy],
            }),
        }
    }
    groups
}
