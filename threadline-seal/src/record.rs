//! Sealed records and their entries in the log.

use std::fmt;

use thiserror::Error;

use crate::digest::Digest;
use crate::field::{Fields, Secret, commit_fields, content};
use crate::instant::parse_micros;
use crate::tree;

/// The number of bytes of an [`Entry`].
pub const ENTRY_BYTES: usize = 60;

/// The first bytes of an entry: `TL` and the version of the format.
const MAGIC: [u8; 3] = [0x54, 0x4c, 1];

/// What a leaf of the log seals.
///
/// ```
/// use threadline_seal::record::RecordKind;
///
/// assert_eq!(RecordKind::parse("change"), Some(RecordKind::Change));
/// assert_eq!(RecordKind::Change.code(), b'C');
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RecordKind {
    /// The first leaf of a log.
    Genesis,
    /// A row of `audit_transactions`.
    Transaction,
    /// A row of `audit_changes`.
    Change,
    /// A row of `audit_actions`.
    Action,
    /// A row of `audit_removals`.
    Removal,
    /// A row of `audit_suspensions`.
    Suspension,
    /// A row of `audit_evidence`.
    Evidence,
    /// A row of `audit_enrolments`.
    Enrolment,
    /// The database's clock and position, sealed before each checkpoint.
    Clock,
}

impl RecordKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Genesis,
        Self::Transaction,
        Self::Change,
        Self::Action,
        Self::Removal,
        Self::Suspension,
        Self::Evidence,
        Self::Enrolment,
        Self::Clock,
    ];

    /// Its byte in an entry, an ASCII letter.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Genesis => b'G',
            Self::Transaction => b'T',
            Self::Change => b'C',
            Self::Action => b'A',
            Self::Removal => b'R',
            Self::Suspension => b'S',
            Self::Evidence => b'E',
            Self::Enrolment => b'N',
            Self::Clock => b'K',
        }
    }

    /// Its name in a sealed export.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Transaction => "transaction",
            Self::Change => "change",
            Self::Action => "action",
            Self::Removal => "removal",
            Self::Suspension => "suspension",
            Self::Evidence => "evidence",
            Self::Enrolment => "enrolment",
            Self::Clock => "clock",
        }
    }

    /// The kind with a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The field with the record's id. A transaction has none: its id in the log is the id of its first change.
    fn id_field(self) -> Option<&'static str> {
        match self {
            Self::Genesis => Some("from_id"),
            Self::Transaction => None,
            Self::Change => Some("id"),
            Self::Clock => Some("settled_to"),
            _ => Some("order_id"),
        }
    }

    /// The field with the record's time. Retention removes transactions and actions by the times in their ids.
    fn time_field(self) -> &'static str {
        match self {
            Self::Genesis => "began_at",
            Self::Transaction | Self::Action => "id",
            Self::Change => "captured_at",
            Self::Removal => "removed_at",
            Self::Suspension => "suspended_at",
            Self::Evidence | Self::Enrolment => "recorded_at",
            Self::Clock => "read_at",
        }
    }

    fn has_table(self) -> bool {
        matches!(self, Self::Change | Self::Enrolment)
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A table in an entry: the first eight bytes of a digest of its name, or zeros.
///
/// ```
/// use threadline_seal::record::TableTag;
///
/// assert_eq!(TableTag::of("public", "members"), TableTag::of("public", "members"));
/// assert_ne!(TableTag::of("public", "members"), TableTag::NONE);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableTag([u8; 8]);

impl TableTag {
    /// The tag of a record that belongs to no table.
    pub const NONE: Self = Self([0; 8]);

    /// The tag of a table.
    #[must_use]
    pub fn of(schema: &str, table: &str) -> Self {
        let digest = Digest::of(&[schema.as_bytes(), &[0], table.as_bytes()]);
        let mut tag = [0; 8];
        tag.copy_from_slice(&digest.as_bytes()[..8]);
        Self(tag)
    }
}

/// The fields of a record do not make an entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// A field is absent that every record of the kind has.
    #[error("{kind}: the field `{field}` is absent")]
    MissingField {
        /// The kind of the record.
        kind: RecordKind,
        /// The field.
        field: &'static str,
    },
    /// A field has a value of another form.
    #[error("{kind}: the field `{field}` does not contain {expected}")]
    MalformedField {
        /// The kind of the record.
        kind: RecordKind,
        /// The field.
        field: &'static str,
        /// The expected content.
        expected: &'static str,
    },
}

/// What the log stores of a record: 60 bytes without values. Its hash is a leaf of the tree.
///
/// ```
/// use threadline_seal::field::{Fields, Secret};
/// use threadline_seal::record::{Entry, RecordKind};
///
/// let fields = Fields::from([
///     ("id".to_owned(), "42".to_owned()),
///     ("captured_at".to_owned(), "2026-11-21T09:30:00.000001Z".to_owned()),
///     ("table_schema".to_owned(), "public".to_owned()),
///     ("table_name".to_owned(), "members".to_owned()),
/// ]);
/// let entry = Entry::seal(RecordKind::Change, 42, &fields, &Secret::from_bytes([7; 16]))?;
/// assert_eq!(Entry::from_bytes(&entry.to_bytes()), Some(entry));
/// # Ok::<(), threadline_seal::record::InvalidRecord>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The kind of the record.
    pub kind: RecordKind,
    /// Its id: a value of the sequence that orders the trail.
    pub id: i64,
    /// Its time in microseconds since 1970-01-01 UTC.
    pub micros: i64,
    /// Its table.
    pub table: TableTag,
    /// The digest of its fields.
    pub content: Digest,
}

impl Entry {
    /// The entry of a record whose fields are complete.
    ///
    /// # Errors
    ///
    /// Returns an error if a field with id, time or table is absent or malformed.
    pub fn seal(
        kind: RecordKind,
        id: i64,
        fields: &Fields,
        secret: &Secret,
    ) -> Result<Self, InvalidRecord> {
        Self::with_content(kind, id, fields, content(&commit_fields(fields, secret)))
    }

    /// The entry of a record from its fields and the digest of their commitments.
    pub(crate) fn with_content(
        kind: RecordKind,
        id: i64,
        fields: &Fields,
        content: Digest,
    ) -> Result<Self, InvalidRecord> {
        let value = |field: &'static str| {
            fields
                .get(field)
                .map(String::as_str)
                .ok_or(InvalidRecord::MissingField { kind, field })
        };
        if let Some(field) = kind.id_field()
            && value(field)? != id.to_string()
        {
            return Err(InvalidRecord::MalformedField {
                kind,
                field,
                expected: "the record's id",
            });
        }
        let field = kind.time_field();
        let time = value(field)?;
        let micros = match kind {
            RecordKind::Transaction => transaction_start(time),
            RecordKind::Action => uuid_v7_time(time),
            _ => parse_micros(time),
        };
        let table = if kind.has_table() {
            TableTag::of(value("table_schema")?, value("table_name")?)
        } else {
            TableTag::NONE
        };
        Ok(Self {
            kind,
            id,
            micros: micros.ok_or(InvalidRecord::MalformedField {
                kind,
                field,
                expected: "an instant",
            })?,
            table,
            content,
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..3].copy_from_slice(&MAGIC);
        bytes[3] = self.kind.code();
        bytes[4..12].copy_from_slice(&self.id.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.micros.to_be_bytes());
        bytes[20..28].copy_from_slice(&self.table.0);
        bytes[28..].copy_from_slice(self.content.as_bytes());
        bytes
    }

    /// The entry with these bytes; none if they have another version or an unknown kind.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        if bytes[..3] != MAGIC {
            return None;
        }
        let kind = RecordKind::ALL
            .into_iter()
            .find(|kind| kind.code() == bytes[3])?;
        Some(Self {
            kind,
            id: i64::from_be_bytes(bytes[4..12].try_into().ok()?),
            micros: i64::from_be_bytes(bytes[12..20].try_into().ok()?),
            table: TableTag(bytes[20..28].try_into().ok()?),
            content: Digest::from_bytes(bytes[28..].try_into().ok()?),
        })
    }

    /// Its leaf hash.
    #[must_use]
    pub fn leaf_hash(&self) -> Digest {
        tree::leaf_hash(&self.to_bytes())
    }
}

/// The first eight bytes of an id as a number.
fn uuid_prefix(id: &str) -> Option<i64> {
    let digits: String = id.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    i64::from_str_radix(&digits[..16], 16).ok()
}

/// The start of a transaction, which is in its id as microseconds since 2000-01-01 UTC.
fn transaction_start(id: &str) -> Option<i64> {
    uuid_prefix(id)?.checked_add(946_684_800_000_000)
}

/// The time of a version 7 uuid, which has 48 bits of milliseconds.
fn uuid_v7_time(id: &str) -> Option<i64> {
    Some((uuid_prefix(id)? >> 16) * 1000)
}
