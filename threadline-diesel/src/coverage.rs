//! Coverage: which tables are captured, and findings about capture and the trail.
//!
//! ```
//! use threadline_diesel::coverage::Coverage;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let query = Coverage::registered()?.schema("public");
//! # let _ = query;
//! # Ok(()) }
//! # #[cfg(feature = "async")]
//! # async fn ask(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
//! # let query = Coverage::new();
//! let report = threadline_diesel::coverage(conn, &query).await?;
//! assert!(report.is_in_order(), "{:?}", report.findings);
//! # Ok(()) }
//! ```
//!
//! # The JSON
//!
//! A [`CoverageReport`] is an object; fields may be added, none changes its meaning.
//!
//! | field | content |
//! |---|---|
//! | `format_version` | 1 |
//! | `checked_at` | the client's clock, RFC 3339 |
//! | `tables` | `schema`, `name`, `status` (`captured`, `expected_gap`, `needs_capture`, `not_capturable`), `reason` of a gap or null |
//! | `findings` | `severity` (`error`, `warning`, `info`), `code`, `table` (`schema`, `name`; or null), `explanation`, `remedy` |
//! | `summary` | how many: `captured`, `expected_gaps`, `needs_capture`, `errors`, `warnings`, `infos` |
//!
//! A remedy has a `kind`: `sql` with `sql`; `command` with `arguments` and `first`, the steps to
//! take before, or null; `decide` with `advice`.

mod code;
mod deployed;
mod error;
mod finding;
pub(crate) mod functions;
mod groups;
mod installed;
pub(crate) mod queries;
#[cfg(feature = "async")]
mod read;
mod remedies;
mod report;

use chrono::{DateTime, TimeDelta, Utc};
use threadline_core::expected_gap::{DIESEL_MIGRATIONS_TABLE, ExpectedGap, expected_gaps};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::{InvalidTableName, TableName};

pub use self::code::FindingCode;
use self::deployed::Facts;
pub(crate) use self::deployed::newest;
pub use self::error::CoverageError;
pub use self::finding::{Finding, Remedy, Severity, shell_quoted};
pub use self::groups::FindingGroup;
use self::queries::{HostTable, NameRow};
#[cfg(feature = "async")]
pub use self::read::{coverage, deployed_policies};
pub use self::report::{CoverageReport, CoverageStatus, CoverageSummary, TableCoverage};

/// How far back recent records are read by default.
const RECENT: TimeDelta = TimeDelta::days(1);

/// A query for which tables are captured, and for findings; read by [`coverage`](crate::coverage()).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    schemas: Vec<String>,
    gaps: Vec<(TableName, String)>,
    since: Option<DateTime<Utc>>,
    roles: Vec<String>,
}

impl Coverage {
    /// All schemas, with no expected gap but Diesel's migrations table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All schemas, with the expected gaps that the code declares.
    ///
    /// # Errors
    /// [`InvalidTableName`] when a declared gap names no table.
    pub fn registered() -> Result<Self, InvalidTableName> {
        expected_gaps()?
            .into_iter()
            .try_fold(Self::new(), Self::expecting)
    }

    /// Adds an expected gap.
    ///
    /// # Errors
    /// [`InvalidTableName`] when the gap names no table.
    pub fn expecting(mut self, gap: ExpectedGap) -> Result<Self, InvalidTableName> {
        self.gaps.push((gap.table()?, gap.reason().to_owned()));
        Ok(self)
    }

    /// Restricts the report to tables of this schema; call it again to add more. Findings about the trail itself are
    /// always reported.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schemas.push(schema.into());
        self
    }

    /// Sets since when records are read for findings about orphans, writers and suspensions; a day ago by default. At
    /// most the newest hundred thousand changes are read.
    #[must_use]
    pub fn records_since(mut self, instant: DateTime<Utc>) -> Self {
        self.since = Some(instant);
        self
    }

    /// Adds a role that the application logs in as, so that its privileges on the trail are checked before it writes.
    #[must_use]
    pub fn application_role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }

    pub(crate) fn since(&self) -> DateTime<Utc> {
        self.since.unwrap_or_else(|| Utc::now() - RECENT)
    }

    /// The roles that were added, and those that wrote.
    pub(crate) fn writers(&self, recent: Vec<NameRow>) -> Vec<String> {
        let mut roles = self.roles.clone();
        roles.extend(recent.into_iter().map(|role| role.name));
        roles.sort_unstable();
        roles.dedup();
        roles
    }

    pub(crate) fn schemas(&self) -> &[String] {
        &self.schemas
    }

    /// Rejects a schema that does not exist: its report would be empty.
    pub(crate) fn check_schemas(&self, found: &[NameRow]) -> Result<(), CoverageError> {
        let missing = |asked: &&String| !found.iter().any(|schema| &schema.name == *asked);
        match self.schemas.iter().find(missing) {
            Some(schema) => Err(CoverageError::NoSuchSchema(schema.clone())),
            None => Ok(()),
        }
    }

    pub(crate) fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Rejects a role that does not exist: nothing would be found about it.
    pub(crate) fn check_roles(&self, found: &[NameRow]) -> Result<(), CoverageError> {
        let missing = |asked: &&String| !found.iter().any(|role| &role.name == *asked);
        match self.roles.iter().find(missing) {
            Some(role) => Err(CoverageError::NoSuchRole(role.clone())),
            None => Ok(()),
        }
    }

    fn asks_about(&self, schema: &str) -> bool {
        self.schemas.is_empty()
            || schema == STORAGE_SCHEMA
            || self.schemas.iter().any(|asked| asked == schema)
    }

    /// The reason of an expected gap.
    fn expected(&self, table: &TableName, extension: Option<&str>) -> Option<String> {
        if let Some((_, reason)) = self.gaps.iter().find(|(gap, _)| gap == table) {
            return Some(reason.clone());
        }
        if table.name() == DIESEL_MIGRATIONS_TABLE {
            return Some("Diesel's record of applied migrations".to_owned());
        }
        extension.map(|name| format!("belongs to extension {name}"))
    }

    /// The report from the facts that were read.
    pub(crate) fn report(&self, facts: Facts) -> CoverageReport {
        let mut findings: Vec<_> = facts.found.into_iter().map(Finding::from).collect();
        findings.extend(facts.deployed.findings);
        findings.extend(self.gap_findings(&facts.tables));
        findings.retain(|finding| {
            finding
                .table
                .as_ref()
                .is_none_or(|table| self.asks_about(table.schema()))
        });
        findings.sort_by(|a, b| {
            (a.severity, a.code.as_str(), &a.table, &a.explanation).cmp(&(
                b.severity,
                b.code.as_str(),
                &b.table,
                &b.explanation,
            ))
        });
        findings.dedup();
        let tables = facts
            .tables
            .into_iter()
            .filter(|table| self.asks_about(&table.table_schema))
            .map(|table| self.table_coverage(table))
            .collect();
        let report = CoverageReport::new(tables, findings);
        report.emit();
        report
    }

    fn table_coverage(&self, found: HostTable) -> TableCoverage {
        let table = TableName::new(found.table_schema, found.table_name);
        let (status, reason) = if found.captured {
            (CoverageStatus::Captured, None)
        } else {
            match self.expected(&table, found.extension.as_deref()) {
                Some(reason) => (CoverageStatus::ExpectedGap, Some(reason)),
                None if found.materialized => (
                    CoverageStatus::NotCapturable,
                    Some("a materialized view: capture the tables that it reads".to_owned()),
                ),
                None => (CoverageStatus::NeedsCapture, None),
            }
        };
        TableCoverage {
            table,
            status,
            reason,
        }
    }

    /// Expected gaps that contradict the database.
    fn gap_findings(&self, tables: &[HostTable]) -> Vec<Finding> {
        self.gaps
            .iter()
            .filter_map(|(gap, _)| {
                let found = tables.iter().find(|table| {
                    table.table_schema == gap.schema() && table.table_name == gap.name()
                });
                let (code, explanation) = match found {
                    None => (
                        FindingCode::GapUnknown,
                        "the code declares it as an expected gap, but it does not exist",
                    ),
                    Some(table) if table.captured => (
                        FindingCode::GapUnneeded,
                        "the code declares it as an expected gap, but it is captured",
                    ),
                    Some(_) => return None,
                };
                Some(Finding::new(
                    Severity::Warning,
                    code,
                    Some(gap.clone()),
                    explanation.to_owned(),
                    "correct or remove the expected gap in the code".to_owned(),
                ))
            })
            .collect()
    }
}
