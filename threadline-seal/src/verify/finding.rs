//! Answers of a verification.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::digest::Digest;
use crate::instant::format_micros;
use crate::record::Entry;

/// Why a log is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The record's fields differ from its entry, or its entry from the published one.
    ContentDiffers,
    /// The export has no line for the leaf.
    Missing,
    /// No checkpoint covers the record.
    Unsealed,
    /// Leaves or ids are not in ascending order.
    OrderBroken,
    /// The records do not have the root of the checkpoint.
    RootDiffers,
    /// A checkpoint is malformed or not signed by the key.
    SignatureBad,
    /// Two signed checkpoints are not of one log.
    InconsistentCheckpoints,
    /// The newest checkpoint is older than the one of an earlier verification.
    RolledBack,
    /// A field was erased, and no later sealed removal names it.
    ErasureUnexplained,
    /// A record was removed, and no later sealed removal covers it.
    RemovalUnexplained,
    /// A published tile is malformed, or not of the log.
    TileDiffers,
    /// A proof is malformed, or does not lead to the root of its checkpoint.
    ProofBad,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContentDiffers => "content_differs",
            Self::Missing => "missing",
            Self::Unsealed => "unsealed",
            Self::OrderBroken => "order_broken",
            Self::RootDiffers => "root_differs",
            Self::SignatureBad => "signature_bad",
            Self::InconsistentCheckpoints => "inconsistent_checkpoints",
            Self::RolledBack => "rolled_back",
            Self::ErasureUnexplained => "erasure_unexplained",
            Self::RemovalUnexplained => "removal_unexplained",
            Self::TileDiffers => "tile_differs",
            Self::ProofBad => "proof_bad",
        })
    }
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Why the log is not verified.
    pub reason: Reason,
    /// The leaf of the first bad record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<u64>,
    /// The record's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// The record's kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The record's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What was expected and found, without values of the record.
    pub detail: String,
}

impl Finding {
    pub(super) fn new(reason: Reason, detail: impl fmt::Display) -> Self {
        Self {
            reason,
            leaf: None,
            id: None,
            kind: None,
            at: None,
            detail: detail.to_string(),
        }
    }

    pub(super) fn at_leaf(mut self, leaf: u64) -> Self {
        self.leaf = Some(leaf);
        self
    }

    pub(super) fn of_record(mut self, entry: &Entry) -> Self {
        self.id = Some(entry.id);
        self.kind = Some(entry.kind.name());
        self.at = Some(format_micros(entry.micros));
        self
    }
}

/// `content_differs at leaf 9 (change 42, 2026-…): …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if let Some(leaf) = self.leaf {
            write!(f, " at leaf {leaf}")?;
        }
        if let (Some(kind), Some(id), Some(at)) = (self.kind, self.id, &self.at) {
            write!(f, " ({kind} {id}, {at})")?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The name of the log.
    pub origin: String,
    /// The size of the newest checkpoint.
    pub size: u64,
    /// Its root, in hexadecimal digits.
    #[serde(serialize_with = "digits")]
    pub root: Digest,
    /// The number of checkpoints.
    pub checkpoints: usize,
    /// Whether tiles or an export prove that all checkpoints are of one tree. Without them only signatures are
    /// verified.
    pub consistent: bool,
    /// The first leaf of the export.
    pub first_leaf: u64,
    /// The number of its records.
    pub records: u64,
    /// How many of them have erased fields.
    pub erased: u64,
    /// How many of them retention removed.
    pub removed: u64,
}

pub(super) fn digits<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

/// The answer of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Nothing is wrong.
    Verified(Summary),
    /// Something is.
    NotVerified(Finding),
}

/// An answer as JSON: the members of the summary or of the finding, and `verified`.
#[derive(Serialize)]
pub(super) struct Verdict<'a, T> {
    pub(super) verified: bool,
    #[serde(flatten)]
    pub(super) content: &'a T,
}

impl Serialize for Answer {
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
