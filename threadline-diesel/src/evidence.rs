//! Evidence: recorded results of checks of the audit system, and what they prove.
//!
//! [`run_check`] runs a check and records its result; [`EvidencePlan`] says how often each check runs. The host can
//! add statements of its own by [`record_attestation`], which are marked as such. [`latest`], [`history`] and
//! [`overview`] read evidence, [`evidence_document`] is a document for an auditor. `guides/evidence.md` says what each
//! check proves.
//!
//! Verdicts are computed when evidence is read:
//!
//! | verdict | evidence |
//! |---|---|
//! | [`Proven`](Verdict::Proven) | a check that read records of the trail passed and is still valid |
//! | [`InferredPosture`](Verdict::InferredPosture) | a check of settings passed, or the host states it |
//! | [`Unsupported`](Verdict::Unsupported) | it failed, did not run to its end, is out of date, or there is none |

mod check;
mod checks;
mod document;
mod gaps;
mod plan;
mod queries;
mod recording;
mod run;
mod statements;
mod stored;
mod subject;
mod verdict;

use threadline_core::registry::RegistryError;
use threadline_core::table::InvalidTableName;

pub use self::check::{Check, CheckOptions, UnknownCheck, days, hours};
pub use self::document::{
    ClaimAssessment, DocumentFilters, DocumentMode, DocumentSummary, EvidenceContent,
    EvidenceDocument, EvidenceDocumentQuery, EvidenceRecord, EvidenceSeal, MAX_DOCUMENT_BYTES,
    MAX_DOCUMENT_RECORDS, RecordStatuses, evidence_document,
};
pub use self::gaps::EvidenceGap;
pub use self::plan::{CheckSchedule, DueState, EvidencePlan, due_checks, run_due};
pub use self::queries::{EvidenceHistory, find, history, latest, latest_refs, overview};
pub use self::recording::{Attestation, CheckResult, record_attestation, record_check_result};
pub use self::run::{CheckRun, run_check};
pub use self::stored::Evidence;
pub use self::subject::{Basis, EvidenceSubject, Outcome, UnknownSubject};
pub use self::verdict::{Assessment, Verdict, VerdictReason};
use crate::coverage::CoverageError;
use crate::query::ReadError;

/// An error of evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The migration of evidence is not applied.
    #[error("evidence needs the migration threadline_0002: run `install` and apply it")]
    MigrationMissing,
    /// A check needs a retention policy, and the options have none.
    #[error("the check `retention` needs a policy: set CheckOptions::retention")]
    NoRetentionPolicy,
    /// A check needs a role of the application, and there is none in the options, and none wrote in the last day.
    #[error(
        "the check `roles` needs a role of the application: set CheckOptions::application_role"
    )]
    NoApplicationRole,
    /// A role does not exist.
    #[error("there is no role `{0}` in this database")]
    NoSuchRole(String),
    /// The result of a check could not be recorded.
    #[error("the result of the check `{check}` was not recorded")]
    NotRecorded {
        /// The check.
        check: Check,
        /// The result, to be recorded on another connection.
        result: Box<CheckResult>,
        /// The first error, of the check or of the recording.
        #[source]
        source: Box<EvidenceError>,
    },
    /// A document would be too large.
    #[error(
        "the window has {records} records of evidence with {bytes} bytes; a document has at most \
         {MAX_DOCUMENT_RECORDS} records and {MAX_DOCUMENT_BYTES} bytes: choose a shorter window or one subject"
    )]
    DocumentTooLarge {
        /// The number of records.
        records: i64,
        /// The size of their details.
        bytes: i64,
    },
    /// A declaration of a table is wrong.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A declared expected gap names no table.
    #[error(transparent)]
    TableName(#[from] InvalidTableName),
    /// Coverage could not be checked.
    #[error(transparent)]
    Coverage(#[from] CoverageError),
    /// The trail could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

impl EvidenceError {
    /// The kind of error, for telemetry and for evidence: error messages may have row values.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MigrationMissing => "migration_missing",
            Self::NoRetentionPolicy => "no_retention_policy",
            Self::NoApplicationRole => "no_application_role",
            Self::NoSuchRole(_) | Self::Coverage(CoverageError::NoSuchRole(_)) => "no_such_role",
            Self::NotRecorded { .. } => "not_recorded",
            Self::DocumentTooLarge { .. } => "document_too_large",
            Self::Registry(_) | Self::TableName(_) => "declaration",
            Self::Coverage(CoverageError::NotInstalled) => "not_installed",
            Self::Coverage(CoverageError::NoSuchSchema(_)) => "no_such_schema",
            Self::Read(ReadError::Cursor(_) | ReadError::Query(_)) => "query",
            Self::Coverage(CoverageError::Database(_)) | Self::Read(_) | Self::Database(_) => {
                "database"
            }
        }
    }
}
