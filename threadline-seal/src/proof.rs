//! Proofs that a record is in the log (C2SP tlog-proof), which can be verified without the export.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::digest::Digest;
use crate::key::VerifierKey;
use crate::sealed_line::{ContentError, InvalidLine, SealedLine};
use crate::tree::{InvalidProof, verify_inclusion};

/// The first line of a proof.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A record with its line of a sealed export, its inclusion proof and a signed checkpoint.
///
/// ```
/// use threadline_seal::checkpoint::Checkpoint;
/// use threadline_seal::field::{Fields, Secret};
/// use threadline_seal::key::SigningKey;
/// use threadline_seal::proof::RecordProof;
/// use threadline_seal::record::RecordKind;
/// use threadline_seal::sealed_line::SealedLine;
///
/// let fields = Fields::from([
///     ("from_id".to_owned(), "1".to_owned()),
///     ("began_at".to_owned(), "2026-11-21T09:30:00.000001Z".to_owned()),
/// ]);
/// let line = SealedLine::seal(0, RecordKind::Genesis, 1, fields, Secret::from_bytes([7; 16]))?;
/// let key = SigningKey::from_seed("example.com/trail", &[7; 32])?;
/// let checkpoint = Checkpoint::new("example.com/trail", 1, line.entry.leaf_hash());
/// let proof = RecordProof {
///     line,
///     hashes: Vec::new(),
///     checkpoint: checkpoint.sign(&key).to_string(),
/// };
/// let read = RecordProof::parse(&proof.to_string())?;
/// assert_eq!(read.verify(&[key.verifier_key().clone()])?, checkpoint);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordProof {
    /// The record. It is in the line `extra` of the proof.
    pub line: SealedLine,
    /// The inclusion proof, from the sibling of the leaf up.
    pub hashes: Vec<Digest>,
    /// The note with the signed checkpoint.
    pub checkpoint: String,
}

/// A proof does not prove that its record is in the log.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The text is not a proof.
    #[error("not a proof (c2sp.org/tlog-proof@v1): {0}")]
    Malformed(&'static str),
    /// The record is malformed.
    #[error("the record of the proof: {0}")]
    Line(#[from] InvalidLine),
    /// The checkpoint is malformed or not signed by a known key.
    #[error("the checkpoint of the proof: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The record differs from its entry.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The proof does not lead from the record to the checkpoint.
    #[error(transparent)]
    Inclusion(#[from] InvalidProof),
}

impl RecordProof {
    /// Parses a proof.
    ///
    /// # Errors
    ///
    /// Returns [`ProofError::Malformed`] or [`ProofError::Line`] if the text is not a proof of a record.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let malformed = ProofError::Malformed;
        let (proof, checkpoint) = text
            .split_once("\n\n")
            .ok_or(malformed("no empty line before the checkpoint"))?;
        let mut lines = proof.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(malformed("another first line"));
        }
        let line = lines
            .next()
            .and_then(|line| STANDARD.decode(line.strip_prefix("extra ")?).ok())
            .ok_or(malformed("no `extra` with the record"))?;
        let line = SealedLine::parse(&line)?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        if index != Some(line.leaf.to_string().as_str()) {
            return Err(malformed("`index` is not the leaf of the record"));
        }
        let hash = |line| {
            let bytes: [u8; 32] = STANDARD.decode(line).ok()?.try_into().ok()?;
            Some(Digest::from_bytes(bytes))
        };
        let hashes: Option<Vec<_>> = lines.map(hash).collect();
        Ok(Self {
            line,
            hashes: hashes.ok_or(malformed("a line is not a hash"))?,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// Verifies the signature of the checkpoint, the content of the record and the inclusion proof.
    ///
    /// # Errors
    ///
    /// Returns an error if one of them is not valid.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Checkpoint, ProofError> {
        let checkpoint = Checkpoint::open(self.checkpoint.as_bytes(), keys)?;
        self.line.check_content()?;
        verify_inclusion(
            self.line.leaf,
            self.line.entry.leaf_hash(),
            checkpoint.size,
            &checkpoint.root,
            &self.hashes,
        )?;
        Ok(checkpoint)
    }
}

/// The proof as a file, usually with the extension `tlog-proof`.
impl fmt::Display for RecordProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        writeln!(f, "extra {}", STANDARD.encode(self.line.to_json()))?;
        writeln!(f, "index {}", self.line.leaf)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}
