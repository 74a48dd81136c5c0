//! Errors of the archive.

use std::io;

use chrono::{DateTime, NaiveDate, Utc};
use threadline_diesel::evidence::EvidenceError;

use super::entries::Mismatch;
use crate::seal::SealError;
use crate::storage::StorageError;

/// The error of an archive. Messages have no values from the trail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The log of seals has not begun.
    #[error(
        "the trail has no log of seals, and an archive has sealed records only: run `threadline seal begin` and \
         `threadline seal run` first"
    )]
    NotBegun,
    /// Records of the days to archive are not sealed yet.
    #[error(
        "records are sealed and in a checkpoint up to id {sealed_to}, and the last one is {last_id}: run the sealer \
         (`threadline seal run`), and end long transactions"
    )]
    NotSealed {
        /// The id up to which records are sealed and in a signed checkpoint.
        sealed_to: i64,
        /// The last assigned id.
        last_id: i64,
    },
    /// A day that has not ended cannot be archived.
    #[error("{before} is after today, {today} (UTC): a day is archived when it has ended")]
    NotEnded {
        /// The day before which days were to be archived.
        before: NaiveDate,
        /// The day of the database.
        today: NaiveDate,
    },
    /// Another run is at work.
    #[error("another run of the archive is at work on this database: wait until it has ended")]
    AtWork,
    /// A record of the trail is not the sealed one.
    #[error(
        "the {kind} {id} of the trail cannot be archived: {reason}. Nothing of its day was archived; \
         `threadline seal verify` verifies the whole trail"
    )]
    NotAsSealed {
        /// The kind of the record.
        kind: String,
        /// Its id; that of a transaction is the uuid.
        id: String,
        /// What differs.
        reason: Mismatch,
    },
    /// A record of a file is not the sealed one.
    #[error("{object}: the {kind} {id} (leaf {leaf}): {reason}")]
    BadRecord {
        /// The file.
        object: String,
        /// The kind of the record.
        kind: String,
        /// Its id; that of a transaction is the uuid.
        id: String,
        /// Its leaf.
        leaf: i64,
        /// What differs.
        reason: Mismatch,
    },
    /// A file is not the one of the manifest.
    #[error("{object}: {fault}")]
    BadFile {
        /// The file.
        object: String,
        /// What is wrong.
        fault: FileFault,
    },
    /// A manifest cannot be read.
    #[error("the manifest of {day} cannot be read: {reason}")]
    Manifest {
        /// The day.
        day: NaiveDate,
        /// Why.
        reason: String,
    },
    /// The checkpoint of the newest archived day is not one of this database.
    #[error(
        "the storage has an archive up to {day} with a checkpoint of `{origin}` that this database does not have: it is \
         the archive of another trail, or the database was restored from an older copy. Use another storage or prefix"
    )]
    OtherTrail {
        /// The newest archived day.
        day: NaiveDate,
        /// The origin in its manifest.
        origin: String,
    },
    /// A day is not archived.
    #[error("{0} is not archived")]
    NoSuchDay(NaiveDate),
    /// A time of the trail is beyond the calendar.
    #[error("{0} is beyond the days that can be archived")]
    BeyondCalendar(DateTime<Utc>),
    /// The storage reported an error.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file could not be uploaded.
    #[error("{object} cannot be written")]
    Upload {
        /// The file.
        object: String,
        /// The cause.
        source: io::Error,
    },
    /// A temporary file could not be written or read.
    #[error("a temporary file cannot be written or read")]
    TemporaryFile(#[source] io::Error),
    /// Records could not be encoded.
    #[error("the records cannot be encoded as Parquet")]
    Parquet(#[source] parquet::errors::ParquetError),
    /// The writer of the answer failed.
    #[error("the answer cannot be written")]
    Write(#[source] io::Error),
    /// The seals could not be read.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The result could not be recorded as evidence.
    #[error("the result of the archive was not recorded as evidence")]
    Evidence(#[from] EvidenceError),
    /// The database reported an error.
    #[error("the trail cannot be read")]
    Database(#[from] diesel::result::Error),
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileFault {
    /// It does not exist.
    #[error("the file does not exist")]
    Missing,
    /// It has another size than in the manifest.
    #[error("the file has {bytes} bytes, and {expected} in the manifest")]
    OtherSize {
        /// Its size.
        bytes: u64,
        /// The size in the manifest.
        expected: u64,
    },
    /// It has another digest than in the manifest.
    #[error("the file does not have the SHA-256 of the manifest")]
    OtherDigest,
    /// It has another number of rows than in the manifest.
    #[error("the file has {rows} rows, and {expected} in the manifest")]
    OtherRows {
        /// The number of its rows.
        rows: u64,
        /// The number in the manifest.
        expected: u64,
    },
    /// It is not a file of an archive.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
}

impl ArchiveError {
    pub(super) fn manifest(day: NaiveDate, reason: &str) -> Self {
        Self::Manifest {
            day,
            reason: reason.to_owned(),
        }
    }

    /// Whether a file or a record of an archive is not what was archived.
    #[must_use]
    pub fn is_bad_archive(&self) -> bool {
        matches!(
            self,
            Self::BadRecord { .. } | Self::BadFile { .. } | Self::Manifest { .. }
        )
    }

    /// The kind of error, for telemetry: messages can have names of files.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotBegun => "not_begun",
            Self::NotSealed { .. } => "not_sealed",
            Self::NotEnded { .. } => "not_ended",
            Self::AtWork => "at_work",
            Self::NotAsSealed { .. } => "not_as_sealed",
            Self::BadRecord { .. } => "bad_record",
            Self::BadFile { .. } => "bad_file",
            Self::Manifest { .. } => "manifest",
            Self::OtherTrail { .. } => "other_trail",
            Self::NoSuchDay(_) => "no_such_day",
            Self::BeyondCalendar(_) => "beyond_calendar",
            Self::Storage(_) | Self::Upload { .. } => "storage",
            Self::TemporaryFile(_) => "temporary_file",
            Self::Parquet(_) => "parquet",
            Self::Write(_) => "write",
            Self::Seal(_) => "seal",
            Self::Evidence(_) => "evidence",
            Self::Database(_) => "database",
        }
    }
}
