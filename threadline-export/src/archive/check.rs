//! Comparing the files of a day with the manifest and the seals.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use diesel_async::AsyncPgConnection;

use super::columns::record_id;
use super::entries::{Mismatch, SealedRecord, sealed_by_leaf};
use super::fields::record_kind;
use super::layout::{ArchiveFile, ArchiveKind, day_span};
use super::read::{ArchivedRecord, FileRecords};
use super::{ArchiveError, FileFault};
use crate::storage::Storage;

/// The number of records whose entries are in memory.
const BATCH_ROWS: usize = 500;

/// The leaves of the records that were checked, 256 to a word.
#[derive(Debug, Default)]
pub(super) struct SeenLeaves(BTreeMap<i64, [u64; 4]>);

impl SeenLeaves {
    /// Adds a leaf. Returns false if it was there.
    fn add(&mut self, leaf: i64) -> bool {
        let bits = self.0.entry(leaf.div_euclid(256)).or_default();
        let place = usize::try_from(leaf.rem_euclid(256)).unwrap_or_default();
        let bit = 1 << (place % 64);
        let is_new = bits[place / 64] & bit == 0;
        bits[place / 64] |= bit;
        is_new
    }
}

/// Downloads a file, compares it with the manifest, and each of its records with its seal. Returns the number of records.
pub(super) async fn check_file(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    day: NaiveDate,
    file: &ArchiveFile,
    seen: &mut SeenLeaves,
) -> Result<u64, ArchiveError> {
    let mut records = FileRecords::open(storage, file).await?;
    let mut rows = 0;
    loop {
        let batch = records.next_batch(BATCH_ROWS)?;
        if batch.is_empty() {
            break;
        }
        check_records(conn, day, file, &batch, seen).await?;
        rows += batch.len() as u64;
    }
    if rows == file.rows {
        return Ok(rows);
    }
    Err(ArchiveError::BadFile {
        object: file.object.clone(),
        fault: FileFault::OtherRows {
            rows,
            expected: file.rows,
        },
    })
}

/// Compares records of a file with their seals. Returns what the database has of them, by leaf.
pub(super) async fn check_records(
    conn: &mut AsyncPgConnection,
    day: NaiveDate,
    file: &ArchiveFile,
    records: &[ArchivedRecord],
    seen: &mut SeenLeaves,
) -> Result<HashMap<i64, SealedRecord>, ArchiveError> {
    let leaves: Vec<i64> = records.iter().map(|record| record.leaf).collect();
    let sealed = sealed_by_leaf(conn, &leaves).await?;
    for record in records {
        let found = sealed.get(&record.leaf);
        check_record(file.kind, day, record, found, seen).map_err(|reason| {
            let kind = record_kind(file.kind, &record.values);
            ArchiveError::BadRecord {
                object: file.object.clone(),
                kind: kind.map_or(file.kind.as_str(), |it| it.name()).to_owned(),
                id: record_id(file.kind, &record.values),
                leaf: record.leaf,
                reason,
            }
        })?;
    }
    Ok(sealed)
}

fn check_record(
    kind: ArchiveKind,
    day: NaiveDate,
    record: &ArchivedRecord,
    sealed: Option<&SealedRecord>,
    seen: &mut SeenLeaves,
) -> Result<(), Mismatch> {
    let sealed = sealed.ok_or(Mismatch::Unsealed)?;
    sealed.check(kind, record)?;
    let (from, to) = day_span(day);
    if !(from.timestamp_micros()..to.timestamp_micros()).contains(&sealed.entry.micros) {
        return Err(Mismatch::OtherDay);
    }
    if seen.add(record.leaf) {
        Ok(())
    } else {
        Err(Mismatch::Repeated)
    }
}
