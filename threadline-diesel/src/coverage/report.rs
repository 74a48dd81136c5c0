//! The answer: every table, every finding, and the numbers.

use chrono::{DateTime, Utc};
use serde::Serialize;
use threadline_core::table::TableName;
use threadline_core::telemetry;

use super::finding::{Finding, Severity};

/// Whether a table is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CoverageStatus {
    /// It is. How well, the findings say.
    Captured,
    /// It is not, knowingly.
    ExpectedGap,
    /// It is not.
    NeedsCapture,
}

impl CoverageStatus {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::ExpectedGap => "expected gap",
            Self::NeedsCapture => "needs capture",
        }
    }
}

/// A table, and whether it is captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableCoverage {
    /// The table.
    #[serde(flatten)]
    pub table: TableName,
    /// Whether it is captured.
    pub status: CoverageStatus,
    /// Why it is not, where that is known.
    pub reason: Option<String>,
}

/// How many tables and findings there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct CoverageSummary {
    /// Captured tables.
    pub captured: usize,
    /// Tables knowingly not captured.
    pub expected_gaps: usize,
    /// Tables not captured.
    pub needs_capture: usize,
    /// Findings of severity error.
    pub errors: usize,
    /// Findings of severity warning.
    pub warnings: usize,
    /// Findings of severity info.
    pub infos: usize,
}

/// Which tables are captured, and what is wrong with that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CoverageReport {
    /// Of this JSON.
    pub format_version: u32,
    /// When it was asked, by the client's clock.
    pub checked_at: DateTime<Utc>,
    /// Every table of the schemas asked about, sorted by name. The trail's own are not listed.
    pub tables: Vec<TableCoverage>,
    /// What is wrong, or worth knowing, the worst first.
    pub findings: Vec<Finding>,
    /// The same in numbers.
    pub summary: CoverageSummary,
}

impl CoverageReport {
    pub(super) fn new(tables: Vec<TableCoverage>, findings: Vec<Finding>) -> Self {
        let of_status = |status| tables.iter().filter(|table| table.status == status).count();
        let of_severity = |severity| {
            findings
                .iter()
                .filter(|finding| finding.severity == severity)
                .count()
        };
        let summary = CoverageSummary {
            captured: of_status(CoverageStatus::Captured),
            expected_gaps: of_status(CoverageStatus::ExpectedGap),
            needs_capture: of_status(CoverageStatus::NeedsCapture),
            errors: of_severity(Severity::Error),
            warnings: of_severity(Severity::Warning),
            infos: of_severity(Severity::Info),
        };
        Self {
            format_version: 1,
            checked_at: Utc::now(),
            tables,
            findings,
            summary,
        }
    }

    /// Whether every table is captured or an expected gap, and nothing is an error: what `--strict`
    /// asks for.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        self.summary.errors == 0 && self.summary.needs_capture == 0
    }

    pub(super) fn emit(&self) {
        let summary = &self.summary;
        telemetry::coverage_checked(
            summary.captured,
            summary.expected_gaps,
            summary.needs_capture,
            summary.errors,
            summary.warnings,
        );
    }
}
