//! Reports on coverage, policy and the installation, on a terminal.

use std::fmt::Write as _;

use threadline_diesel::coverage::{CoverageReport, CoverageStatus, Finding, shell_quoted};
use threadline_diesel::doctor::DoctorReport;
use threadline_diesel::documents::VerificationDocument;
use threadline_diesel::policy::{PolicyReport, PolicyStatus};

use super::table::new_table;
use super::text::escape;

/// Coverage: tables, findings with remedies, and totals.
pub(crate) fn show_coverage(report: &CoverageReport) -> String {
    let mut text = String::new();
    if !report.tables.is_empty() {
        let mut tables = new_table();
        tables.set_header(["table", "status", "why"]);
        for table in &report.tables {
            tables.add_row([
                escape(&table.table.to_string()),
                table.status.as_str().to_owned(),
                escape(table.reason.as_deref().unwrap_or_default()),
            ]);
        }
        let _ = writeln!(text, "{tables}\n");
    }
    for table in &report.tables {
        let has_finding = report
            .findings
            .iter()
            .any(|finding| finding.table.as_ref() == Some(&table.table));
        // A finding has the remedy for a table whose capture is broken.
        if table.status == CoverageStatus::NeedsCapture && !has_finding {
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
    }
    for finding in &report.findings {
        let _ = writeln!(text, "{}", show_finding(finding));
    }
    let sum = &report.summary;
    let _ = write!(
        text,
        "coverage: {} captured, {} expected gaps, {} need capture; {} errors, {} warnings, {} infos",
        sum.captured, sum.expected_gaps, sum.needs_capture, sum.errors, sum.warnings, sum.infos
    );
    text
}

/// A finding and its remedy.
fn show_finding(finding: &Finding) -> String {
    let table = finding
        .table
        .as_ref()
        .map(|table| format!(" {table}"))
        .unwrap_or_default();
    escape(&format!(
        "{} {}{table}: {}",
        finding.severity.as_str(),
        finding.code,
        finding.explanation
    )) + "\n    "
        + &escape(&finding.remedy.to_string())
}

/// The comparison of policies: one line per table, with the differences.
pub(crate) fn show_policy(report: &PolicyReport) -> String {
    let mut tables = new_table();
    tables.set_header(["table", "status", "what"]);
    for table in &report.tables {
        let mut what: Vec<_> = table.differences.iter().map(ToString::to_string).collect();
        if table.status != PolicyStatus::Matches {
            what.extend(table.notes.iter().cloned());
        }
        let what: Vec<_> = what.iter().map(|line| escape(line)).collect();
        tables.add_row([
            escape(&table.table.to_string()),
            table.status.as_str().to_owned(),
            what.join("\n"),
        ]);
    }
    let sum = &report.summary;
    format!(
        "{tables}\n\npolicy: {} match, {} drift, {} cannot be told",
        sum.matches, sum.drift, sum.cannot_tell
    )
}

/// The checks of the doctor.
pub(crate) fn show_doctor(report: &DoctorReport) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let _ = writeln!(
            text,
            "{:7} {:21} {}",
            check.status.as_str(),
            check.id,
            escape(&check.text)
        );
        if check.id == "trail_size" {
            show_periods(&mut text, &check.details);
        }
        if let Some(hint) = &check.hint {
            let _ = writeln!(text, "        {}", escape(hint));
        }
    }
    let sum = &report.summary;
    let _ = write!(
        text,
        "doctor: {} ok, {} to look at, {} failed, {} unknown",
        sum.ok, sum.warn, sum.fail, sum.unknown
    );
    text
}

/// The partitions of the trail that have rows.
fn show_periods(text: &mut String, periods: &[serde_json::Value]) {
    for period in periods {
        let number = |field: &str| period[field].as_i64().unwrap_or_default();
        if number("rows") > 0 {
            let _ = writeln!(
                text,
                "        {}: about {} changes, {} kB",
                period["period"]
                    .as_str()
                    .unwrap_or_default()
                    .replace('_', "-"),
                number("changes"),
                number("bytes") / 1024
            );
        }
    }
}

/// The result of `verify`: coverage, policy, migrations, and whether all are in order.
pub(crate) fn show_verification(verification: &VerificationDocument) -> String {
    let migrations = &verification.migrations;
    let mut text = format!(
        "{}\n\n{}\n\nmigrations: {}",
        show_coverage(&verification.coverage),
        show_policy(&verification.policy),
        migrations.status.as_str()
    );
    for problem in &migrations.problems {
        let _ = write!(text, "\n    {}", escape(problem));
    }
    let verified = if verification.verified { "yes" } else { "no" };
    let _ = write!(text, "\n\nverified: {verified}");
    text
}
