//! Which archived days changed: values were erased, or records were added.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bytea};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::TryStreamExt;
use object_store::path::Path;
use threadline_seal::checkpoint::Checkpoint;
use threadline_seal::note::Note;
use threadline_seal::record::{ENTRY_BYTES, Entry, RecordKind};

use super::ArchiveError;
use super::day::{Task, delete_unless_listed};
use super::layout::{ArchiveKind, ArchiveManifest, kind_directory, next_day, read_manifests};
use super::run::DayWork;
use super::trail::lock;
use crate::seal::SealError;
use crate::seal::rows::{ChunkRow, as_bigint, query};
use crate::snapshot;
use crate::storage::Storage;

/// What a run has to do before it archives new days.
#[derive(Debug)]
pub(super) struct Plan {
    /// The days that changed, in order: the newest archived day is the last one, because its manifest says up to where
    /// the log was searched.
    pub(super) tasks: Vec<Task>,
    /// The first archived day.
    pub(super) first_day: Option<NaiveDate>,
    /// The day after the last archived one.
    pub(super) next_day: Option<NaiveDate>,
}

/// Reads all manifests, deletes the files that killed runs left of archived days, and finds the days that changed.
pub(super) async fn plan(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
) -> Result<Plan, ArchiveError> {
    snapshot::begin(conn).await?;
    let outcome = make_plan(conn, storage).await;
    snapshot::end(conn, outcome).await
}

async fn make_plan(conn: &mut AsyncPgConnection, storage: &Storage) -> Result<Plan, ArchiveError> {
    lock(conn).await?;
    let manifests = read_manifests(storage).await?;
    let mut manifests: BTreeMap<NaiveDate, ArchiveManifest> = manifests
        .into_iter()
        .map(|manifest| (manifest.day, manifest))
        .collect();
    if let Some(newest) = manifests.values().next_back() {
        check_trail(conn, newest).await?;
    }
    delete_unlisted(storage, &manifests).await?;
    let rewritten = erased_days(conn, &manifests).await?;
    let extended = late_days(conn, &manifests).await?;
    let (first_day, last_day) = (
        manifests.keys().next().copied(),
        manifests.keys().next_back().copied(),
    );
    let changed: BTreeSet<NaiveDate> = rewritten.union(&extended).copied().collect();
    let task = |day| {
        let manifest = manifests.remove(&day);
        let work = match &manifest {
            None => DayWork::New,
            Some(_) if rewritten.contains(&day) => DayWork::Rewritten,
            Some(_) => DayWork::Extended,
        };
        Task {
            day,
            work,
            manifest,
        }
    };
    Ok(Plan {
        tasks: changed.into_iter().map(task).collect(),
        first_day,
        next_day: last_day.map(next_day),
    })
}

/// The checkpoint of the newest archived day must be one of this database: another trail would leave out the days before.
async fn check_trail(
    conn: &mut AsyncPgConnection,
    newest: &ArchiveManifest,
) -> Result<(), ArchiveError> {
    let checkpoint = Note::parse(newest.checkpoint.as_bytes())
        .ok()
        .and_then(|note| Checkpoint::parse(note.text()))
        .ok_or_else(|| ArchiveError::manifest(newest.day, "its checkpoint is malformed"))?;
    let sql =
        "SELECT size AS id, root AS entry FROM @threadline@.audit_seal_checkpoints WHERE size = $1";
    let known: Vec<EntryRow> = query(sql)
        .bind::<BigInt, _>(as_bigint(checkpoint.size))
        .load(conn)
        .await?;
    match known.as_slice().first() {
        Some(known) if known.entry == checkpoint.root.as_bytes() => Ok(()),
        _ => Err(ArchiveError::OtherTrail {
            day: newest.day,
            origin: newest.origin.clone(),
        }),
    }
}

/// Deletes the files of archived days that their manifests do not have. A run that was killed before it deleted them
/// may have left values that were erased.
async fn delete_unlisted(
    storage: &Storage,
    manifests: &BTreeMap<NaiveDate, ArchiveManifest>,
) -> Result<(), ArchiveError> {
    for kind in ArchiveKind::ALL {
        for path in storage.list(&kind_directory(kind)).await? {
            if let Some(manifest) = day_of(&path).and_then(|day| manifests.get(&day)) {
                delete_unless_listed(storage, manifest, &path).await?;
            }
        }
    }
    Ok(())
}

fn day_of(path: &Path) -> Option<NaiveDate> {
    let directory = path.parts().nth(3)?;
    directory.as_ref().strip_prefix("day=")?.parse().ok()
}

#[derive(Debug, QueryableByName)]
struct EntryRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Bytea)]
    entry: Vec<u8>,
}

/// The archived days of which values were erased after their files were written.
async fn erased_days(
    conn: &mut AsyncPgConnection,
    manifests: &BTreeMap<NaiveDate, ArchiveManifest>,
) -> Result<BTreeSet<NaiveDate>, ArchiveError> {
    let mut days = BTreeSet::new();
    let Some(after) = manifests.values().map(|it| it.through_removal).min() else {
        return Ok(days);
    };
    let mut erased = query(include_str!("sql/erased_leaves.sql"))
        .bind::<BigInt, _>(after)
        .load_stream::<EntryRow>(conn)
        .await?;
    while let Some(EntryRow { id, entry }) = erased.try_next().await? {
        let entry = <&[u8; ENTRY_BYTES]>::try_from(entry.as_slice())
            .ok()
            .and_then(Entry::from_bytes)
            .ok_or(SealError::State("a chunk"))?;
        let Some(day) = entry_day(&entry) else {
            continue;
        };
        if manifests
            .get(&day)
            .is_some_and(|it| id > it.through_removal)
        {
            days.insert(day);
        }
    }
    Ok(days)
}

/// The days up to the newest archived one with records that were sealed after they were archived: transactions that
/// began earlier, actions with earlier ids, records of a clock that was set back.
async fn late_days(
    conn: &mut AsyncPgConnection,
    manifests: &BTreeMap<NaiveDate, ArchiveManifest>,
) -> Result<BTreeSet<NaiveDate>, ArchiveError> {
    let mut days = BTreeSet::new();
    let Some((last_day, newest)) = manifests.last_key_value() else {
        return Ok(days);
    };
    let mut chunks = query(include_str!("sql/new_chunks.sql"))
        .bind::<BigInt, _>(newest.sealed_to)
        .load_stream::<ChunkRow>(conn)
        .await?;
    while let Some(chunk) = chunks.try_next().await? {
        for (entry, _) in chunk.leaves()? {
            let Some(day) = entry_day(&entry).filter(|day| day <= last_day) else {
                continue;
            };
            let archived = manifests.get(&day).unwrap_or(newest);
            if entry.id > archived.sealed_to {
                days.insert(day);
            }
        }
    }
    Ok(days)
}

/// The day of an archived record.
fn entry_day(entry: &Entry) -> Option<NaiveDate> {
    if matches!(entry.kind, RecordKind::Genesis | RecordKind::Clock) {
        return None;
    }
    Some(DateTime::from_timestamp_micros(entry.micros)?.date_naive())
}
