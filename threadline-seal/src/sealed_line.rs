//! Lines of a sealed export: one JSON object for each leaf.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::digest::{Digest, decode_hex};
use crate::field::{Fields, Salt, Secret, commit_fields, content};
use crate::record::{ENTRY_BYTES, Entry, InvalidRecord, RecordKind};

/// One line: a leaf with its entry, and the record if it still exists.
///
/// ```
/// use threadline_seal::field::{Fields, Secret};
/// use threadline_seal::record::RecordKind;
/// use threadline_seal::sealed_line::SealedLine;
///
/// let fields = Fields::from([
///     ("settled_to".to_owned(), "42".to_owned()),
///     ("read_at".to_owned(), "2026-11-21T09:30:00.000001Z".to_owned()),
/// ]);
/// let line = SealedLine::seal(9, RecordKind::Clock, 42, fields, Secret::from_bytes([7; 16]))?;
/// let read = SealedLine::parse(line.to_json().as_bytes())?;
/// assert_eq!(read, line);
/// read.check_content()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedLine {
    /// The index of the leaf.
    pub leaf: u64,
    /// The leaf's entry.
    pub entry: Entry,
    /// The record.
    pub body: Body,
}

/// What an export contains of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// The whole record.
    Complete {
        /// Its fields.
        fields: Fields,
        /// Its secret.
        secret: Secret,
    },
    /// A record of which fields were erased.
    Erased {
        /// Its fields. An erased field has the value that replaced it, or is absent.
        fields: Fields,
        /// The commitments of the erased fields.
        erased: BTreeMap<String, Digest>,
        /// The salts of all other fields.
        salts: BTreeMap<String, Salt>,
    },
    /// A record that retention removed.
    Removed,
}

/// A line is not one of a sealed export.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidLine {
    /// It is not the expected JSON.
    #[error("not a line of a sealed export: {0}")]
    Json(#[from] serde_json::Error),
    /// A member has a malformed value.
    #[error("not a line of a sealed export: malformed `{0}`")]
    Malformed(&'static str),
    /// Kind or id differ from the entry.
    #[error("`{0}` differs from the entry")]
    OtherEntry(&'static str),
    /// The members do not fit each other.
    #[error("not a line of a sealed export: {0}")]
    Members(&'static str),
}

/// The content of a record differs from its entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContentError {
    /// The fields do not make an entry.
    #[error(transparent)]
    Record(#[from] InvalidRecord),
    /// A field has neither salt nor commitment, or a salt has no field.
    #[error("the field `{0}` is not covered by a salt or a commitment")]
    UncoveredField(String),
    /// The digest of the fields is another one.
    #[error("the fields do not have the digest of the entry")]
    Differs,
}

/// The JSON object. `kind` and `id` repeat the entry for readers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    leaf: u64,
    kind: String,
    id: i64,
    entry: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<UniqueMembers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    erased: Option<UniqueMembers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salts: Option<UniqueMembers>,
}

/// An object of texts. A repeated member is an error: readers would disagree on its value.
#[derive(Serialize)]
#[serde(transparent)]
struct UniqueMembers(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members(PhantomData<UniqueMembers>);
        impl<'de> Visitor<'de> for Members {
            type Value = UniqueMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueMembers, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("repeated member"));
                    }
                }
                Ok(UniqueMembers(members))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

impl SealedLine {
    /// The line of a complete record.
    ///
    /// # Errors
    ///
    /// Returns an error if the fields do not make an entry.
    pub fn seal(
        leaf: u64,
        kind: RecordKind,
        id: i64,
        fields: Fields,
        secret: Secret,
    ) -> Result<Self, InvalidRecord> {
        let entry = Entry::seal(kind, id, &fields, &secret)?;
        Ok(Self {
            leaf,
            entry,
            body: Body::Complete { fields, secret },
        })
    }

    /// Parses a line.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not one of a sealed export.
    pub fn parse(line: &[u8]) -> Result<Self, InvalidLine> {
        let line: Line = serde_json::from_slice(line)?;
        let entry = decode_hex::<ENTRY_BYTES>(&line.entry)
            .and_then(|bytes| Entry::from_bytes(&bytes))
            .ok_or(InvalidLine::Malformed("entry"))?;
        if RecordKind::parse(&line.kind) != Some(entry.kind) {
            return Err(InvalidLine::OtherEntry("kind"));
        }
        if line.id != entry.id {
            return Err(InvalidLine::OtherEntry("id"));
        }
        let body = match (line.fields, line.secret, line.erased, line.salts) {
            (None, None, None, None) => Body::Removed,
            (Some(fields), Some(secret), None, None) => Body::Complete {
                fields: fields.0,
                secret: decode_hex(&secret)
                    .map(Secret::from_bytes)
                    .ok_or(InvalidLine::Malformed("secret"))?,
            },
            (Some(fields), None, Some(erased), Some(salts)) => Body::Erased {
                fields: fields.0,
                erased: decode_members(erased, Digest::from_bytes)
                    .ok_or(InvalidLine::Malformed("erased"))?,
                salts: decode_members(salts, Salt::from_bytes)
                    .ok_or(InvalidLine::Malformed("salts"))?,
            },
            _ => {
                return Err(InvalidLine::Members(
                    "expected `secret` and `fields`, or `fields`, `erased` and `salts`, or none of them",
                ));
            }
        };
        Ok(Self {
            leaf: line.leaf,
            entry,
            body,
        })
    }

    /// The line as JSON, without a line feed.
    #[must_use]
    pub fn to_json(&self) -> String {
        let (fields, secret, erased, salts) = match &self.body {
            Body::Complete { fields, secret } => {
                let secret = hex::encode(secret.as_bytes());
                (Some(fields.clone()), Some(secret), None, None)
            }
            Body::Erased {
                fields,
                erased,
                salts,
            } => {
                let erased = encode_members(erased, |digest| hex::encode(digest.as_bytes()));
                let salts = encode_members(salts, |salt| hex::encode(salt.as_bytes()));
                (Some(fields.clone()), None, Some(erased), Some(salts))
            }
            Body::Removed => (None, None, None, None),
        };
        let line = Line {
            leaf: self.leaf,
            kind: self.entry.kind.name().to_owned(),
            id: self.entry.id,
            entry: hex::encode(self.entry.to_bytes()),
            secret,
            fields: fields.map(UniqueMembers),
            erased: erased.map(UniqueMembers),
            salts: salts.map(UniqueMembers),
        };
        // Texts and numbers always serialize.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// Checks that the record has the digest, id, time and table of its entry.
    ///
    /// # Errors
    ///
    /// Returns an error if it does not. A removed record has nothing to check.
    pub fn check_content(&self) -> Result<(), ContentError> {
        let (fields, content) = match &self.body {
            Body::Removed => return Ok(()),
            Body::Complete { fields, secret } => (fields, content(&commit_fields(fields, secret))),
            Body::Erased {
                fields,
                erased,
                salts,
            } => (fields, content(&commit_remaining(fields, erased, salts)?)),
        };
        let entry = Entry::with_content(self.entry.kind, self.entry.id, fields, content)?;
        if entry == self.entry {
            Ok(())
        } else {
            Err(ContentError::Differs)
        }
    }
}

/// The commitments of a record of which fields were erased.
fn commit_remaining<'a>(
    fields: &'a Fields,
    erased: &'a BTreeMap<String, Digest>,
    salts: &'a BTreeMap<String, Salt>,
) -> Result<BTreeMap<&'a str, Digest>, ContentError> {
    let mut commitments: BTreeMap<&str, Digest> = erased
        .iter()
        .map(|(path, commitment)| (path.as_str(), *commitment))
        .collect();
    for (path, salt) in salts {
        let uncovered = || ContentError::UncoveredField(path.clone());
        let value = fields.get(path).ok_or_else(uncovered)?;
        let commitment = salt.commit(path, value);
        if commitments.insert(path, commitment).is_some() {
            return Err(uncovered());
        }
    }
    match fields
        .keys()
        .find(|path| !commitments.contains_key(path.as_str()))
    {
        Some(path) => Err(ContentError::UncoveredField(path.clone())),
        None => Ok(commitments),
    }
}

fn decode_members<const N: usize, T>(
    members: UniqueMembers,
    decode: impl Fn([u8; N]) -> T,
) -> Option<BTreeMap<String, T>> {
    let decoded = |(path, text): (String, String)| Some((path, decode(decode_hex(&text)?)));
    members.0.into_iter().map(decoded).collect()
}

fn encode_members<T>(
    members: &BTreeMap<String, T>,
    encode: impl Fn(&T) -> String,
) -> BTreeMap<String, String> {
    members
        .iter()
        .map(|(path, value)| (path.clone(), encode(value)))
        .collect()
}
