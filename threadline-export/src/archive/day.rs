//! Archiving one day: one snapshot, which is compared with the seals, written, and read back.

use std::fs::File;
use std::io::Read as _;

use chrono::{NaiveDate, Utc};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::TryStreamExt;
use object_store::path::Path;
use tokio::io::AsyncWriteExt as _;

use super::ArchiveError;
use super::check::{SeenLeaves, check_file};
use super::columns::record_id;
use super::entries::{Mismatch, SealedRecord, sealed_by_id, sealed_by_leaf};
use super::fields::record_kind;
use super::layout::{
    ArchiveFile, ArchiveKind, ArchiveManifest, MANIFEST_FORMAT, day_directory, file_path,
    manifest_path, read_manifest,
};
use super::read::ArchivedRecord;
use super::run::DayWork;
use super::trail::{
    FETCH_ROWS, KeyRow, SealState, ValuesRow, close_cursors, kinds_by_id, lock, open_cursors,
    seal_state,
};
use super::write::RecordWriter;
use crate::output::{AsyncIo, Output, OutputStats};
use crate::seal::rows::query;
use crate::snapshot;
use crate::storage::Storage;

/// The size of a block of an upload.
const BLOCK_BYTES: usize = 256 * 1024;

/// What is to be done for a day, and the manifest that it has.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) day: NaiveDate,
    pub(super) work: DayWork,
    pub(super) manifest: Option<ArchiveManifest>,
}

/// The result of a task.
#[derive(Debug)]
pub(super) enum Done {
    /// The day has a new manifest, and these files are new.
    Written(Vec<ArchiveFile>),
    /// The day has no records, or another run did the task.
    Nothing,
    /// The trail no longer has all records of the day, which must be written again.
    Pending,
}

/// Does a task in a transaction of its own.
pub(super) async fn archive_day(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    task: &Task,
    progress: &mut (impl FnMut(u64) + Send),
) -> Result<Done, ArchiveError> {
    snapshot::begin(conn).await?;
    let mut uploaded = Vec::new();
    let mut outcome = write_day(conn, storage, task, &mut uploaded, progress).await;
    if !matches!(outcome, Ok(Done::Written(_))) {
        let discarded = discard(storage, task, &uploaded).await;
        outcome = outcome.and_then(|done| discarded.map(|()| done));
    }
    snapshot::end(conn, outcome).await
}

/// Deletes the files of a task that was not done. A file that cannot be deleted now is deleted by the next run.
async fn discard(
    storage: &Storage,
    task: &Task,
    uploaded: &[ArchiveFile],
) -> Result<(), ArchiveError> {
    let kept = task.manifest.iter().flat_map(|manifest| &manifest.files);
    let kept: Vec<_> = kept.map(|file| &file.object).collect();
    for file in uploaded {
        if !kept.contains(&&file.object) {
            storage.delete(&Path::from(file.object.as_str())).await?;
        }
    }
    Ok(())
}

async fn write_day(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    task: &Task,
    uploaded: &mut Vec<ArchiveFile>,
    progress: &mut (impl FnMut(u64) + Send),
) -> Result<Done, ArchiveError> {
    lock(conn).await?;
    storage.require_directory()?;
    let state = seal_state(conn).await?;
    // Another run may have been at work before this transaction.
    if read_manifest(storage, task.day).await? != task.manifest {
        return Ok(Done::Nothing);
    }
    for kind in ArchiveKind::ALL {
        let part = write_part(conn, kind, task, state.sealed_to, progress).await?;
        let archived = task.manifest.as_ref().map_or(0, |it| it.rows_of(kind));
        if task.work == DayWork::Rewritten && part.archived_rows != archived {
            return Ok(Done::Pending);
        }
        if let Some((first_id, last_id)) = part.ids {
            let rewritten = (task.work == DayWork::Rewritten).then_some(state.sealed_to);
            let path = file_path(kind, task.day, (first_id, last_id), rewritten);
            let mut file = ArchiveFile {
                object: path.to_string(),
                kind,
                rows: part.rows,
                bytes: 0,
                sha256: String::new(),
                first_id,
                last_id,
            };
            uploaded.push(file.clone());
            let sent = upload(storage, &path, part.file).await?;
            (file.bytes, file.sha256) = (sent.bytes, sent.sha256);
            if let Some(last) = uploaded.last_mut() {
                *last = file;
            }
        }
    }
    let mut seen = SeenLeaves::default();
    for file in &*uploaded {
        check_file(conn, storage, task.day, file, &mut seen).await?;
    }
    if uploaded.is_empty() && task.manifest.is_none() {
        return Ok(Done::Nothing);
    }
    // From here the manifest may name the files: they are not discarded after an error.
    let new_files = std::mem::take(uploaded);
    let manifest = new_manifest(task, &state, new_files.clone());
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| ArchiveError::manifest(task.day, &error.to_string()))?;
    storage.put(&manifest_path(task.day), text).await?;
    delete_others(storage, &manifest).await?;
    Ok(Done::Written(new_files))
}

fn new_manifest(task: &Task, state: &SealState, new_files: Vec<ArchiveFile>) -> ArchiveManifest {
    // The files of an extended day stay, without erasures after they were written.
    let kept = task
        .manifest
        .as_ref()
        .filter(|_| task.work == DayWork::Extended);
    let mut files = kept.map_or_else(Vec::new, |manifest| manifest.files.clone());
    files.extend(new_files);
    ArchiveManifest {
        format: MANIFEST_FORMAT,
        day: task.day,
        origin: state.origin.clone(),
        files,
        sealed_to: state.sealed_to,
        checkpoint: state.note.clone().unwrap_or_default(),
        // Erasures up to there are settled, so this snapshot has them.
        through_removal: kept.map_or(state.sealed_to, |manifest| manifest.through_removal),
        written_at: Utc::now(),
        library: concat!("threadline-export ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// Deletes the files of a day that its manifest does not have: those that it had before, and those of killed runs.
async fn delete_others(storage: &Storage, manifest: &ArchiveManifest) -> Result<(), ArchiveError> {
    for kind in ArchiveKind::ALL {
        let directory = day_directory(kind, manifest.day);
        storage.delete_incomplete(&directory)?;
        for path in storage.list(&directory).await? {
            delete_unless_listed(storage, manifest, &path).await?;
        }
    }
    Ok(())
}

/// Deletes a file of an archive that the manifest of its day does not have.
pub(super) async fn delete_unless_listed(
    storage: &Storage,
    manifest: &ArchiveManifest,
    path: &Path,
) -> Result<(), ArchiveError> {
    let name = path.filename().unwrap_or_default();
    let is_file = name.starts_with("part-") && name.ends_with(".parquet");
    if is_file
        && !manifest
            .files
            .iter()
            .any(|file| file.object == path.as_ref())
    {
        storage.delete(path).await?;
    }
    Ok(())
}

/// The records of a kind in a local file.
struct Part {
    file: File,
    rows: u64,
    ids: Option<(i64, i64)>,
    /// The number of records that the manifest of the day has already.
    archived_rows: u64,
}

async fn write_part(
    conn: &mut AsyncPgConnection,
    kind: ArchiveKind,
    task: &Task,
    sealed_to: i64,
    progress: &mut (impl FnMut(u64) + Send),
) -> Result<Part, ArchiveError> {
    let archived_to = task.manifest.as_ref().map_or(0, |it| it.sealed_to);
    let mut writer = RecordWriter::create(kind)?;
    let (mut rows, mut archived_rows) = (0, 0);
    let mut ids: Option<(i64, i64)> = None;
    open_cursors(conn, kind, task.day, sealed_to).await?;
    loop {
        let fetch = format!("FETCH {FETCH_ROWS} FROM archive_keys");
        let keys: Vec<KeyRow> = query(&fetch).load(conn).await?;
        let keys: Vec<Option<i64>> = keys.iter().map(|row| row.key).collect();
        let known: Vec<i64> = keys.iter().copied().flatten().collect();
        let sealed = match kinds_by_id(kind) {
            Some(kinds) => sealed_by_id(conn, kinds, &known).await?,
            None => sealed_by_leaf(conn, &known).await?,
        };
        let fetch = format!("FETCH {FETCH_ROWS} FROM archive_rows");
        let mut values = query(&fetch).load_stream::<ValuesRow>(conn).await?;
        while let Some(ValuesRow { key, row }) = values.try_next().await? {
            let found = key.and_then(|key| sealed.get(&key));
            let (record, entry_id) = as_sealed(kind, row, found)?;
            if entry_id <= archived_to {
                archived_rows += 1;
                if task.work == DayWork::Extended {
                    continue;
                }
            }
            writer.write(&record)?;
            rows += 1;
            let (first, last) = ids.unwrap_or((entry_id, entry_id));
            ids = Some((first.min(entry_id), last.max(entry_id)));
        }
        drop(values);
        progress(rows);
        if keys.len() < FETCH_ROWS {
            break;
        }
    }
    close_cursors(conn).await?;
    Ok(Part {
        file: writer.finish()?,
        rows,
        ids,
        archived_rows,
    })
}

/// The record to archive, if it is the sealed one, and the id of its entry.
fn as_sealed(
    kind: ArchiveKind,
    values: Vec<Option<String>>,
    sealed: Option<&SealedRecord>,
) -> Result<(ArchivedRecord, i64), ArchiveError> {
    let different = |values: &[Option<String>], reason| {
        let name = record_kind(kind, values).map_or(kind.as_str(), |it| it.name());
        ArchiveError::NotAsSealed {
            kind: name.to_owned(),
            id: record_id(kind, values),
            reason,
        }
    };
    let Some(sealed) = sealed else {
        return Err(different(&values, Mismatch::Unsealed));
    };
    let record = ArchivedRecord {
        leaf: sealed.leaf,
        secret: sealed.secret(),
        values,
    };
    match sealed
        .check(kind, &record)
        .and_then(|()| sealed.check_erased(kind, &record))
    {
        Ok(()) => Ok((record, sealed.entry.id)),
        Err(reason) => Err(different(&record.values, reason)),
    }
}

/// Uploads a file. Returns its size and digest as they were sent.
async fn upload(
    storage: &Storage,
    path: &Path,
    mut file: File,
) -> Result<OutputStats, ArchiveError> {
    let mut writer = storage.writer(path);
    let mut output = Output::new(AsyncIo(&mut writer));
    let failed = |source| ArchiveError::Upload {
        object: path.to_string(),
        source,
    };
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    loop {
        let read = file
            .by_ref()
            .take(BLOCK_BYTES as u64)
            .read_to_end(&mut block);
        if read.map_err(ArchiveError::TemporaryFile)? == 0 {
            break;
        }
        output.write(&mut block).await.map_err(failed)?;
    }
    let stats = output.finish().await.map_err(failed)?;
    writer.shutdown().await.map_err(failed)?;
    Ok(stats)
}
