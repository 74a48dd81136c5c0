//! Signed notes (C2SP signed-note): a text and signatures of it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::key::VerifierKey;

/// The greatest size of a note, in bytes.
pub const MAX_NOTE_BYTES: usize = 65_536;

/// A note is malformed or not signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The bytes are not a signed note.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// A signature of a known key is not valid.
    #[error("the signature of the key `{0}` is not valid")]
    InvalidSignature(String),
    /// No signature is of a known key.
    #[error("no signature is of a known key")]
    UnknownKeys,
}

/// A signature line of a note: a name, the id of a key, and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: u32,
    signature: Vec<u8>,
}

impl NoteSignature {
    /// The signature of a key.
    #[must_use]
    pub fn new(key: &VerifierKey, signature: [u8; 64]) -> Self {
        Self {
            name: key.name().to_owned(),
            key_id: key.id(),
            signature: signature.to_vec(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        (!name.is_empty() && !signature.is_empty()).then(|| Self {
            name: name.to_owned(),
            key_id: u32::from_be_bytes(*id),
            signature: signature.to_vec(),
        })
    }
}

/// A text with signatures.
///
/// ```
/// use threadline_seal::key::SigningKey;
/// use threadline_seal::note::Note;
///
/// let key = SigningKey::from_seed("example.com/trail", &[7; 32])?;
/// let mut note = Note::new("a text\n");
/// note.add(key.sign(note.text()));
/// let read = Note::parse(note.to_string().as_bytes())?;
/// assert_eq!(read.verify(&[key.verifier_key().clone()])?.name(), "example.com/trail");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note without signatures. A text that does not end with a line feed gets one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.strip_suffix('\n').unwrap_or(text);
        Self {
            text: format!("{text}\n"),
            signatures: Vec::new(),
        }
    }

    /// Parses a signed note.
    ///
    /// # Errors
    ///
    /// Returns [`NoteError::Malformed`] if the bytes are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Malformed("more than 64 KiB"));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("not UTF-8"))?;
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(NoteError::Malformed("control characters"));
        }
        let (text, lines) = note
            .rsplit_once("\n\n")
            .ok_or(NoteError::Malformed("no signatures"))?;
        let lines = lines
            .strip_suffix('\n')
            .ok_or(NoteError::Malformed("no line feed at the end"))?;
        let signatures = lines
            .split('\n')
            .map(NoteSignature::parse)
            .collect::<Option<Vec<_>>>()
            .ok_or(NoteError::Malformed("a malformed signature line"))?;
        Ok(Self {
            text: format!("{text}\n"),
            signatures,
        })
    }

    /// The signed text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds a signature line.
    pub fn add(&mut self, signature: NoteSignature) {
        self.signatures.push(signature);
    }

    /// Verifies the signatures of known keys and returns the first of these keys. Signatures of other keys are
    /// ignored.
    ///
    /// # Errors
    ///
    /// Returns an error if a signature of a known key is not valid, or there is none.
    pub fn verify<'a>(&self, known: &'a [VerifierKey]) -> Result<&'a VerifierKey, NoteError> {
        let mut signer = None;
        for signature in &self.signatures {
            let Some(key) = known
                .iter()
                .find(|key| key.name() == signature.name && key.id() == signature.key_id)
            else {
                continue;
            };
            let valid = <&[u8; 64]>::try_from(signature.signature.as_slice())
                .is_ok_and(|bytes| key.verify(&self.text, bytes));
            if !valid {
                return Err(NoteError::InvalidSignature(key.name().to_owned()));
            }
            signer = signer.or(Some(key));
        }
        signer.ok_or(NoteError::UnknownKeys)
    }
}

/// The note as it is published.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            let mut bytes = signature.key_id.to_be_bytes().to_vec();
            bytes.extend(&signature.signature);
            writeln!(f, "— {} {}", signature.name, STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}
