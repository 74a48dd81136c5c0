//! Verification of the proof of one record.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::finding::{Finding, Reason, Verdict, digits};
use super::published::Published;
use super::{Stop, VerifyError};
use crate::digest::Digest;
use crate::instant::format_micros;
use crate::key::VerifierKey;
use crate::proof::{ProofError, RecordProof};
use crate::sealed_line::Body;

/// The greatest size of a proof, in bytes: that of the longest line of an export, in base64.
const MAX_PROOF_BYTES: u64 = 3 << 29;

/// What a proof proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProofSummary {
    /// The name of the log.
    pub origin: String,
    /// The size of the proof's checkpoint.
    pub size: u64,
    /// Its root, in hexadecimal digits.
    #[serde(serialize_with = "digits")]
    pub root: Digest,
    /// The leaf of the record.
    pub leaf: u64,
    /// The kind of the record.
    pub kind: &'static str,
    /// Its id.
    pub id: i64,
    /// Its time.
    pub at: String,
    /// Whether the proof has the fields of the record; not if retention removed it.
    pub has_fields: bool,
    /// The paths of erased fields, whose values are not proven.
    pub erased: Vec<String>,
}

/// The answer of the verification of a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofAnswer {
    /// The record is in the log.
    Verified(ProofSummary),
    /// Something is wrong.
    NotVerified(Finding),
}

impl Serialize for ProofAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Verified(content) => Verdict {
                verified: true,
                content,
            }
            .serialize(serializer),
            Self::NotVerified(content) => Verdict {
                verified: false,
                content,
            }
            .serialize(serializer),
        }
    }
}

/// Verifies the file with the proof of a record. If directories with published checkpoints are given, the checkpoint
/// of the proof must not contradict theirs.
///
/// # Errors
///
/// Returns an error if a file cannot be read.
pub fn verify_proof(
    file: &Path,
    keys: &[VerifierKey],
    published: &[PathBuf],
) -> Result<ProofAnswer, VerifyError> {
    match verify(file, keys, published) {
        Ok(summary) => Ok(ProofAnswer::Verified(summary)),
        Err(Stop::Finding(finding)) => Ok(ProofAnswer::NotVerified(*finding)),
        Err(Stop::Error(error)) => Err(error),
    }
}

fn verify(file: &Path, keys: &[VerifierKey], published: &[PathBuf]) -> Result<ProofSummary, Stop> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|file| file.take(MAX_PROOF_BYTES).read_to_end(&mut bytes))
        .map_err(|error| VerifyError::file(file, error))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Finding::new(Reason::ProofBad, "the proof is not UTF-8"))?;
    let proof = RecordProof::parse(&text).map_err(|error| find(&error))?;
    let entry = proof.line.entry;
    let checkpoint = proof
        .verify(keys)
        .map_err(|error| find(&error).at_leaf(proof.line.leaf).of_record(&entry))?;
    let summary = ProofSummary {
        origin: checkpoint.origin.clone(),
        size: checkpoint.size,
        root: checkpoint.root,
        leaf: proof.line.leaf,
        kind: entry.kind.name(),
        id: entry.id,
        at: format_micros(entry.micros),
        has_fields: proof.line.body != Body::Removed,
        erased: match proof.line.body {
            Body::Erased { erased, .. } => erased.into_keys().collect(),
            Body::Complete { .. } | Body::Removed => Vec::new(),
        },
    };
    if !published.is_empty() {
        let mut known = Published::read(published, keys)?;
        known.insert(checkpoint, proof.checkpoint.into_bytes(), file)?;
    }
    Ok(summary)
}

fn find(error: &ProofError) -> Finding {
    let reason = match error {
        ProofError::Checkpoint(_) => Reason::SignatureBad,
        ProofError::Content(_) => Reason::ContentDiffers,
        ProofError::Malformed(_) | ProofError::Line(_) | ProofError::Inclusion(_) => {
            Reason::ProofBad
        }
    };
    Finding::new(reason, error)
}
