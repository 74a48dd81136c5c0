//! Checkpoints (C2SP tlog-checkpoint): origin, size and root of a log.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::digest::Digest;
use crate::key::{SigningKey, VerifierKey};
use crate::note::{Note, NoteError, NoteSignature};

/// The state of a log.
///
/// ```
/// use threadline_seal::checkpoint::Checkpoint;
/// use threadline_seal::key::SigningKey;
/// use threadline_seal::tree::empty_root;
///
/// let key = SigningKey::from_seed("example.com/trail", &[7; 32])?;
/// let checkpoint = Checkpoint::new("example.com/trail", 0, empty_root());
/// let note = checkpoint.sign(&key).to_string();
/// assert_eq!(Checkpoint::open(note.as_bytes(), &[key.verifier_key().clone()])?, checkpoint);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// The number of its leaves.
    pub size: u64,
    /// The root of its tree.
    pub root: Digest,
}

/// A signed checkpoint cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note is malformed or not signed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text of the note is not a checkpoint.
    #[error("the text of the note is not a checkpoint: origin, size and root, each on a line")]
    Malformed,
    /// The key that signed it has another name.
    #[error("the checkpoint of `{origin}` is signed by the key `{key}`")]
    OtherOrigin {
        /// The origin of the checkpoint.
        origin: String,
        /// The name of the key.
        key: String,
    },
}

impl Checkpoint {
    /// A checkpoint.
    #[must_use]
    pub fn new(origin: &str, size: u64, root: Digest) -> Self {
        Self {
            origin: origin.to_owned(),
            size,
            root,
        }
    }

    /// Parses the text of a checkpoint. Extension lines are ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let parsed: u64 = size.parse().ok()?;
        if origin.is_empty() || parsed.to_string() != size || lines.any(str::is_empty) {
            return None;
        }
        let root: [u8; 32] = STANDARD.decode(root).ok()?.try_into().ok()?;
        Some(Self::new(origin, parsed, Digest::from_bytes(root)))
    }

    /// Parses a signed checkpoint and verifies its signature. The name of the signing key is the origin.
    ///
    /// # Errors
    ///
    /// Returns an error if the note is malformed, or not signed by one of the keys.
    pub fn open(note: &[u8], keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        let key = note.verify(keys)?;
        let checkpoint = Self::parse(note.text()).ok_or(CheckpointError::Malformed)?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::OtherOrigin {
                origin: checkpoint.origin,
                key: key.name().to_owned(),
            });
        }
        Ok(checkpoint)
    }

    /// The note with this checkpoint, signed.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Note {
        self.with_signature(key.sign(&self.to_string()))
    }

    /// The note with this checkpoint and a signature of its text.
    #[must_use]
    pub fn with_signature(&self, signature: NoteSignature) -> Note {
        let mut note = Note::new(&self.to_string());
        note.add(signature);
        note
    }

    /// The path of this checkpoint in a published log.
    #[must_use]
    pub fn path(&self) -> String {
        format!("checkpoints/{:020}", self.size)
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = STANDARD.encode(self.root.as_bytes());
        write!(f, "{}\n{}\n{root}\n", self.origin, self.size)
    }
}
