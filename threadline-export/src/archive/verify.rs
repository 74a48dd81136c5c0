//! Verification of archived days.

use chrono::NaiveDate;
use diesel_async::AsyncPgConnection;
use serde::Serialize;

use super::ArchiveError;
use super::check::{SeenLeaves, check_file};
use super::layout::{ArchiveFile, ArchiveManifest, read_manifest, read_manifests};
use crate::snapshot;
use crate::storage::Storage;

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ArchiveVerification {
    /// Whether nothing bad was found.
    pub verified: bool,
    /// The number of verified days.
    pub days: u64,
    /// The number of verified files.
    pub files: u64,
    /// The number of verified records.
    pub records: u64,
    /// The first bad file or record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<ArchiveFinding>,
}

/// A bad file or record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ArchiveFinding {
    /// The day.
    pub day: NaiveDate,
    /// The file; none if the manifest is bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The leaf of a bad record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<i64>,
    /// The kind of a bad record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The id of a bad record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is wrong.
    pub reason: String,
}

/// Verifies archived days, or all of them if none is given: each file has the size and SHA-256 of the manifest, and each
/// record is the one that was sealed. Ends at the first bad one. Nothing is written.
///
/// The seals are those of the database; `threadline seal verify` compares them with published checkpoints. The
/// connection must not be in a transaction.
///
/// # Errors
/// [`ArchiveError::NoSuchDay`]; or if the storage or the database reports an error.
pub async fn verify(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    days: &[NaiveDate],
) -> Result<ArchiveVerification, ArchiveError> {
    let mut result = ArchiveVerification {
        verified: true,
        days: 0,
        files: 0,
        records: 0,
        finding: None,
    };
    let manifests = match find_manifests(storage, days).await {
        Ok(manifests) => manifests,
        Err(error) => return result.end(error),
    };
    for manifest in &manifests {
        let mut seen = SeenLeaves::default();
        for file in &manifest.files {
            match check(conn, storage, manifest.day, file, &mut seen).await {
                Ok(rows) => result.records += rows,
                Err(error) => return result.end_at(error, manifest.day),
            }
            result.files += 1;
        }
        result.days += 1;
    }
    Ok(result)
}

async fn find_manifests(
    storage: &Storage,
    days: &[NaiveDate],
) -> Result<Vec<ArchiveManifest>, ArchiveError> {
    if days.is_empty() {
        return read_manifests(storage).await;
    }
    storage.require_directory()?;
    let mut manifests = Vec::new();
    for day in days {
        let manifest = read_manifest(storage, *day).await?;
        manifests.push(manifest.ok_or(ArchiveError::NoSuchDay(*day))?);
    }
    Ok(manifests)
}

async fn check(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    day: NaiveDate,
    file: &ArchiveFile,
    seen: &mut SeenLeaves,
) -> Result<u64, ArchiveError> {
    snapshot::begin(conn).await?;
    let outcome = check_file(conn, storage, day, file, seen).await;
    snapshot::end(conn, outcome).await
}

impl ArchiveVerification {
    fn end(self, error: ArchiveError) -> Result<Self, ArchiveError> {
        match &error {
            ArchiveError::Manifest { day, .. } => {
                let day = *day;
                self.end_at(error, day)
            }
            _ => Err(error),
        }
    }

    /// The result with a finding, if the error is one.
    fn end_at(mut self, error: ArchiveError, day: NaiveDate) -> Result<Self, ArchiveError> {
        let mut finding = ArchiveFinding {
            day,
            object: None,
            leaf: None,
            kind: None,
            id: None,
            reason: String::new(),
        };
        match error {
            ArchiveError::BadFile { object, fault } => {
                finding.object = Some(object);
                finding.reason = fault.to_string();
            }
            ArchiveError::BadRecord {
                object,
                kind,
                id,
                leaf,
                reason,
            } => {
                finding.object = Some(object);
                finding.kind = Some(kind);
                finding.id = Some(id);
                finding.leaf = Some(leaf);
                finding.reason = reason.to_string();
            }
            ArchiveError::Manifest { reason, .. } => finding.reason = reason,
            other => return Err(other),
        }
        self.verified = false;
        self.finding = Some(finding);
        Ok(self)
    }
}
