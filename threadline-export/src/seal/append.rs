//! Appending leaves to the log, under the lock of its row.

use std::collections::BTreeMap;

use diesel::sql_types::{Array, BigInt, Bytea, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::TryStreamExt;
use threadline_seal::digest::Digest;
use threadline_seal::field::{Fields, Secret};
use threadline_seal::record::{ENTRY_BYTES, Entry, RecordKind};
use threadline_seal::tiles::TILE_WIDTH;
use threadline_seal::tree::Frontier;
use uuid::Uuid;

use super::SealError;
use super::rows::{LogRow, RecordRow, as_bigint, digest, from_bigint, query};

/// New leaves of the log, until they are stored.
pub(super) struct Append {
    log: LogRow,
    frontier: Frontier,
    leaves: Vec<(Entry, Secret)>,
    transactions: Vec<(Uuid, u64)>,
}

impl Append {
    /// Locks the log until the end of the transaction. Other sealers and erasures wait.
    pub(super) async fn lock(conn: &mut AsyncPgConnection) -> Result<Self, SealError> {
        let sql =
            "SELECT origin, sealed_to, size, frontier FROM @threadline@.audit_seal_logs FOR UPDATE";
        let log: LogRow = query(sql)
            .load(conn)
            .await?
            .pop()
            .ok_or(SealError::NotBegun)?;
        let nodes = log
            .frontier
            .chunks(32)
            .map(digest)
            .collect::<Result<_, _>>()?;
        let frontier =
            Frontier::new(from_bigint(log.size), nodes).ok_or(SealError::State("the frontier"))?;
        Ok(Self {
            log,
            frontier,
            leaves: Vec::new(),
            transactions: Vec::new(),
        })
    }

    pub(super) fn origin(&self) -> &str {
        &self.log.origin
    }

    pub(super) fn sealed_to(&self) -> i64 {
        self.log.sealed_to
    }

    pub(super) fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(super) fn root(&self) -> Digest {
        self.frontier.root()
    }

    pub(super) fn new_leaves(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// Appends a record.
    pub(super) fn push(
        &mut self,
        kind: RecordKind,
        id: i64,
        fields: &Fields,
    ) -> Result<(), SealError> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        let secret = Secret::from_bytes(secret);
        let entry = Entry::seal(kind, id, fields, &secret)
            .map_err(|source| SealError::Record { id, source })?;
        if kind == RecordKind::Transaction {
            let transaction = fields.get("id").and_then(|id| id.parse().ok());
            self.transactions
                .push((transaction.ok_or(SealError::Fields)?, self.size()));
        }
        self.frontier.push(entry.leaf_hash());
        self.leaves.push((entry, secret));
        Ok(())
    }

    /// Appends the records with ids after one up to another, each transaction before its first change.
    pub(super) async fn push_records(
        &mut self,
        conn: &mut AsyncPgConnection,
        after: i64,
        to: i64,
    ) -> Result<(), SealError> {
        let new_transactions: Vec<RecordRow> = query(include_str!("sql/new_transactions.sql"))
            .bind::<BigInt, _>(after)
            .bind::<BigInt, _>(to)
            .load(conn)
            .await?;
        let mut transactions: BTreeMap<i64, RecordRow> = new_transactions
            .into_iter()
            .map(|transaction| (transaction.id, transaction))
            .collect();
        let mut records = query(include_str!("sql/records.sql"))
            .bind::<BigInt, _>(after)
            .bind::<BigInt, _>(to)
            .load_stream::<RecordRow>(conn)
            .await?;
        while let Some(record) = records.try_next().await? {
            if let Some(transaction) = transactions.remove(&record.id) {
                self.push(RecordKind::Transaction, record.id, &transaction.fields()?)?;
            }
            self.push(record.kind()?, record.id, &record.fields()?)?;
        }
        Ok(())
    }

    /// Stores the new leaves and the state of the log, which is then sealed up to an id.
    pub(super) async fn store(
        self,
        conn: &mut AsyncPgConnection,
        sealed_to: i64,
    ) -> Result<(), SealError> {
        let chunks = self.chunks();
        let sizes = |value: fn(&Chunk) -> i64| chunks.iter().map(value).collect::<Vec<_>>();
        let bytes = |value: fn(&Chunk) -> &Vec<u8>| chunks.iter().map(value).collect::<Vec<_>>();
        query(include_str!("sql/append.sql"))
            .bind::<Array<BigInt>, _>(sizes(|chunk| chunk.first_leaf))
            .bind::<Array<BigInt>, _>(sizes(|chunk| chunk.first_id))
            .bind::<Array<BigInt>, _>(sizes(|chunk| chunk.last_id))
            .bind::<Array<Bytea>, _>(bytes(|chunk| &chunk.entries))
            .bind::<Array<Bytea>, _>(bytes(|chunk| &chunk.secrets))
            .execute(conn)
            .await?;
        let (ids, leaves): (Vec<_>, Vec<_>) = self
            .transactions
            .iter()
            .map(|(id, leaf)| (*id, as_bigint(*leaf)))
            .unzip();
        query("INSERT INTO @threadline@.audit_seal_transactions SELECT * FROM unnest($1, $2)")
            .bind::<Array<SqlUuid>, _>(ids)
            .bind::<Array<BigInt>, _>(leaves)
            .execute(conn)
            .await?;
        let frontier: Vec<u8> = self
            .frontier
            .nodes()
            .iter()
            .flat_map(|node| *node.as_bytes())
            .collect();
        query("UPDATE @threadline@.audit_seal_logs SET sealed_to = $1, size = $2, frontier = $3")
            .bind::<BigInt, _>(sealed_to)
            .bind::<BigInt, _>(as_bigint(self.frontier.size()))
            .bind::<Bytea, _>(frontier)
            .execute(conn)
            .await?;
        Ok(())
    }

    /// The new leaves as chunks, which do not cross a multiple of 256.
    fn chunks(&self) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> = Vec::new();
        let first = self.size() - self.new_leaves();
        for (leaf, (entry, secret)) in (first..).zip(&self.leaves) {
            if leaf == first || leaf % TILE_WIDTH == 0 {
                chunks.push(Chunk::begin(leaf, entry.id));
            }
            if let Some(chunk) = chunks.last_mut() {
                chunk.last_id = chunk.last_id.max(entry.id);
                chunk.entries.extend(entry.to_bytes());
                chunk.secrets.extend(secret.as_bytes());
            }
        }
        chunks
    }
}

struct Chunk {
    first_leaf: i64,
    first_id: i64,
    last_id: i64,
    entries: Vec<u8>,
    secrets: Vec<u8>,
}

impl Chunk {
    fn begin(leaf: u64, id: i64) -> Self {
        let leaves = usize::try_from(TILE_WIDTH).unwrap_or_default();
        Self {
            first_leaf: as_bigint(leaf),
            first_id: id,
            last_id: id,
            entries: Vec::with_capacity(leaves * ENTRY_BYTES),
            secrets: Vec::with_capacity(leaves * 16),
        }
    }
}
