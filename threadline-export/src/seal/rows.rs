//! Statements and rows of the sealer.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{BigInt, Bool, Bytea, Nullable, Text, Timestamptz};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_seal::digest::{Digest, decode_hex};
use threadline_seal::field::{Fields, Salt};
use threadline_seal::record::{ENTRY_BYTES, Entry, RecordKind};

use super::fields::fields_of_row;
use super::{SealError, parse_fields};

/// A statement on the trail.
pub(crate) fn query(sql: &str) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    diesel::sql_query(sql.replace("@threadline@", STORAGE_SCHEMA)).into_boxed()
}

/// An index or size of the log as PostgreSQL stores it.
pub(crate) fn as_bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The inverse of [`as_bigint`].
pub(crate) fn from_bigint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A digest as PostgreSQL stores it.
pub(super) fn digest(bytes: &[u8]) -> Result<Digest, SealError> {
    let bytes = bytes.try_into().map_err(|_| SealError::State("a hash"))?;
    Ok(Digest::from_bytes(bytes))
}

#[derive(Debug, QueryableByName)]
pub(super) struct BoolRow {
    #[diesel(sql_type = Bool)]
    pub(super) value: bool,
}

#[derive(Debug, QueryableByName)]
pub(super) struct BigIntRow {
    #[diesel(sql_type = BigInt)]
    pub(super) value: i64,
}

#[derive(Debug, QueryableByName)]
pub(super) struct TextRow {
    #[diesel(sql_type = Text)]
    pub(super) value: String,
}

/// The fields of one record.
#[derive(Debug, QueryableByName)]
pub(super) struct FieldsRow {
    #[diesel(sql_type = Text)]
    fields: String,
}

impl FieldsRow {
    pub(super) fn fields(&self) -> Result<Fields, SealError> {
        parse_fields(&self.fields)
    }

    pub(super) fn json(&self) -> &str {
        &self.fields
    }
}

/// A record of the trail.
#[derive(Debug, QueryableByName)]
pub(super) struct RecordRow {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    pub(super) id: i64,
    #[diesel(sql_type = Bool)]
    is_row: bool,
    /// The row, or its sealed fields.
    #[diesel(sql_type = Text)]
    content: String,
}

impl RecordRow {
    pub(super) fn kind(&self) -> Result<RecordKind, SealError> {
        RecordKind::parse(&self.kind).ok_or(SealError::Fields)
    }

    pub(super) fn fields(&self) -> Result<Fields, SealError> {
        if self.is_row {
            fields_of_row(&self.content)
        } else {
            parse_fields(&self.content)
        }
    }
}

/// The state of the log.
#[derive(Debug, QueryableByName)]
pub(super) struct LogRow {
    #[diesel(sql_type = Text)]
    pub(super) origin: String,
    #[diesel(sql_type = BigInt)]
    pub(super) sealed_to: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) size: i64,
    #[diesel(sql_type = Bytea)]
    pub(super) frontier: Vec<u8>,
}

/// A chunk of leaves.
#[derive(Debug, QueryableByName)]
pub(crate) struct ChunkRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) first_leaf: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) first_id: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) last_id: i64,
    #[diesel(sql_type = Bytea)]
    entries: Vec<u8>,
    #[diesel(sql_type = Bytea)]
    secrets: Vec<u8>,
}

impl ChunkRow {
    /// The entries and secrets of its leaves.
    pub(crate) fn leaves(&self) -> Result<Vec<(Entry, [u8; 16])>, SealError> {
        let malformed = || SealError::State("a chunk");
        let (entries, rest) = self.entries.as_chunks::<ENTRY_BYTES>();
        let (secrets, more) = self.secrets.as_chunks::<16>();
        if !rest.is_empty() || !more.is_empty() || entries.len() != secrets.len() {
            return Err(malformed());
        }
        let leaf = |(entry, secret): (&[u8; ENTRY_BYTES], &[u8; 16])| {
            Ok((Entry::from_bytes(entry).ok_or_else(malformed)?, *secret))
        };
        entries.iter().zip(secrets).map(leaf).collect()
    }
}

/// A signed checkpoint.
#[derive(Debug, QueryableByName)]
pub(super) struct CheckpointRow {
    #[diesel(sql_type = BigInt)]
    pub(super) size: i64,
    #[diesel(sql_type = Bytea)]
    pub(super) root: Vec<u8>,
    #[diesel(sql_type = Text)]
    pub(super) note: String,
    #[diesel(sql_type = Text)]
    pub(super) clock: String,
}

/// A record of which fields were erased.
#[derive(Debug, QueryableByName)]
pub(crate) struct OpeningRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) leaf: i64,
    #[diesel(sql_type = Text)]
    erased: String,
    #[diesel(sql_type = Text)]
    salts: String,
}

impl OpeningRow {
    /// The commitments of the erased fields.
    pub(crate) fn erased(&self) -> Result<BTreeMap<String, Digest>, SealError> {
        decode_members(&self.erased, Digest::from_bytes)
    }

    /// The salts of the other fields.
    pub(crate) fn salts(&self) -> Result<BTreeMap<String, Salt>, SealError> {
        decode_members(&self.salts, Salt::from_bytes)
    }
}

/// Decodes the hexadecimal members of an opening.
fn decode_members<const N: usize, T>(
    json: &str,
    from_bytes: impl Fn([u8; N]) -> T,
) -> Result<BTreeMap<String, T>, SealError> {
    let decoded = |(path, digits): (String, String)| {
        let bytes = decode_hex(&digits).ok_or(SealError::State("an opening"))?;
        Ok((path, from_bytes(bytes)))
    };
    parse_fields(json)?.into_iter().map(decoded).collect()
}

/// The state of the log and its newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, QueryableByName)]
#[non_exhaustive]
pub struct SealStatus {
    /// The name of the log.
    #[diesel(sql_type = Text)]
    pub origin: String,
    /// The number of its leaves.
    #[diesel(sql_type = BigInt)]
    pub size: i64,
    /// The id up to which all records are sealed.
    #[diesel(sql_type = BigInt)]
    pub sealed_to: i64,
    /// The last assigned id.
    #[diesel(sql_type = BigInt)]
    pub last_id: i64,
    /// The size of the newest checkpoint.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub checkpoint_size: Option<i64>,
    /// When it was signed.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub signed_at: Option<DateTime<Utc>>,
    /// When it was published.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub published_at: Option<DateTime<Utc>>,
}
