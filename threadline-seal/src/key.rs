//! Ed25519 keys of signed notes (C2SP signed-note).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signature, Signer as _};
use thiserror::Error;

use crate::digest::Digest;
use crate::note::NoteSignature;

/// The algorithm byte of Ed25519.
const ED25519: u8 = 1;

/// A key is malformed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The name of a key is empty or has a space or `+`.
    #[error("`{0}` is not the name of a key; a name has no spaces and no `+`")]
    Name(String),
    /// A text is not a verifier key.
    #[error("not a verifier key; expected NAME+ID+KEY, with the id as 8 hexadecimal digits")]
    Format,
    /// The algorithm of the key is not Ed25519.
    #[error("the algorithm of the key `{0}` is not Ed25519")]
    Algorithm(String),
    /// The id of a verifier key is not the digest of its name and key.
    #[error("the id of the key `{0}` does not belong to its name and key")]
    Id(String),
    /// A text is not a private key.
    #[error(
        "not an Ed25519 private key in PEM (PKCS #8); `openssl genpkey -algorithm ed25519` writes one"
    )]
    Pem,
}

/// Parses verifier keys, one on each line; after a rotation a log has several.
///
/// ```
/// use threadline_seal::key::{SigningKey, parse_verifier_keys};
///
/// let key = SigningKey::from_seed("example.com/trail", &[7; 32])?;
/// let text = format!("{}\n", key.verifier_key());
/// assert_eq!(parse_verifier_keys(&text)?, [key.verifier_key().clone()]);
/// # Ok::<(), threadline_seal::key::InvalidKey>(())
/// ```
///
/// # Errors
///
/// Returns an error if a line is not a key, or there is none.
pub fn parse_verifier_keys(text: &str) -> Result<Vec<VerifierKey>, InvalidKey> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<_> = lines.map(str::parse).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(InvalidKey::Format);
    }
    Ok(keys)
}

/// A public key with its name. As text it is `NAME+ID+KEY`.
///
/// ```
/// use threadline_seal::key::{SigningKey, VerifierKey};
///
/// let signing = SigningKey::from_seed("example.com/trail", &[7; 32])?;
/// let text = signing.verifier_key().to_string();
/// assert_eq!(text.parse::<VerifierKey>()?, *signing.verifier_key());
/// # Ok::<(), threadline_seal::key::InvalidKey>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: ed25519_dalek::VerifyingKey,
}

impl VerifierKey {
    /// A key from its name and its 32 bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the name or the key is malformed.
    pub fn new(name: &str, key: &[u8; 32]) -> Result<Self, InvalidKey> {
        Self::check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            key: ed25519_dalek::VerifyingKey::from_bytes(key).map_err(|_| InvalidKey::Format)?,
        })
    }

    /// Checks that a text can be the name of a key, which is the origin of a log.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidKey::Name`] if it is empty or has a space, a control character or `+`.
    pub fn check_name(name: &str) -> Result<(), InvalidKey> {
        let is_invalid = |c: char| c == '+' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.contains(is_invalid) {
            return Err(InvalidKey::Name(name.to_owned()));
        }
        Ok(())
    }

    /// Its name: the origin of the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id: the first four bytes of a digest of name, algorithm and key.
    #[must_use]
    pub fn id(&self) -> u32 {
        let digest = Digest::of(&[self.name.as_bytes(), b"\n", &[ED25519], self.key.as_bytes()]);
        let [a, b, c, d, ..] = *digest.as_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// Whether a signature of a text is valid.
    #[must_use]
    pub fn verify(&self, text: &str, signature: &[u8; 64]) -> bool {
        self.key
            .verify_strict(text.as_bytes(), &Signature::from_bytes(signature))
            .is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend(self.key.as_bytes());
        write!(
            f,
            "{}+{:08x}+{}",
            self.name,
            self.id(),
            STANDARD.encode(key)
        )
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidKey::Format);
        };
        let key = STANDARD.decode(key).map_err(|_| InvalidKey::Format)?;
        let Some((&algorithm, key)) = key.split_first() else {
            return Err(InvalidKey::Format);
        };
        if algorithm != ED25519 {
            return Err(InvalidKey::Algorithm(name.to_owned()));
        }
        let parsed = Self::new(name, key.try_into().map_err(|_| InvalidKey::Format)?)?;
        if format!("{:08x}", parsed.id()) != id {
            return Err(InvalidKey::Id(name.to_owned()));
        }
        Ok(parsed)
    }
}

/// A private key with its name.
#[derive(Clone)]
pub struct SigningKey {
    verifier: VerifierKey,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// A key from its seed of 32 bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is malformed.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, InvalidKey> {
        Self::new(name, ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// A key from a PEM file (PKCS #8).
    ///
    /// # Errors
    ///
    /// Returns an error if the name or the key is malformed.
    pub fn from_pem(name: &str, pem: &str) -> Result<Self, InvalidKey> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map_err(|_| InvalidKey::Pem)?;
        Self::new(name, key)
    }

    fn new(name: &str, key: ed25519_dalek::SigningKey) -> Result<Self, InvalidKey> {
        VerifierKey::check_name(name)?;
        let verifier = VerifierKey {
            name: name.to_owned(),
            key: key.verifying_key(),
        };
        Ok(Self { verifier, key })
    }

    /// Its public key.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs the text of a note.
    #[must_use]
    pub fn sign(&self, text: &str) -> NoteSignature {
        NoteSignature::new(&self.verifier, self.key.sign(text.as_bytes()).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("name", &self.verifier.name)
            .finish_non_exhaustive()
    }
}
