//! Answers as JSON documents: what the command line prints with `--json` and a console sends.
//!
//! The documents are stable: fields may be added; none is removed or changes its meaning. An answer type
//! that is a document itself serializes as it is: coverage and policy reports, the doctor's report, the diff
//! of a change, a row as of an instant, the plan of a restoration, the plan, outcome and runs of retention, the lag and items of the
//! feed. The guide "Domain reference" describes the fields.

#[cfg(feature = "async")]
mod history;

use serde::Serialize;
use threadline_core::table::{AuditedTable, TableName};

#[cfg(feature = "async")]
pub use self::history::HistoryDocument;
use crate::baseline::BaselineOutcome;
use crate::capture_start::TableCaptureStart;
use crate::coverage::CoverageReport;
#[cfg(feature = "async")]
pub use crate::evidence::EvidenceDocument;
use crate::models::{AuditAction, AuditChange, AuditTransaction, RecordedActor, TimelineEntry};
use crate::policy::PolicyReport;
use crate::query::CorrelationBundle;
use crate::query::IncidentBundle;
use crate::query::diff::ChangeDiff;
use crate::query::{Cursor, Page};

/// The version of [`VerificationDocument`].
const VERIFICATION_FORMAT_VERSION: u32 = 1;

/// A change with its actor, its transaction and its action.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct EntryDocument<'a> {
    /// The actor in force.
    pub actor_ref: Option<&'a RecordedActor>,
    /// The columns that the change touched.
    pub changed_fields: Vec<String>,
    /// The change as stored.
    pub change: &'a AuditChange,
    /// The transaction of the change.
    pub transaction: Option<&'a AuditTransaction>,
    /// The action in force.
    pub action: Option<&'a AuditAction>,
}

impl<'a> From<&'a TimelineEntry> for EntryDocument<'a> {
    fn from(entry: &'a TimelineEntry) -> Self {
        Self {
            actor_ref: entry.actor(),
            changed_fields: entry.change.changed_fields(),
            change: &entry.change,
            transaction: entry.transaction.as_ref(),
            action: entry.action.as_ref(),
        }
    }
}

/// A page of a list. `D` is the document of an entry; for actions and transactions, a reference to the
/// entry itself.
///
/// ```
/// # fn example(page: &threadline_diesel::query::Page<threadline_diesel::models::TimelineEntry>)
/// # -> serde_json::Result<()> {
/// use threadline_diesel::documents::{EntryDocument, PageDocument};
///
/// let document = PageDocument::<EntryDocument<'_>>::new(page);
/// println!("{}", serde_json::to_string(&document)?);
/// # Ok(()) }
/// ```
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct PageDocument<'a, D> {
    /// The entries, in the order of the list.
    pub entries: Vec<D>,
    /// Whether more entries follow.
    pub has_more: bool,
    /// The cursor for the next page.
    pub next: Option<&'a Cursor>,
    /// Whether entries precede these.
    pub has_previous: bool,
    /// The cursor for the previous page.
    pub previous: Option<&'a Cursor>,
}

impl<'a, D> PageDocument<'a, D> {
    /// The document of a page.
    #[must_use]
    pub fn new<E>(page: &'a Page<E>) -> Self
    where
        D: From<&'a E>,
    {
        Self {
            entries: page.entries.iter().map(D::from).collect(),
            has_more: page.has_more(),
            next: page.next.as_ref(),
            has_previous: page.has_previous(),
            previous: page.previous.as_ref(),
        }
    }
}

/// A transaction with its actions and changes, and a diff of each change.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct IncidentDocument<'a> {
    /// The transaction, its actions and a page of its changes.
    #[serde(flatten)]
    pub bundle: &'a IncidentBundle,
    /// The diffs of the changes, in the same order.
    pub diffs: Vec<ChangeDiff>,
}

impl<'a> IncidentDocument<'a> {
    /// The document of an incident. `tables` are the redaction rules that the diffs apply, as declared or
    /// deployed.
    #[must_use]
    pub fn new(bundle: &'a IncidentBundle, tables: &[AuditedTable]) -> Self {
        let diffs = bundle
            .changes
            .iter()
            .map(|change| ChangeDiff::with_rules_among(change, tables))
            .collect();
        Self { bundle, diffs }
    }
}

/// The first pages of everything that belongs to a correlation.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct CorrelationDocument<'a> {
    /// Its transactions.
    pub transactions: PageDocument<'a, &'a AuditTransaction>,
    /// Its actions.
    pub actions: PageDocument<'a, &'a AuditAction>,
    /// Its changes.
    pub changes: PageDocument<'a, EntryDocument<'a>>,
}

impl<'a> From<&'a CorrelationBundle> for CorrelationDocument<'a> {
    fn from(bundle: &'a CorrelationBundle) -> Self {
        Self {
            transactions: PageDocument::new(&bundle.transactions),
            actions: PageDocument::new(&bundle.actions),
            changes: PageDocument::new(&bundle.changes),
        }
    }
}

/// When capture of tables started, and whether every row of theirs has a history.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ContinuityDocument<'a> {
    /// Whether every table is captured and has no row without history.
    pub unbroken: bool,
    /// The tables.
    pub tables: &'a [TableCaptureStart],
}

impl<'a> ContinuityDocument<'a> {
    /// The document of some tables. `requested` is the one table that was queried, if it was one; if it is
    /// not captured, `tables` is empty and the answer is broken.
    #[must_use]
    pub fn new(tables: &'a [TableCaptureStart], requested: Option<&TableName>) -> Self {
        let is_missing = requested.is_some() && tables.is_empty();
        Self {
            unbroken: !is_missing && tables.iter().all(TableCaptureStart::is_unbroken),
            tables,
        }
    }
}

/// A baseline that was planned, or recorded.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum BaselineDocument<'a> {
    /// What a baseline would record.
    #[non_exhaustive]
    Plan {
        /// False.
        executed: bool,
        /// The number of rows that the baseline would record.
        would_record: i64,
        /// When capture of the table started.
        continuity: &'a TableCaptureStart,
    },
    /// What a baseline recorded.
    #[non_exhaustive]
    Outcome {
        /// True.
        executed: bool,
        /// The run.
        #[serde(flatten)]
        outcome: &'a BaselineOutcome,
    },
}

impl<'a> BaselineDocument<'a> {
    /// The document of a baseline that was not executed.
    #[must_use]
    pub fn plan(would_record: i64, continuity: &'a TableCaptureStart) -> Self {
        Self::Plan {
            executed: false,
            would_record,
            continuity,
        }
    }

    /// The document of a baseline that was executed.
    #[must_use]
    pub fn outcome(outcome: &'a BaselineOutcome) -> Self {
        Self::Outcome {
            executed: true,
            outcome,
        }
    }
}

/// The result of a check of migrations, coverage and policy.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct VerificationDocument {
    /// The version of this document.
    pub format_version: u32,
    /// Whether all checks passed.
    pub verified: bool,
    /// Whether the migrations capture what the code declares.
    pub migrations: MigrationsDocument,
    /// Which tables are captured, and what is wrong.
    pub coverage: CoverageReport,
    /// Whether the deployed policies are the declared ones.
    pub policy: PolicyReport,
}

impl VerificationDocument {
    /// The document of three checks.
    #[must_use]
    pub fn new(
        migrations: MigrationsDocument,
        coverage: CoverageReport,
        policy: PolicyReport,
    ) -> Self {
        let verified = migrations.status != MigrationsStatus::Lagging
            && coverage.is_in_order()
            && policy.is_in_order();
        Self {
            format_version: VERIFICATION_FORMAT_VERSION,
            verified,
            migrations,
            coverage,
            policy,
        }
    }
}

/// Whether the migrations of a host capture what its code declares.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct MigrationsDocument {
    /// The result.
    pub status: MigrationsStatus,
    /// The differences, or why nothing was checked; one sentence each.
    pub problems: Vec<String>,
}

impl MigrationsDocument {
    /// The document of migrations that were not checked.
    #[must_use]
    pub fn not_checked(reason: impl Into<String>) -> Self {
        Self {
            status: MigrationsStatus::NotChecked,
            problems: vec![reason.into()],
        }
    }

    /// The document of migrations with these differences from the code.
    #[must_use]
    pub fn checked(problems: Vec<String>) -> Self {
        let status = if problems.is_empty() {
            MigrationsStatus::Ok
        } else {
            MigrationsStatus::Lagging
        };
        Self { status, problems }
    }
}

/// How the migrations of a host compare to its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MigrationsStatus {
    /// They capture what the code declares.
    Ok,
    /// A migration is missing.
    Lagging,
    /// The code declares no table.
    NotChecked,
}

impl MigrationsStatus {
    /// The name for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Lagging => "lagging",
            Self::NotChecked => "not checked",
        }
    }
}
