//! The evidence document, for auditors.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::EvidenceError;
use super::check::Check;
use super::gaps::{EvidenceGap, find_gaps};
use super::plan::EvidencePlan;
use super::queries::check_window;
use super::recording::require_migration;
use super::statements::{self, Filters, Instant, RunRow, Volume};
use super::stored::Evidence;
use super::subject::EvidenceSubject;
use super::verdict::{Assessment, Verdict, VerdictReason, weakest};
use crate::query::error::ReadError;

/// The version of the document.
const FORMAT_VERSION: u32 = 2;

/// The most records of a document.
pub const MAX_DOCUMENT_RECORDS: i64 = 10_000;

/// The most bytes of details in a document.
pub const MAX_DOCUMENT_BYTES: i64 = 64 * 1024 * 1024;

/// A query for an evidence document, read by [`evidence_document`].
///
/// ```
/// use threadline_diesel::evidence::{EvidenceDocumentQuery, EvidenceSubject};
///
/// let query = EvidenceDocumentQuery::history(
///     "2026-01-01T00:00:00Z".parse()?,
///     "2026-04-01T00:00:00Z".parse()?,
/// )
/// .subject(EvidenceSubject::TriggerCoverage);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EvidenceDocumentQuery {
    window: Option<(DateTime<Utc>, DateTime<Utc>)>,
    subject: Option<EvidenceSubject>,
    planned: Vec<Check>,
}

impl EvidenceDocumentQuery {
    /// The newest evidence about each object of each subject, assessed now.
    #[must_use]
    pub fn latest() -> Self {
        Self {
            window: None,
            subject: None,
            planned: Vec::new(),
        }
    }

    /// All evidence that was recorded in a window, the newest about each object assessed at the end of the window,
    /// the others when they were recorded.
    #[must_use]
    pub fn history(from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        Self {
            window: Some((from, to)),
            ..Self::latest()
        }
    }

    /// Only evidence about a subject.
    #[must_use]
    pub fn subject(mut self, subject: EvidenceSubject) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Adds a plan: the time before the first run of a planned check is a gap, too.
    #[must_use]
    pub fn plan(mut self, plan: &EvidencePlan) -> Self {
        self.planned = plan.checks().map(|(check, _)| check).collect();
        self
    }

    fn filters(&self) -> Filters {
        let (from, to) = self.window.unzip();
        let subject = self.subject.as_ref();
        Filters {
            subject: subject.map(|subject| subject.as_str().to_owned()),
            subject_ref: None,
            from,
            to,
        }
    }

    /// The names of the planned checks of the subject.
    fn planned(&self) -> Vec<&'static str> {
        let is_of_subject = |check: &&Check| {
            let subject = self.subject.as_ref();
            subject.is_none_or(|subject| *subject == check.subject())
        };
        let planned = self.planned.iter().filter(is_of_subject);
        planned.map(|check| check.as_str()).collect()
    }
}

/// Which evidence a document has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DocumentMode {
    /// The newest evidence about each object.
    Latest,
    /// All evidence of a window.
    History,
}

/// Evidence for an auditor, with verdicts and gaps.
///
/// `sha256` is the digest of the document without `generated_at`, `sha256` and the seals of its records, as compact JSON
/// in the order of its fields: what `jq -cj 'del(.generated_at, .sha256, .records[].seal)'` prints. Documents of a past window with equal records are
/// equal except for `generated_at` and seals.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct EvidenceDocument {
    /// When it was created, by the clock of the server.
    pub generated_at: DateTime<Utc>,
    /// The rest of the document.
    #[serde(flatten)]
    pub content: EvidenceContent,
    /// The digest in hexadecimal digits.
    pub sha256: String,
}

/// The part of a document that its digest covers.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct EvidenceContent {
    /// The version of the document: 2.
    pub format_version: u32,
    /// The type of the document: `threadline_evidence`.
    pub proof_type: &'static str,
    /// The subject; `overview` if the document is about all.
    pub subject: String,
    /// Which evidence the document has.
    pub mode: DocumentMode,
    /// The filters.
    pub filters: DocumentFilters,
    /// The numbers of records.
    pub summary: DocumentSummary,
    /// The verdict: the weakest of the records.
    pub claim_assessment: ClaimAssessment,
    /// The times in the window in which a check did not run.
    pub gaps: Vec<EvidenceGap>,
    /// The records, newest first.
    pub records: Vec<EvidenceRecord>,
}

/// The filters of a document.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct DocumentFilters {
    /// The subject.
    pub subject: Option<EvidenceSubject>,
    /// The start of the window.
    pub from: Option<DateTime<Utc>>,
    /// The end of the window.
    pub to: Option<DateTime<Utc>>,
}

/// The numbers of records of a document.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct DocumentSummary {
    /// The number of records.
    pub record_count: usize,
    /// The number of their subjects.
    pub subject_count: usize,
}

/// The verdict of a document.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ClaimAssessment {
    /// The verdict and its reason.
    #[serde(flatten)]
    pub assessment: Assessment,
    /// The number of records of each verdict.
    pub record_statuses: RecordStatuses,
    /// The statuses that a request for a document can have instead of a document.
    pub error_statuses: [&'static str; 2],
}

/// The number of records of each verdict.
#[derive(Debug, Default, Serialize)]
#[non_exhaustive]
pub struct RecordStatuses {
    /// Proven records.
    pub proven: usize,
    /// Records of settings, and statements of the host.
    pub inferred_posture: usize,
    /// Records that prove nothing.
    pub unsupported: usize,
}

/// A record with its verdict.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct EvidenceRecord {
    /// The record.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// The verdict.
    pub claim_assessment: Assessment,
    /// The proof that the record is sealed; none if it is not, or the trail has no log of seals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<EvidenceSeal>,
}

/// The proof that a record of evidence is in the log of seals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EvidenceSeal {
    /// The index of its leaf.
    pub leaf: u64,
    /// The size of the checkpoint of the proof.
    pub size: u64,
    /// The proof (C2SP tlog-proof) with the sealed record, the inclusion proof and the signed checkpoint: the content of
    /// a file that `threadline-verify --proof` verifies.
    pub proof: String,
}

impl EvidenceSeal {
    /// A proof.
    #[must_use]
    pub fn new(leaf: u64, size: u64, proof: String) -> Self {
        Self { leaf, size, proof }
    }
}

/// Reads evidence as a document.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::{EvidenceDocumentQuery, evidence_document};
///
/// let document = evidence_document(conn, &EvidenceDocumentQuery::latest()).await?;
/// println!("{}", serde_json::to_string_pretty(&document)?);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`EvidenceError`] when migration `threadline_0002` is not applied, the window is empty, the document would have more
/// than [`MAX_DOCUMENT_RECORDS`] records or [`MAX_DOCUMENT_BYTES`], or the database reports an error.
pub async fn evidence_document<C>(
    conn: &mut C,
    query: &EvidenceDocumentQuery,
) -> Result<EvidenceDocument, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let filters = query.filters();
    check_window(filters.from, filters.to).map_err(ReadError::from)?;
    require_migration(conn).await?;
    let now = statements::now().get_result::<Instant>(conn).await?.instant;
    let volume = match query.window {
        None => statements::volume_of_newest(&filters),
        Some(_) => statements::volume(&filters),
    };
    let volume = volume.get_result::<Volume>(conn).await?;
    if volume.records > MAX_DOCUMENT_RECORDS || volume.bytes > MAX_DOCUMENT_BYTES {
        return Err(EvidenceError::DocumentTooLarge {
            records: volume.records,
            bytes: volume.bytes,
        });
    }
    let statement = match query.window {
        None => statements::newest(&filters, MAX_DOCUMENT_RECORDS),
        Some(_) => statements::history(&filters, None, true, MAX_DOCUMENT_RECORDS),
    };
    let evidence: Vec<Evidence> = statement.load(conn).await?;
    let mut gaps = Vec::new();
    if let Some((from, to)) = query.window {
        let runs: Vec<RunRow> = statements::runs(filters.subject.as_deref(), from, to)
            .load(conn)
            .await?;
        gaps = find_gaps(&runs, &query.planned(), from, to.min(now));
    }
    let at = query.window.map_or(now, |(_, to)| to.min(now));
    EvidenceDocument::new(now, query, assess_records(evidence, at), gaps)
}

/// Assesses the newest record of each object at an instant, and the others when they were recorded. The records are
/// newest first.
fn assess_records(evidence: Vec<Evidence>, at: DateTime<Utc>) -> Vec<EvidenceRecord> {
    let mut seen = HashSet::new();
    let records = evidence.into_iter().map(|evidence| {
        let object = (
            evidence.subject.clone(),
            evidence.subject_ref.as_str().to_owned(),
            evidence.basis,
        );
        let at = if seen.insert(object) {
            at
        } else {
            evidence.recorded_at
        };
        EvidenceRecord {
            claim_assessment: evidence.assess(at),
            evidence,
            seal: None,
        }
    });
    records.collect()
}

impl EvidenceDocument {
    fn new(
        generated_at: DateTime<Utc>,
        query: &EvidenceDocumentQuery,
        records: Vec<EvidenceRecord>,
        gaps: Vec<EvidenceGap>,
    ) -> Result<Self, EvidenceError> {
        let (from, to) = query.window.unzip();
        let subject = query.subject.as_ref();
        let subjects: HashSet<_> = records
            .iter()
            .map(|record| &record.evidence.subject)
            .collect();
        let content = EvidenceContent {
            format_version: FORMAT_VERSION,
            proof_type: "threadline_evidence",
            subject: subject
                .map_or("overview", EvidenceSubject::as_str)
                .to_owned(),
            mode: if query.window.is_some() {
                DocumentMode::History
            } else {
                DocumentMode::Latest
            },
            filters: DocumentFilters {
                subject: query.subject.clone(),
                from,
                to,
            },
            summary: DocumentSummary {
                record_count: records.len(),
                subject_count: subjects.len(),
            },
            claim_assessment: ClaimAssessment::new(&records, &gaps),
            gaps,
            records,
        };
        let text = serde_json::to_string(&content)
            .map_err(|error| diesel::result::Error::SerializationError(error.into()))?;
        let digest = Sha256::digest(compact_json(&text));
        let sha256 = digest
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Ok(Self {
            generated_at,
            content,
            sha256,
        })
    }
}

impl ClaimAssessment {
    fn new(records: &[EvidenceRecord], gaps: &[EvidenceGap]) -> Self {
        let mut record_statuses = RecordStatuses::default();
        for record in records {
            match record.claim_assessment.status {
                Verdict::Proven => record_statuses.proven += 1,
                Verdict::InferredPosture => record_statuses.inferred_posture += 1,
                Verdict::Unsupported => record_statuses.unsupported += 1,
            }
        }
        let assessment = weakest(records.iter().map(|record| record.claim_assessment));
        Self {
            assessment: if assessment.status == Verdict::Proven && !gaps.is_empty() {
                VerdictReason::Gaps.into()
            } else {
                assessment
            },
            record_statuses,
            error_statuses: ["invalid_request", "runtime_failure"],
        }
    }
}

/// JSON without the spaces that PostgreSQL writes between the values of stored documents.
fn compact_json(json: &str) -> String {
    let (mut is_text, mut is_escaped) = (false, false);
    json.chars()
        .filter(|&c| {
            if is_text {
                is_text = c != '"' || is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                return true;
            }
            is_text = c == '"';
            !c.is_ascii_whitespace()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::compact_json;

    #[test]
    fn only_spaces_between_values_are_removed() {
        assert_eq!(
            compact_json(r#"{"a b": [1.10, "\" \\"], "c": "x\\\" y"}"#),
            r#"{"a b":[1.10,"\" \\"],"c":"x\\\" y"}"#
        );
    }
}
