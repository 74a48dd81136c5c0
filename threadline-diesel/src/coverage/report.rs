//! The report of coverage: tables, findings and their numbers.

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
    /// The table is captured. Findings describe problems of its capture.
    Captured,
    /// The table is an expected gap.
    ExpectedGap,
    /// The table is not captured.
    NeedsCapture,
    /// A materialized view, which cannot have triggers.
    NotCapturable,
}

impl CoverageStatus {
    /// The status for display.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::ExpectedGap => "expected gap",
            Self::NeedsCapture => "needs capture",
            Self::NotCapturable => "not capturable",
        }
    }
}

/// A table and its status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableCoverage {
    /// The table.
    #[serde(flatten)]
    pub table: TableName,
    /// Whether it is captured.
    pub status: CoverageStatus,
    /// The reason of an expected gap, or why the table cannot be captured.
    pub reason: Option<String>,
}

/// The numbers of tables and findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct CoverageSummary {
    /// The number of captured tables.
    pub captured: usize,
    /// The number of expected gaps.
    pub expected_gaps: usize,
    /// The number of tables that need capture.
    pub needs_capture: usize,
    /// The number of errors.
    pub errors: usize,
    /// The number of warnings.
    pub warnings: usize,
    /// The number of infos.
    pub infos: usize,
}

/// Which tables are captured, and findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CoverageReport {
    /// The version of this JSON format.
    pub format_version: u32,
    /// When coverage was checked, by the client's clock.
    pub checked_at: DateTime<Utc>,
    /// All tables of the schemas, sorted by name, without those of the trail.
    pub tables: Vec<TableCoverage>,
    /// The findings, by descending severity.
    pub findings: Vec<Finding>,
    /// The numbers of tables and findings.
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

    /// Whether every table is captured or an expected gap, and there are no errors, as `--strict` requires.
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
