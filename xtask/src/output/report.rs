//! Reports on policy and the installation, on a terminal.

use std::fmt::Write as _;

use threadline_diesel::doctor::DoctorReport;
use threadline_diesel::documents::{MigrationsStatus, VerificationDocument};
use threadline_diesel::policy::{PolicyReport, PolicyStatus};

use super::coverage::{Tables, show_coverage};
use super::list::show_table;
use super::text::{escape, wrap_for_terminal};

/// The comparison of policies: one line per table, with the differences.
pub(crate) fn show_policy(report: &PolicyReport) -> String {
    let mut rows = Vec::new();
    for table in &report.tables {
        let mut what: Vec<_> = table.differences.iter().map(ToString::to_string).collect();
        if table.status != PolicyStatus::Matches {
            what.extend(table.notes.iter().cloned());
        }
        let what: Vec<_> = what.iter().map(|line| escape(line)).collect();
        rows.push([
            escape(&table.table.to_string()),
            table.status.as_str().to_owned(),
            what.join("\n"),
        ]);
    }
    let sum = &report.summary;
    format!(
        "{}\n\npolicy: {} match, {} drift, {} cannot be told",
        show_table(["table", "status", "what"], &rows),
        sum.matches,
        sum.drift,
        sum.cannot_tell
    )
}

/// The checks of the doctor.
pub(crate) fn show_doctor(report: &DoctorReport) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let line = format!(
            "{:7} {:21} {}",
            check.status.as_str(),
            check.id,
            escape(&check.text)
        );
        let _ = writeln!(text, "{}", wrap_for_terminal(&line, 8));
        if check.id == "trail_size" {
            show_periods(&mut text, &check.details);
        }
        if let Some(hint) = &check.hint {
            let hint = format!("        {}", escape(hint));
            let _ = writeln!(text, "{}", wrap_for_terminal(&hint, 8));
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
        show_coverage(&verification.coverage, Tables::All),
        show_policy(&verification.policy),
        migrations.status.as_str()
    );
    for problem in &migrations.problems {
        let problem = format!("    {}", escape(problem));
        let _ = write!(text, "\n{}", wrap_for_terminal(&problem, 4));
    }
    let verified = match (verification.verified, migrations.status) {
        (false, _) => "no",
        (true, MigrationsStatus::NotChecked) => "yes, migrations: not checked",
        (true, _) => "yes",
    };
    let _ = write!(text, "\n\nverified: {verified}");
    text
}
