//! The archive: sealed days of the trail as Parquet on a storage, which every engine reads.
//!
//! ```text
//! archive/changes/v1/day=2026-11-29/part-<first id>-<last id>.parquet
//! archive/transactions/v1/day=…, archive/actions/v1/day=…, archive/records/v1/day=…
//! archive/_manifest/2026-11-29.json
//! ```
//!
//! [`run`](fn@run) archives the days that have ended: it compares each record with its seal, writes it, reads the files back,
//! and then writes the manifest, which makes the day archived. [`verify`](fn@verify) compares an archive with the seals,
//! [`fetch`](fn@fetch) finds the changes of a row, and [`archived_to`] says up to which instant records are archived.
//! `guides/archive.md` has the layout and SQL for `DuckDB`, Spark and Trino.

mod check;
mod columns;
mod day;
mod entries;
mod error;
mod fetch;
mod fields;
mod layout;
mod plan;
mod progress;
mod range_reader;
mod read;
mod restore;
mod row_json;
mod run;
mod trail;
mod verify;
mod write;

pub use columns::{ArchiveColumn, ColumnType, LEAF_COLUMN, SECRET_COLUMN, columns};
pub use entries::{Mismatch, SealedRecord, sealed_by_leaf};
pub use error::{ArchiveError, FileFault};
pub use fetch::{ArchivedRow, fetch};
pub use fields::{MalformedJson, record_kind, sealed_fields};
pub use layout::{
    ArchiveFile, ArchiveKind, ArchiveManifest, MANIFEST_FORMAT, read_manifest, read_manifests,
};
pub use progress::archived_to;
pub use read::{ArchivedRecord, FileRecords};
pub use restore::{
    InvalidPeriod, MAX_KEEP, RestoreError, RestoreOptions, RestorePeriod, RestoreProgress,
    RestoredSpan, restore,
};
pub use run::{ArchiveRun, ArchivedDay, DayWork, RunOptions, RunProgress, run};
pub use verify::{ArchiveFinding, ArchiveVerification, verify};
