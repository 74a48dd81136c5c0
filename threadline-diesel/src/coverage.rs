//! Which tables are captured, and what is wrong with that.
//!
//! ```
//! use threadline_diesel::coverage::Coverage;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let question = Coverage::registered()?.schema("public");
//! # let _ = question;
//! # Ok(()) }
//! # #[cfg(feature = "async")]
//! # async fn ask(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
//! # let question = Coverage::new();
//! let report = threadline_diesel::nonblocking::coverage(conn, &question).await?;
//! assert!(report.is_in_order(), "{:?}", report.findings);
//! # Ok(()) }
//! ```
//!
//! # The JSON
//!
//! A [`CoverageReport`] is an object; fields may be added, none changes its meaning.
//!
//! | field | holds |
//! |---|---|
//! | `format_version` | 1 |
//! | `checked_at` | the client's clock, RFC 3339 |
//! | `tables` | `schema`, `name`, `status` (`captured`, `expected_gap`, `needs_capture`), `reason` of an expected gap or null |
//! | `findings` | `severity` (`error`, `warning`, `info`), `code`, `table` (`schema`, `name`; or null), `explanation`, `remedy` |
//! | `summary` | how many: `captured`, `expected_gaps`, `needs_capture`, `errors`, `warnings`, `infos` |
//!
//! A remedy has a `kind`: `sql` with `sql`; `command` with `arguments` and `first`, which is what to
//! do before, or null; `decide` with `advice`.

mod finding;
pub(crate) mod rows;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use threadline_core::expected_gap::{DIESEL_MIGRATIONS_TABLE, ExpectedGap, expected_gaps};
use threadline_core::install;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::{InvalidTableName, TableName};
use threadline_core::telemetry;

pub use self::finding::{Finding, FindingCode, Remedy, Severity, shell_quoted};
use self::rows::{Access, FoundRow, HostTable, Installation, SchemaRow};
use crate::policy::DeployedPolicy;

/// How far back records are looked at, unless another instant is given.
const RECENT: TimeDelta = TimeDelta::days(1);

/// The question which tables are captured, and what is wrong with that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    schemas: Vec<String>,
    gaps: Vec<(TableName, String)>,
    since: Option<DateTime<Utc>>,
    roles: Vec<String>,
}

impl Coverage {
    /// Every schema, with no expected gap but Diesel's own table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with the expected gaps that the code declares.
    ///
    /// # Errors
    /// [`InvalidTableName`] when a declared gap names no table.
    pub fn registered() -> Result<Self, InvalidTableName> {
        expected_gaps()?
            .into_iter()
            .try_fold(Self::new(), Self::expecting)
    }

    /// The same with one more expected gap.
    ///
    /// # Errors
    /// [`InvalidTableName`] when the gap names no table.
    pub fn expecting(mut self, gap: ExpectedGap) -> Result<Self, InvalidTableName> {
        self.gaps.push((gap.table()?, gap.reason().to_owned()));
        Ok(self)
    }

    /// Only tables of this schema, and of others named like this. What is wrong with the trail
    /// itself is always part of the answer.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schemas.push(schema.into());
        self
    }

    /// Since when records are looked at: orphans, writers, suspensions. A day ago unless set. At
    /// most the newest hundred thousand changes are looked at.
    #[must_use]
    pub fn records_since(mut self, instant: DateTime<Utc>) -> Self {
        self.since = Some(instant);
        self
    }

    /// A role the application logs in as; whether it can change the trail is then known before it
    /// has written anything.
    #[must_use]
    pub fn application_role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }

    pub(crate) fn findings_query(
        &self,
    ) -> diesel::query_builder::BoxedSqlQuery<
        'static,
        diesel::pg::Pg,
        diesel::query_builder::SqlQuery,
    > {
        rows::findings(
            self.since.unwrap_or_else(|| Utc::now() - RECENT),
            &self.roles,
        )
    }

    pub(crate) fn schemas(&self) -> &[String] {
        &self.schemas
    }

    /// A schema that is not there would look like one in which nothing is wrong.
    pub(crate) fn check_schemas(&self, found: &[SchemaRow]) -> Result<(), CoverageError> {
        let missing = |asked: &&String| !found.iter().any(|schema| &schema.name == *asked);
        match self.schemas.iter().find(missing) {
            Some(schema) => Err(CoverageError::NoSuchSchema(schema.clone())),
            None => Ok(()),
        }
    }

    fn asks_about(&self, schema: &str) -> bool {
        self.schemas.is_empty()
            || schema == STORAGE_SCHEMA
            || self.schemas.iter().any(|asked| asked == schema)
    }

    /// Why a table is knowingly not captured.
    fn expected(&self, table: &TableName, extension: Option<&str>) -> Option<String> {
        if let Some((_, reason)) = self.gaps.iter().find(|(gap, _)| gap == table) {
            return Some(reason.clone());
        }
        if table.name() == DIESEL_MIGRATIONS_TABLE {
            return Some("Diesel's note of the migrations that ran".to_owned());
        }
        extension.map(|name| format!("belongs to extension {name}"))
    }

    /// The report made of what the database answered.
    pub(crate) fn report(
        &self,
        tables: Vec<HostTable>,
        found: Vec<FoundRow>,
        policies: &[DeployedPolicy],
        installation: &[Installation],
    ) -> CoverageReport {
        let mut findings: Vec<_> = found.into_iter().map(Finding::from).collect();
        findings.extend(outdated(installation));
        findings.extend(policies.iter().filter_map(policy_changed));
        findings.extend(self.gap_findings(&tables));
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
        let tables = tables
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
                None => (CoverageStatus::NeedsCapture, None),
            }
        };
        TableCoverage {
            table,
            status,
            reason,
        }
    }

    /// Gaps that say something about the database that is not so.
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
                        "an expected gap names it, but there is no such table",
                    ),
                    Some(table) if table.captured => (
                        FindingCode::GapUnneeded,
                        "an expected gap names it, but it is captured",
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

impl From<FoundRow> for Finding {
    fn from(row: FoundRow) -> Self {
        let table = match (row.table_schema, row.table_name) {
            (Some(schema), Some(name)) => Some(TableName::new(schema, name)),
            _ => None,
        };
        Self::new(
            Severity::from_stored(&row.severity),
            FindingCode::from_stored(&row.code),
            table,
            row.explanation,
            row.remedy,
        )
    }
}

fn outdated(installation: &[Installation]) -> Option<Finding> {
    let note = installation.first();
    if note.and_then(|note| note.digest.as_deref()) == Some(install::digest().as_str()) {
        return None;
    }
    let explanation = format!(
        "the trail was made by release {}, and not as this program, release {}, makes it",
        note.and_then(|note| note.release.as_deref())
            .unwrap_or("unknown"),
        install::RELEASE
    );
    Some(Finding::new(
        Severity::Error,
        FindingCode::InstallOutdated,
        None,
        explanation,
        String::new(),
    ))
}

fn policy_changed(policy: &DeployedPolicy) -> Option<Finding> {
    policy.is_forged().then(|| {
        Finding::new(
            Severity::Error,
            FindingCode::PolicyChanged,
            Some(policy.name.clone()),
            format!(
                "{}: the policy it carries is not the one its hash was made of",
                policy.function
            ),
            "find out who changed it, then gen-triggers --redeploy".to_owned(),
        )
    })
}

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
    fn new(tables: Vec<TableCoverage>, findings: Vec<Finding>) -> Self {
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

    fn emit(&self) {
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

/// Coverage, or another question about what is deployed, could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoverageError {
    /// There is no trail in this database.
    #[error(
        "there is no trail in this database (schema {STORAGE_SCHEMA}): run `install` and apply the \
         migration it writes"
    )]
    NotInstalled,
    /// The trail is older than coverage.
    #[error(
        "the trail in this database was made by a release that knew no coverage of this kind: run \
         `install` and apply the migration it writes"
    )]
    TooOld,
    /// The connected role may not ask.
    #[error(
        "role {role} may not ask about coverage; as the owner of the trail: \
         GRANT SELECT ON ALL TABLES IN SCHEMA {STORAGE_SCHEMA} TO {role}; \
         GRANT EXECUTE ON FUNCTION {STORAGE_SCHEMA}.coverage(), \
         {STORAGE_SCHEMA}.coverage_findings(integer, timestamptz) TO {role}"
    )]
    Forbidden {
        /// The role, as SQL writes it.
        role: String,
    },
    /// A schema that was asked about does not exist.
    #[error("there is no schema `{0}` in this database")]
    NoSuchSchema(String),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

/// What there is of a trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrailSeen {
    /// Nothing.
    None,
    /// One that does not say what made it.
    Unnoted,
    /// One that says what made it.
    Noted,
}

/// What there is of a trail in this database.
pub(crate) fn trail_seen(access: &[Access]) -> TrailSeen {
    match access.first() {
        Some(access) if access.is_known => TrailSeen::Noted,
        Some(access) if access.is_installed => TrailSeen::Unnoted,
        _ => TrailSeen::None,
    }
}

/// Whether the connected role may ask.
pub(crate) fn check(access: &[Access]) -> Result<(), CoverageError> {
    match trail_seen(access) {
        TrailSeen::None => Err(CoverageError::NotInstalled),
        TrailSeen::Unnoted => Err(CoverageError::TooOld),
        TrailSeen::Noted => match access.iter().find(|access| !access.is_allowed) {
            Some(access) => Err(CoverageError::Forbidden {
                role: threadline_core::identifier::quote_identifier(&access.role),
            }),
            None => Ok(()),
        },
    }
}
