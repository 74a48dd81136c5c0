//! Salted commitments of fields: a field can be erased, and the commitments of all others stay verifiable.

use std::collections::BTreeMap;
use std::fmt;

use crate::digest::Digest;

/// The fields of a record: path to value. A field that is NULL is absent.
pub type Fields = BTreeMap<String, String>;

/// The value that replaces an erased one, in a column of type text.
pub const ERASED: &str = "[ERASED]";

/// The value that replaces an erased one, in a member of a jsonb column.
pub const ERASED_MEMBER: &str = "\"[ERASED]\"";

/// The secret of a record, from which the salts of its fields are derived.
///
/// ```
/// use threadline_seal::field::Secret;
///
/// let salt = Secret::from_bytes([7; 16]).salt("data_after/email");
/// let commitment = salt.commit("data_after/email", "\"ada@example.com\"");
/// assert_ne!(commitment, salt.commit("data_after/email", "\"eve@example.com\""));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl Secret {
    /// A secret from 16 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The salt of the field with a path.
    #[must_use]
    pub fn salt(&self, path: &str) -> Salt {
        let digest = Digest::of(&[&[3], &self.0, path.as_bytes()]);
        let mut salt = [0; 16];
        salt.copy_from_slice(&digest.as_bytes()[..16]);
        Salt(salt)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The salt of one field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 16]);

impl Salt {
    /// A salt from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The commitment of a field: the value cannot be guessed from it without the salt.
    #[must_use]
    pub fn commit(&self, path: &str, value: &str) -> Digest {
        Digest::of(&[
            &[2],
            &self.0,
            &byte_length(path),
            path.as_bytes(),
            value.as_bytes(),
        ])
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// The digest of a record's content, from the commitments of its fields.
///
/// ```
/// use std::collections::BTreeMap;
/// use threadline_seal::field::{Secret, content};
///
/// let commitment = Secret::from_bytes([7; 16]).salt("op").commit("op", "insert");
/// let digest = content(&BTreeMap::from([("op", commitment)]));
/// assert_eq!(digest.to_string().len(), 64);
/// ```
#[must_use]
pub fn content(commitments: &BTreeMap<&str, Digest>) -> Digest {
    let mut bytes = Vec::with_capacity(5 + commitments.len() * 64);
    bytes.push(4);
    bytes.extend(
        u32::try_from(commitments.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    for (path, commitment) in commitments {
        bytes.extend(byte_length(path));
        bytes.extend(path.as_bytes());
        bytes.extend(commitment.as_bytes());
    }
    Digest::of(&[&bytes])
}

/// The commitments of all fields of a record, with salts from its secret.
#[must_use]
pub fn commit_fields<'a>(fields: &'a Fields, secret: &Secret) -> BTreeMap<&'a str, Digest> {
    fields
        .iter()
        .map(|(path, value)| (path.as_str(), secret.salt(path).commit(path, value)))
        .collect()
}

/// The length of a path as four bytes. PostgreSQL's longest text is shorter than the limit.
fn byte_length(path: &str) -> [u8; 4] {
    u32::try_from(path.len()).unwrap_or(u32::MAX).to_be_bytes()
}
