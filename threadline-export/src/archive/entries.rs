//! The sealed entries of records, to compare archived records with.

use std::collections::{BTreeMap, HashMap, HashSet};

use diesel::sql_types::{Array, BigInt};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use threadline_seal::digest::Digest;
use threadline_seal::field::{Fields, Salt, Secret};
use threadline_seal::instant::parse_micros;
use threadline_seal::record::{Entry, RecordKind};
use threadline_seal::sealed_line::{Body, SealedLine};

use super::columns::value;
use super::fields::{MalformedJson, record_kind, sealed_fields};
use super::layout::ArchiveKind;
use super::read::ArchivedRecord;
use crate::seal::SealError;
use crate::seal::rows::{ChunkRow, OpeningRow, from_bigint, query};

/// What the database has of a sealed record: its entry, and what verifies its fields.
#[derive(Debug, Clone)]
pub struct SealedRecord {
    /// The index of the leaf.
    pub leaf: i64,
    /// The entry.
    pub entry: Entry,
    secret: Secret,
    opening: Option<Opening>,
}

/// The commitments of erased fields, and the salts of the others.
#[derive(Debug, Clone)]
struct Opening {
    erased: BTreeMap<String, Digest>,
    salts: BTreeMap<String, Salt>,
}

/// A record is not the sealed one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The log has no such record.
    #[error("it is not sealed")]
    Unsealed,
    /// The leaf is the one of another record.
    #[error("its leaf is the one of another record")]
    OtherRecord,
    /// The time of the record is on another day than the file.
    #[error("it is of another day")]
    OtherDay,
    /// Another record of the day has the same leaf.
    #[error("it is there twice")]
    Repeated,
    /// The record has no secret, and no fields of it were erased.
    #[error("its secret is absent")]
    NoSecret,
    /// A column has malformed JSON.
    #[error(transparent)]
    MalformedJson(#[from] MalformedJson),
    /// A restore brought an erased value back.
    #[error("the erased value of `{0}` is back: run the erasure again")]
    ErasedValue(String),
    /// The fields do not have the digest that was sealed.
    #[error("its fields differ from the sealed ones")]
    ContentDiffers,
}

impl SealedRecord {
    /// The secret; none if fields were erased.
    pub(super) fn secret(&self) -> Option<Secret> {
        self.opening.is_none().then(|| self.secret.clone())
    }

    /// Recomputes the entry from the columns of a record.
    ///
    /// # Errors
    /// [`Mismatch`] if it is another one.
    pub fn check(&self, kind: ArchiveKind, record: &ArchivedRecord) -> Result<(), Mismatch> {
        let fields = sealed_fields(kind, &record.values)?;
        if record.leaf != self.leaf || !self.has_identity(kind, record) {
            return Err(Mismatch::OtherRecord);
        }
        let line = SealedLine {
            leaf: from_bigint(self.leaf),
            entry: self.entry,
            body: self.body(fields, record.secret.clone())?,
        };
        line.check_content().map_err(|_| Mismatch::ContentDiffers)
    }

    /// The erased fields of a record must not have their values, which a restore brings back.
    pub(super) fn check_erased(
        &self,
        kind: ArchiveKind,
        record: &ArchivedRecord,
    ) -> Result<(), Mismatch> {
        let Some(opening) = &self.opening else {
            return Ok(());
        };
        let fields = sealed_fields(kind, &record.values)?;
        let is_erased = |path: &&String| {
            fields.get(*path).is_none_or(|value| {
                let actor_id = value.split_once(':').map(|(_, id)| id);
                value.trim_matches('"') == "[ERASED]"
                    || actor_id.is_some_and(|id| id.starts_with("erased-"))
            })
        };
        match opening.erased.keys().find(|path| !is_erased(path)) {
            Some(path) => Err(Mismatch::ErasedValue(path.clone())),
            None => Ok(()),
        }
    }

    /// Whether the columns that are not sealed agree with the entry.
    fn has_identity(&self, kind: ArchiveKind, record: &ArchivedRecord) -> bool {
        let value = |name| value(kind, &record.values, name);
        record_kind(kind, &record.values) == Some(self.entry.kind)
            && (kind != ArchiveKind::Records
                || value("id") == Some(self.entry.id.to_string().as_str())
                    && value("recorded_at").and_then(parse_micros) == Some(self.entry.micros))
    }

    /// A file that was written before an erasure has the secret still.
    fn body(&self, fields: Fields, secret: Option<Secret>) -> Result<Body, Mismatch> {
        match (secret, &self.opening) {
            (Some(secret), _) => Ok(Body::Complete { fields, secret }),
            (None, Some(opening)) => Ok(Body::Erased {
                fields,
                erased: opening.erased.clone(),
                salts: opening.salts.clone(),
            }),
            (None, None) => Err(Mismatch::NoSecret),
        }
    }
}

/// The sealed records of leaves, by leaf. A leaf that the log does not have is absent.
///
/// # Errors
/// [`SealError`] if the log is malformed, or the database reports an error.
pub async fn sealed_by_leaf(
    conn: &mut AsyncPgConnection,
    leaves: &[i64],
) -> Result<HashMap<i64, SealedRecord>, SealError> {
    let chunks = load_chunks(conn, include_str!("sql/chunks_by_leaf.sql"), leaves).await?;
    let wanted: HashSet<i64> = leaves.iter().copied().collect();
    let found = leaves_of(&chunks)?
        .into_iter()
        .filter(|(leaf, ..)| wanted.contains(leaf))
        .map(|found| (found.0, found));
    with_openings(conn, found.collect()).await
}

/// The sealed records of some kinds, by id.
pub(super) async fn sealed_by_id(
    conn: &mut AsyncPgConnection,
    kinds: &[RecordKind],
    ids: &[i64],
) -> Result<HashMap<i64, SealedRecord>, SealError> {
    let chunks = load_chunks(conn, include_str!("sql/chunks_by_id.sql"), ids).await?;
    let wanted: HashSet<i64> = ids.iter().copied().collect();
    let found = leaves_of(&chunks)?
        .into_iter()
        .filter(|(_, entry, _)| kinds.contains(&entry.kind) && wanted.contains(&entry.id))
        .map(|found| (found.1.id, found));
    with_openings(conn, found.collect()).await
}

type Leaf = (i64, Entry, [u8; 16]);

async fn load_chunks(
    conn: &mut AsyncPgConnection,
    sql: &str,
    keys: &[i64],
) -> Result<Vec<ChunkRow>, SealError> {
    let chunks = query(sql).bind::<Array<BigInt>, _>(keys.to_vec());
    Ok(chunks.load(conn).await?)
}

fn leaves_of(chunks: &[ChunkRow]) -> Result<Vec<Leaf>, SealError> {
    let mut leaves = Vec::new();
    for chunk in chunks {
        let of_chunk = (chunk.first_leaf..).zip(chunk.leaves()?);
        leaves.extend(of_chunk.map(|(leaf, (entry, secret))| (leaf, entry, secret)));
    }
    Ok(leaves)
}

async fn with_openings(
    conn: &mut AsyncPgConnection,
    found: HashMap<i64, Leaf>,
) -> Result<HashMap<i64, SealedRecord>, SealError> {
    let leaves: Vec<i64> = found.values().map(|(leaf, ..)| *leaf).collect();
    let sql = "SELECT leaf, erased::text AS erased, salts::text AS salts \
               FROM @threadline@.audit_seal_openings WHERE leaf = ANY ($1)";
    let rows: Vec<OpeningRow> = query(sql)
        .bind::<Array<BigInt>, _>(leaves)
        .load(conn)
        .await?;
    let mut openings = HashMap::new();
    for row in rows {
        let opening = Opening {
            erased: row.erased()?,
            salts: row.salts()?,
        };
        openings.insert(row.leaf, opening);
    }
    let sealed = |(key, (leaf, entry, secret)): (i64, Leaf)| {
        let record = SealedRecord {
            leaf,
            entry,
            secret: Secret::from_bytes(secret),
            opening: openings.remove(&leaf),
        };
        (key, record)
    };
    Ok(found.into_iter().map(sealed).collect())
}
