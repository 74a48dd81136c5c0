//! The objects of an archive, and the manifests of its days.

use std::fmt;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use threadline_seal::checkpoint::Checkpoint;
use threadline_seal::note::Note;

use super::ArchiveError;
use crate::storage::{Storage, StorageError};

/// The version of [`ArchiveManifest`].
pub const MANIFEST_FORMAT: u32 = 1;

/// The number of manifests that are read at once.
const MANIFESTS_AT_ONCE: usize = 16;

/// The files of an archive, one directory each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveKind {
    /// Rows of `audit_changes`, by the day of `captured_at`.
    Changes,
    /// Rows of `audit_transactions`, by the day of the start in their ids.
    Transactions,
    /// Rows of `audit_actions`, by the day in their ids.
    Actions,
    /// Removals, suspensions, evidence and enrolments, by the day of their time.
    Records,
}

impl ArchiveKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::Changes,
        Self::Transactions,
        Self::Actions,
        Self::Records,
    ];

    /// The name of its directory.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Transactions => "transactions",
            Self::Actions => "actions",
            Self::Records => "records",
        }
    }
}

impl fmt::Display for ArchiveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The content of an archived day: the JSON document `archive/_manifest/<day>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ArchiveManifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The day, in UTC.
    pub day: NaiveDate,
    /// The name of the log of seals.
    pub origin: String,
    /// The files.
    pub files: Vec<ArchiveFile>,
    /// The files have all records of the day with ids up to this one.
    pub sealed_to: i64,
    /// The newest checkpoint when the files were written: a signed note.
    pub checkpoint: String,
    /// The files have the erasures whose `audit_removals.order_id` is at most this.
    pub through_removal: i64,
    /// When the files were written, by the clock of the program.
    pub written_at: DateTime<Utc>,
    /// The library that wrote them, with its version.
    pub library: String,
}

/// A file of an archived day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ArchiveFile {
    /// Its key in the storage, without the prefix of the storage.
    pub object: String,
    /// What its rows are.
    pub kind: ArchiveKind,
    /// The number of its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// The smallest id in the log of seals; that of a transaction is the id of its first change.
    pub first_id: i64,
    /// The greatest id.
    pub last_id: i64,
}

impl ArchiveManifest {
    /// The files of a kind.
    pub fn files_of(&self, kind: ArchiveKind) -> impl Iterator<Item = &ArchiveFile> {
        self.files.iter().filter(move |file| file.kind == kind)
    }

    /// The number of rows of a kind.
    #[must_use]
    pub fn rows_of(&self, kind: ArchiveKind) -> u64 {
        self.files_of(kind).map(|file| file.rows).sum()
    }

    /// The number of leaves of the checkpoint; none if it is malformed.
    #[must_use]
    pub fn checkpoint_size(&self) -> Option<u64> {
        let note = Note::parse(self.checkpoint.as_bytes()).ok()?;
        Some(Checkpoint::parse(note.text())?.size)
    }

    /// When the day begins and ends.
    #[must_use]
    pub fn span(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        day_span(self.day)
    }
}

/// When a day begins and ends.
pub(super) fn day_span(day: NaiveDate) -> (DateTime<Utc>, DateTime<Utc>) {
    (day_start(day), day_start(next_day(day)))
}

pub(super) fn day_start(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// The last day of the calendar is never archived.
pub(super) fn next_day(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX)
}

/// The directory of the files of a kind.
pub(super) fn kind_directory(kind: ArchiveKind) -> Path {
    Path::from_iter(["archive", kind.as_str(), "v1"])
}

/// The directory of the files of a kind and day, which engines read as a Hive partition.
pub(super) fn day_directory(kind: ArchiveKind, day: NaiveDate) -> Path {
    kind_directory(kind).join(format!("day={day}"))
}

/// The key of a file. A file that was written again after an erasure has another name than the one that it
/// replaces.
pub(super) fn file_path(
    kind: ArchiveKind,
    day: NaiveDate,
    (first_id, last_id): (i64, i64),
    rewritten_through: Option<i64>,
) -> Path {
    let suffix = rewritten_through.map_or_else(String::new, |removal| format!("-r{removal}"));
    day_directory(kind, day).join(format!("part-{first_id}-{last_id}{suffix}.parquet"))
}

fn manifest_directory() -> Path {
    Path::from_iter(["archive", "_manifest"])
}

/// The key of the manifest of a day.
pub(super) fn manifest_path(day: NaiveDate) -> Path {
    manifest_directory().join(format!("{day}.json"))
}

/// Reads the manifests of all archived days, in order.
///
/// # Errors
/// [`ArchiveError::Manifest`] if one cannot be parsed; [`ArchiveError::Storage`].
pub async fn read_manifests(storage: &Storage) -> Result<Vec<ArchiveManifest>, ArchiveError> {
    storage.require_directory()?;
    let objects = storage.list(&manifest_directory()).await?;
    let mut days: Vec<NaiveDate> = objects.iter().filter_map(manifest_day).collect();
    days.sort_unstable();
    let read = futures_util::stream::iter(days).map(async |day| {
        let manifest = read_manifest(storage, day).await?;
        manifest.ok_or_else(|| ArchiveError::manifest(day, "it was deleted meanwhile"))
    });
    read.buffered(MANIFESTS_AT_ONCE).try_collect().await
}

fn manifest_day(path: &Path) -> Option<NaiveDate> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}

/// Reads the manifest of a day; none if the day is not archived.
///
/// # Errors
/// [`ArchiveError::Manifest`] if it cannot be parsed; [`ArchiveError::Storage`].
pub async fn read_manifest(
    storage: &Storage,
    day: NaiveDate,
) -> Result<Option<ArchiveManifest>, ArchiveError> {
    let bytes = match storage.get(&manifest_path(day)).await {
        Ok(object) => object.bytes().await.map_err(StorageError::from)?,
        Err(StorageError::Store(object_store::Error::NotFound { .. })) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let invalid = |reason: String| ArchiveError::Manifest { day, reason };
    let manifest: ArchiveManifest =
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    if manifest.format != MANIFEST_FORMAT {
        let format = manifest.format;
        return Err(invalid(format!(
            "its format is {format}, and this version reads {MANIFEST_FORMAT}"
        )));
    }
    if manifest.day != day {
        return Err(invalid(format!("it is of {}", manifest.day)));
    }
    Ok(Some(manifest))
}
