//! Coverage on a terminal.

use std::fmt::Write as _;

use threadline_diesel::coverage::{
    CoverageReport, CoverageStatus, Finding, Remedy, TableCoverage, shell_quoted,
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
    for group in group_by_remedy(&report.findings) {
        for line in group.lines() {
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

/// Findings that are shown with their remedies once.
struct Group<'a> {
    findings: Vec<&'a Finding>,
    /// The distinct remedies. Commands for several tables are one.
    remedies: Vec<Remedy>,
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

fn has_same_explanation(one: &Finding, other: &Finding) -> bool {
    one.severity == other.severity && one.code == other.code && one.explanation == other.explanation
}

/// Groups the findings that have the same remedy, or the same command for different tables, and those that
/// have the same explanation for different tables, in the order of the first of each group.
fn group_by_remedy(findings: &[Finding]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for finding in findings {
        let remedy = &finding.remedy;
        let known = groups.iter_mut().find(|group| {
            let first = group.findings[0];
            let has_same_remedy = first.severity == finding.severity
                && (group.remedies == [remedy.clone()]
                    || first.code == finding.code
                        && merge_commands(&first.remedy, remedy).is_some());
            has_same_explanation(first, finding) || has_same_remedy
        });
        let Some(group) = known else {
            groups.push(Group {
                findings: vec![finding],
                remedies: vec![remedy.clone()],
            });
            continue;
        };
        group.findings.push(finding);
        if group.remedies.contains(remedy) {
            continue;
        }
        let merged = group.remedies.iter_mut().find_map(|known| {
            let merged = merge_commands(known, remedy)?;
            Some((known, merged))
        });
        match merged {
            Some((known, merged)) => *known = merged,
            None => group.remedies.push(remedy.clone()),
        }
    }
    groups
}

/// One command instead of two that differ in tables and their rules.
fn merge_commands(one: &Remedy, other: &Remedy) -> Option<Remedy> {
    let (
        Remedy::Command { first, arguments },
        Remedy::Command {
            first: other_first,
            arguments: other_arguments,
        },
    ) = (one, other)
    else {
        return None;
    };
    let mut merged = arguments.clone();
    match (arguments.as_slice(), other_arguments.as_slice()) {
        _ if first != other_first => return None,
        ([command, option, _, ..], [other, same, tables, rules @ ..])
            if command == "gen-triggers" && command == other && option == same =>
        {
            if !merged[2].split(',').any(|table| table == tables) {
                merged[2] = format!("{},{tables}", merged[2]);
                merged.extend_from_slice(rules);
            }
        }
        ([command, _, ..], [other, tables @ ..])
            if command != "gen-triggers" && command == other && !tables.is_empty() =>
        {
            for table in tables {
                if !merged.contains(table) {
                    merged.push(table.clone());
                }
            }
        }
        _ => return None,
    }
    Some(Remedy::Command {
        first: first.clone(),
        arguments: merged,
    })
}
