//! Sealed exports: one line for each leaf up to the newest checkpoint.

use std::collections::HashMap;
use std::io::Write;

use diesel::sql_types::BigInt;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use threadline_seal::field::{Fields, Secret};
use threadline_seal::record::{Entry, RecordKind};
use threadline_seal::sealed_line::{Body, SealedLine};

use super::rows::{
    BigIntRow, BoolRow, CheckpointRow, ChunkRow, FieldsRow, OpeningRow, RecordRow, as_bigint,
    from_bigint, query,
};
use super::{SealError, parse_fields};
use crate::snapshot;

/// Writes a sealed export of one snapshot, in the format of `threadline-seal`. Returns the number of lines. 4,096
/// records are in memory.
///
/// # Errors
/// [`SealError::NoCheckpoint`]; [`SealError::UnsealedRemovals`]; or if the trail cannot be read, or the export cannot be written.
pub async fn write_sealed_export(
    conn: &mut AsyncPgConnection,
    out: &mut (impl Write + Send),
) -> Result<u64, SealError> {
    snapshot::begin(conn).await?;
    let outcome = write_lines(conn, out).await;
    snapshot::end(conn, outcome).await
}

async fn write_lines(
    conn: &mut AsyncPgConnection,
    out: &mut (impl Write + Send),
) -> Result<u64, SealError> {
    let sql = "SELECT max(size) AS value FROM @threadline@.audit_seal_checkpoints HAVING max(size) IS NOT NULL";
    let newest: Vec<BigIntRow> = query(sql).load(conn).await?;
    let size = newest
        .as_slice()
        .first()
        .ok_or(SealError::NoCheckpoint)?
        .value;
    let unsealed = "SELECT EXISTS (SELECT FROM @threadline@.audit_removals WHERE order_id > (
            SELECT (clock ->> 'settled_to')::bigint FROM @threadline@.audit_seal_checkpoints ORDER BY size DESC LIMIT 1
        )) AS value";
    let unsealed: BoolRow = query(unsealed).get_result(conn).await?;
    if unsealed.value {
        return Err(SealError::UnsealedRemovals);
    }
    let mut written = 0;
    while written < size {
        let sql = "SELECT * FROM @threadline@.audit_seal_chunks WHERE first_leaf >= $1 AND first_leaf < $2 \
                   ORDER BY first_leaf LIMIT 16";
        let chunks: Vec<ChunkRow> = query(sql)
            .bind::<BigInt, _>(written)
            .bind::<BigInt, _>(size)
            .load(conn)
            .await?;
        let mut leaves = Vec::new();
        for chunk in &chunks {
            if chunk.first_leaf != written + as_bigint(leaves.len() as u64) {
                return Err(SealError::State("a chunk"));
            }
            leaves.extend(chunk.leaves()?);
        }
        let span = RecordSpan::of(&chunks, leaves.len()).ok_or(SealError::State("a chunk"))?;
        let records = Records::read(conn, &span).await?;
        for (leaf, (entry, secret)) in (written..size).zip(leaves) {
            let line = SealedLine {
                leaf: from_bigint(leaf),
                entry,
                body: records.body(leaf, &entry, secret)?,
            };
            writeln!(out, "{}", line.to_json()).map_err(SealError::Write)?;
            written = leaf + 1;
        }
    }
    out.flush().map_err(SealError::Write)?;
    Ok(from_bigint(written))
}

/// Which records to read: by the ids and by the leaves of some chunks.
pub(super) struct RecordSpan {
    pub(super) first_leaf: i64,
    pub(super) last_leaf: i64,
    pub(super) first_id: i64,
    pub(super) last_id: i64,
}

impl RecordSpan {
    fn of(chunks: &[ChunkRow], leaves: usize) -> Option<Self> {
        let first_leaf = chunks.first()?.first_leaf;
        Some(Self {
            first_leaf,
            last_leaf: first_leaf + as_bigint(leaves as u64) - 1,
            first_id: chunks.iter().map(|chunk| chunk.first_id).min()?,
            last_id: chunks.iter().map(|chunk| chunk.last_id).max()?,
        })
    }
}

/// What the database has of some records.
pub(super) struct Records {
    by_id: HashMap<(RecordKind, i64), Fields>,
    by_leaf: HashMap<i64, Fields>,
    openings: HashMap<i64, OpeningRow>,
}

impl Records {
    pub(super) async fn read(
        conn: &mut AsyncPgConnection,
        span: &RecordSpan,
    ) -> Result<Self, SealError> {
        let of_leaves = |sql| {
            query(sql)
                .bind::<BigInt, _>(span.first_leaf)
                .bind::<BigInt, _>(span.last_leaf)
        };
        let records: Vec<RecordRow> = query(include_str!("sql/records.sql"))
            .bind::<BigInt, _>(span.first_id - 1)
            .bind::<BigInt, _>(span.last_id)
            .load(conn)
            .await?;
        let transactions: Vec<RecordRow> = of_leaves(include_str!("sql/sealed_transactions.sql"))
            .load(conn)
            .await?;
        let clocks = "SELECT size, root, note, clock::text AS clock FROM @threadline@.audit_seal_checkpoints \
                      WHERE size BETWEEN $1 + 1 AND $2 + 1";
        let clocks: Vec<CheckpointRow> = of_leaves(clocks).load(conn).await?;
        let openings = "SELECT leaf, erased::text AS erased, salts::text AS salts \
                        FROM @threadline@.audit_seal_openings WHERE leaf BETWEEN $1 AND $2";
        let openings: Vec<OpeningRow> = of_leaves(openings).load(conn).await?;

        let mut by_id = HashMap::new();
        for record in &records {
            by_id.insert((record.kind()?, record.id), record.fields()?);
        }
        let mut by_leaf = HashMap::new();
        for transaction in &transactions {
            by_leaf.insert(transaction.id, transaction.fields()?);
        }
        for clock in &clocks {
            by_leaf.insert(clock.size - 1, parse_fields(&clock.clock)?);
        }
        if span.first_leaf == 0 {
            let sql = "SELECT genesis::text AS fields FROM @threadline@.audit_seal_logs";
            let genesis: FieldsRow = query(sql).get_result(conn).await?;
            by_leaf.insert(0, genesis.fields()?);
        }
        Ok(Self {
            by_id,
            by_leaf,
            openings: openings
                .into_iter()
                .map(|opening| (opening.leaf, opening))
                .collect(),
        })
    }

    /// The record of a leaf; removed if the database does not have it.
    pub(super) fn body(
        &self,
        leaf: i64,
        entry: &Entry,
        secret: [u8; 16],
    ) -> Result<Body, SealError> {
        let found = self
            .by_leaf
            .get(&leaf)
            .or_else(|| self.by_id.get(&(entry.kind, entry.id)));
        let Some(fields) = found.cloned() else {
            return Ok(Body::Removed);
        };
        let Some(opening) = self.openings.get(&leaf) else {
            let secret = Secret::from_bytes(secret);
            return Ok(Body::Complete { fields, secret });
        };
        Ok(Body::Erased {
            fields,
            erased: opening.erased()?,
            salts: opening.salts()?,
        })
    }
}
