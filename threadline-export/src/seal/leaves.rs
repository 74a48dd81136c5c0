//! Entries of the log, read in the order of leaves or found by record.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bytea};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use threadline_seal::record::{ENTRY_BYTES, Entry, RecordKind};

use super::SealError;
use super::rows::{as_bigint, from_bigint, query};

/// The entries of leaves from one up to another, at most those of 64 chunks.
pub(super) async fn read_entries(
    conn: &mut AsyncPgConnection,
    first: u64,
    end: u64,
) -> Result<Vec<Entry>, SealError> {
    let mut entries = Vec::new();
    if first == end {
        return Ok(entries);
    }
    let chunks: Vec<EntriesRow> = query(include_str!("sql/entries.sql"))
        .bind::<BigInt, _>(as_bigint(first))
        .bind::<BigInt, _>(as_bigint(end))
        .load(conn)
        .await?;
    let mut next = first;
    for chunk in chunks {
        let (chunk_entries, rest) = chunk.entries.as_chunks::<ENTRY_BYTES>();
        let start = from_bigint(chunk.first_leaf);
        if !rest.is_empty() || start > next {
            return Err(SealError::State("a chunk"));
        }
        for (leaf, bytes) in (start..end).zip(chunk_entries) {
            if leaf == next {
                entries.push(Entry::from_bytes(bytes).ok_or(SealError::State("a chunk"))?);
                next += 1;
            }
        }
    }
    if entries.is_empty() {
        return Err(SealError::State("a chunk"));
    }
    Ok(entries)
}

#[derive(Debug, QueryableByName)]
struct EntriesRow {
    #[diesel(sql_type = BigInt)]
    first_leaf: i64,
    #[diesel(sql_type = Bytea)]
    entries: Vec<u8>,
}

/// A leaf with its entry and secret.
#[derive(Debug, QueryableByName)]
pub(super) struct LeafRow {
    #[diesel(sql_type = BigInt)]
    pub(super) leaf: i64,
    #[diesel(sql_type = Bytea)]
    entry: Vec<u8>,
    #[diesel(sql_type = Bytea)]
    secret: Vec<u8>,
}

impl LeafRow {
    pub(super) fn entry(&self) -> Result<Entry, SealError> {
        let bytes = self.entry.as_slice().try_into().ok();
        bytes
            .and_then(Entry::from_bytes)
            .ok_or(SealError::State("a chunk"))
    }

    pub(super) fn secret(&self) -> Result<[u8; 16], SealError> {
        let bytes = self.secret.as_slice().try_into();
        bytes.map_err(|_| SealError::State("a chunk"))
    }
}

/// Finds the leaves of records of a kind by their ids, in the order of leaves. Records that are not sealed are absent.
pub(super) async fn find_leaves(
    conn: &mut AsyncPgConnection,
    kind: RecordKind,
    ids: &[i64],
) -> Result<Vec<LeafRow>, SealError> {
    let starts: Vec<Vec<u8>> = ids.iter().map(|id| entry_start(kind, *id)).collect();
    let rows = query(include_str!("sql/find_leaves.sql"))
        .bind::<Array<BigInt>, _>(ids.to_vec())
        .bind::<Array<Bytea>, _>(starts)
        .load(conn)
        .await?;
    Ok(rows)
}

/// Reads a leaf by its index.
pub(super) async fn read_leaf(
    conn: &mut AsyncPgConnection,
    leaf: i64,
) -> Result<LeafRow, SealError> {
    let row = query(include_str!("sql/leaf.sql"))
        .bind::<BigInt, _>(leaf)
        .get_result(conn)
        .await?;
    Ok(row)
}

/// The bytes of an entry up to its id.
fn entry_start(kind: RecordKind, id: i64) -> Vec<u8> {
    let mut bytes = vec![0x54, 0x4c, 1, kind.code()];
    bytes.extend(id.to_be_bytes());
    bytes
}
