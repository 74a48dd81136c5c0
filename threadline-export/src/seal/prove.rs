//! Proofs that records are in the log.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use diesel::sql_types::{Array, BigInt, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use threadline_diesel::evidence::{EvidenceDocument, EvidenceSeal};
use threadline_seal::digest::Digest;
use threadline_seal::field::Secret;
use threadline_seal::inclusion::InclusionProofs;
use threadline_seal::proof::RecordProof;
use threadline_seal::record::{Entry, RecordKind};
use threadline_seal::sealed_line::{Body, SealedLine};
use uuid::Uuid;

use super::SealError;
use super::export::{RecordSpan, Records};
use super::leaves::{LeafRow, find_leaves, read_entries, read_leaf};
use super::rows::{BigIntRow, BoolRow, CheckpointRow, RecordRow, digest, from_bigint, query};
use crate::snapshot;

/// A record to prove, written `change:42`, `action:43` (by `order_id`) or `transaction:<uuid>`.
///
/// ```
/// use threadline_export::seal::SealedRecord;
///
/// let record: SealedRecord = "change:42".parse()?;
/// assert_eq!(record.to_string(), "change:42");
/// # Ok::<(), threadline_export::seal::InvalidSealedRecord>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealedRecord {
    /// A transaction, by its id.
    Transaction(Uuid),
    /// A record of another kind, by its id in the order of capture.
    Other(RecordKind, i64),
}

/// A text names no record that can be proven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a record; write change:42, transaction:<uuid>, or action, removal, suspension, evidence or enrolment \
     with an order_id"
)]
pub struct InvalidSealedRecord(String);

impl FromStr for SealedRecord {
    type Err = InvalidSealedRecord;

    fn from_str(text: &str) -> Result<Self, InvalidSealedRecord> {
        let invalid = || InvalidSealedRecord(text.to_owned());
        let (kind, id) = text.split_once(':').ok_or_else(invalid)?;
        match RecordKind::parse(kind).ok_or_else(invalid)? {
            RecordKind::Genesis | RecordKind::Clock => Err(invalid()),
            RecordKind::Transaction => id.parse().map(Self::Transaction).map_err(|_| invalid()),
            kind => id
                .parse()
                .map(|id| Self::Other(kind, id))
                .map_err(|_| invalid()),
        }
    }
}

impl fmt::Display for SealedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transaction(id) => write!(f, "transaction:{id}"),
            Self::Other(kind, id) => write!(f, "{kind}:{id}"),
        }
    }
}

/// Proves that a record is in the log, with the newest checkpoint. Reads the entries of all leaves before it.
///
/// # Errors
/// [`SealError::NotSealed`] if no checkpoint covers the record; [`SealError::State`] if the log in the database is not
/// that of its checkpoint; or when the database reports an error.
pub async fn prove(
    conn: &mut AsyncPgConnection,
    record: SealedRecord,
) -> Result<RecordProof, SealError> {
    snapshot::begin(conn).await?;
    let outcome = prove_in_snapshot(conn, record).await;
    snapshot::end(conn, outcome).await
}

async fn prove_in_snapshot(
    conn: &mut AsyncPgConnection,
    record: SealedRecord,
) -> Result<RecordProof, SealError> {
    let checkpoint = newest_checkpoint(conn)
        .await?
        .ok_or(SealError::NoCheckpoint)?;
    let found = find_leaf(conn, record).await?;
    let leaf = found
        .filter(|row| row.leaf < checkpoint.size)
        .ok_or_else(|| SealError::NotSealed(record.to_string()))?;
    let entry = leaf.entry()?;
    let span = RecordSpan {
        first_leaf: leaf.leaf,
        last_leaf: leaf.leaf,
        first_id: entry.id,
        last_id: entry.id,
    };
    let records = Records::read(conn, &span).await?;
    let line = SealedLine {
        leaf: from_bigint(leaf.leaf),
        entry,
        body: records.body(leaf.leaf, &entry, leaf.secret()?)?,
    };
    let mut proofs = prove_leaves(conn, vec![line.leaf], &checkpoint).await?;
    Ok(RecordProof {
        line,
        hashes: proofs.pop().unwrap_or_default(),
        checkpoint: checkpoint.note,
    })
}

/// Adds to each record of a document its leaf and a proof with the newest checkpoint, if a checkpoint covers it and the
/// role can read the seals. Reads all entries once. Call it in a transaction with the snapshot of the document.
///
/// # Errors
/// [`SealError::State`] if the log in the database is not that of its checkpoint; or when the database reports an error.
pub async fn add_seals(
    conn: &mut AsyncPgConnection,
    document: &mut EvidenceDocument,
) -> Result<(), SealError> {
    // A reader of evidence may lack the privilege on the secrets of seals, and seals may not be installed.
    let readable = "SELECT coalesce(
            has_table_privilege(to_regclass('@threadline@.audit_seal_chunks'), 'SELECT')
            AND has_table_privilege(to_regclass('@threadline@.audit_seal_checkpoints'), 'SELECT')
            AND has_function_privilege(to_regprocedure('@threadline@.seal_fields(jsonb)'), 'EXECUTE'), false) AS value";
    let readable: BoolRow = query(readable).get_result(conn).await?;
    if !readable.value {
        return Ok(());
    }
    let Some(checkpoint) = newest_checkpoint(conn).await? else {
        return Ok(());
    };
    let records = &mut document.content.records;
    let ids: Vec<i64> = records
        .iter()
        .map(|record| record.evidence.order_id)
        .collect();
    let mut leaves = find_leaves(conn, RecordKind::Evidence, &ids).await?;
    leaves.retain(|row| row.leaf < checkpoint.size);
    if leaves.is_empty() {
        return Ok(());
    }
    let fields: Vec<RecordRow> = query(include_str!("sql/evidence.sql"))
        .bind::<Array<BigInt>, _>(ids)
        .load(conn)
        .await?;
    let mut fields: HashMap<i64, RecordRow> = fields.into_iter().map(|row| (row.id, row)).collect();
    let indexes = leaves.iter().map(|row| from_bigint(row.leaf)).collect();
    let proofs = prove_leaves(conn, indexes, &checkpoint).await?;
    let mut seals = HashMap::new();
    for (row, hashes) in leaves.iter().zip(proofs) {
        let entry = row.entry()?;
        let Some(fields) = fields.remove(&entry.id) else {
            continue;
        };
        let proof = RecordProof {
            line: SealedLine {
                leaf: from_bigint(row.leaf),
                entry,
                body: Body::Complete {
                    fields: fields.fields()?,
                    secret: Secret::from_bytes(row.secret()?),
                },
            },
            hashes,
            checkpoint: checkpoint.note.clone(),
        };
        let seal = EvidenceSeal::new(
            proof.line.leaf,
            from_bigint(checkpoint.size),
            proof.to_string(),
        );
        seals.insert(entry.id, seal);
    }
    for record in records {
        record.seal = seals.remove(&record.evidence.order_id);
    }
    Ok(())
}

async fn find_leaf(
    conn: &mut AsyncPgConnection,
    record: SealedRecord,
) -> Result<Option<LeafRow>, SealError> {
    match record {
        SealedRecord::Other(kind, id) => Ok(find_leaves(conn, kind, &[id]).await?.pop()),
        SealedRecord::Transaction(id) => {
            let sql = "SELECT leaf AS value FROM @threadline@.audit_seal_transactions WHERE transaction_id = $1";
            let leaf: Vec<BigIntRow> = query(sql).bind::<SqlUuid, _>(id).load(conn).await?;
            match leaf.as_slice().first() {
                Some(leaf) => Ok(Some(read_leaf(conn, leaf.value).await?)),
                None => Ok(None),
            }
        }
    }
}

/// The inclusion proofs of leaves in the tree of a checkpoint.
async fn prove_leaves(
    conn: &mut AsyncPgConnection,
    leaves: Vec<u64>,
    checkpoint: &CheckpointRow,
) -> Result<Vec<Vec<Digest>>, SealError> {
    let size = from_bigint(checkpoint.size);
    let mut proofs = InclusionProofs::new(leaves, size);
    while proofs.pushed() < size {
        let entries = read_entries(conn, proofs.pushed(), size).await?;
        entries
            .iter()
            .map(Entry::leaf_hash)
            .for_each(|hash| proofs.push(hash));
    }
    let (root, proofs) = proofs.finish();
    if root == digest(&checkpoint.root)? {
        Ok(proofs)
    } else {
        Err(SealError::State("the tree"))
    }
}

async fn newest_checkpoint(
    conn: &mut AsyncPgConnection,
) -> Result<Option<CheckpointRow>, SealError> {
    let sql = "SELECT size, root, note, clock::text AS clock FROM @threadline@.audit_seal_checkpoints \
               ORDER BY size DESC LIMIT 1";
    Ok(query(sql).load(conn).await?.pop())
}
