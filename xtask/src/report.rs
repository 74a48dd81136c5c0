//! Reports about the trail on a terminal.

use std::fmt::Write as _;

use threadline_core::registry::registered_tables;
use threadline_core::table::{AuditedTable, ColumnRule, TableName};
use threadline_diesel::coverage::{
    CoverageReport, CoverageStatus, Finding, FindingCode, Remedy, shell_quoted,
};
use threadline_diesel::doctor::DoctorReport;
use threadline_diesel::policy::{DeployedPolicy, PolicyReport, PolicyStatus};

use crate::show::new_table;

/// A text without what a terminal would act on.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '␣' } else { c })
        .collect()
}

/// Coverage for a person: tables, findings with what mends them, and the numbers.
pub(crate) fn show_coverage(report: &CoverageReport) -> String {
    let mut text = String::new();
    if !report.tables.is_empty() {
        let mut tables = new_table();
        tables.set_header(["table", "status", "why"]);
        for table in &report.tables {
            tables.add_row([
                printable(&table.table.to_string()),
                table.status.as_str().to_owned(),
                printable(table.reason.as_deref().unwrap_or_default()),
            ]);
        }
        let _ = writeln!(text, "{tables}\n");
    }
    for table in &report.tables {
        let has_finding = report
            .findings
            .iter()
            .any(|finding| finding.table.as_ref() == Some(&table.table));
        // A table whose capture is broken is mended, not captured anew.
        if table.status == CoverageStatus::NeedsCapture && !has_finding {
            let name = table.table.to_string();
            let _ = writeln!(
                text,
                "{}: derive Audited on its model and run gen-triggers; or gen-triggers --tables {}; \
                 or, if that is meant, expected_gap!({:?}, \"why\")",
                printable(&name),
                printable(&shell_quoted(&name)),
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

pub(crate) fn show_finding(finding: &Finding) -> String {
    let table = finding
        .table
        .as_ref()
        .map(|table| format!(" {table}"))
        .unwrap_or_default();
    printable(&format!(
        "{} {}{table}: {}",
        finding.severity.as_str(),
        finding.code,
        finding.explanation
    )) + "\n    "
        + &printable(&finding.remedy.to_string())
}

/// The comparison of policies for a person: a line a table, and what differs.
pub(crate) fn show_policy(report: &PolicyReport) -> String {
    let mut tables = new_table();
    tables.set_header(["table", "status", "what"]);
    for table in &report.tables {
        let mut what: Vec<_> = table.differences.iter().map(ToString::to_string).collect();
        if table.status != PolicyStatus::Matches {
            what.extend(table.notes.iter().cloned());
        }
        let what: Vec<_> = what.iter().map(|line| printable(line)).collect();
        tables.add_row([
            printable(&table.table.to_string()),
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

/// What the doctor found, for a person.
pub(crate) fn show_doctor(report: &DoctorReport) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let _ = writeln!(
            text,
            "{:7} {:21} {}",
            check.status.as_str(),
            check.id,
            printable(&check.text)
        );
        if check.id == "trail_size" {
            show_periods(&mut text, &check.details);
        }
        if let Some(hint) = &check.hint {
            let _ = writeln!(text, "        {}", printable(hint));
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

/// The partitions of the trail that hold something.
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

/// Makes commands exact for a host whose code does not declare the table: capture comes from the
/// database then, with the redaction rules on the command line.
pub(crate) fn complete_commands(report: &mut CoverageReport, policies: &[DeployedPolicy]) {
    let declared = registered_tables().unwrap_or_default();
    for finding in &mut report.findings {
        let Some(table) = finding.table.clone() else {
            continue;
        };
        if finding.code == FindingCode::TableRenamed
            || declared.iter().any(|known| known.name() == &table)
        {
            continue;
        }
        if let Remedy::Command { first, arguments } = &mut finding.remedy
            && arguments.as_slice() == ["gen-triggers"]
        {
            let policy = policies.iter().find(|policy| policy.name == table);
            arguments.extend(["--tables".to_owned(), table.to_string()]);
            arguments.extend(policy.map(rules).unwrap_or_default());
            *first = (finding.code == FindingCode::ColumnUnclassified).then(|| {
                "add --mask or --exclude for it if it must not be stored in clear".to_owned()
            });
        }
    }
}

/// The redaction rules of a policy as options, of columns that are still there.
fn rules(policy: &DeployedPolicy) -> Vec<String> {
    let option = |rule| match rule {
        ColumnRule::Mask => Some("--mask"),
        ColumnRule::Exclude => Some("--exclude"),
        ColumnRule::Ignore => Some("--ignore"),
        _ => None,
    };
    let columns = policy.declared.as_ref().map(AuditedTable::columns);
    columns
        .unwrap_or_default()
        .iter()
        .filter(|column| policy.present_columns.contains(&column.name))
        .filter_map(|column| Some((option(column.rule)?, column)))
        .flat_map(|(option, column)| {
            // A name of two parts shows as `schema.""` without the second.
            let of_schema = TableName::new(policy.name.schema(), "").to_string();
            let schema = of_schema.strip_suffix("\"\"").unwrap_or_default();
            let column = TableName::new(policy.name.name(), &column.name);
            [option.to_owned(), format!("{schema}{column}")]
        })
        .collect()
}
