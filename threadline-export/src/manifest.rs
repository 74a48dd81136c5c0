//! Manifests: the metadata of exports.

use std::num::NonZeroU64;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::format::{Compression, Format, Layout, Order};
use crate::record::as_instant;

/// The version of the JSON form of [`Manifest`]. New fields do not change it.
pub const MANIFEST_VERSION: u32 = 1;

/// The content of an export. JSON documents and Parquet files include it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// [`MANIFEST_VERSION`].
    pub manifest_version: u32,
    /// The version of this library.
    pub library_version: &'static str,
    /// When the snapshot was taken, by the database's clock.
    #[serde(serialize_with = "as_instant")]
    pub generated_at: DateTime<Utc>,
    /// The snapshot, as returned by `pg_current_snapshot()`. The export has the changes of exactly the
    /// transactions that are visible in it.
    pub snapshot: String,
    /// The filters of the timeline.
    pub filters: serde_json::Value,
    /// The format.
    pub format: Format,
    /// What a record is.
    pub layout: Layout,
    /// The compression.
    pub compression: Compression,
    /// The order of the changes.
    pub order: Order,
    /// The names of the columns.
    pub columns: Vec<&'static str>,
    /// The maximum number of changes.
    pub max_rows: Option<NonZeroU64>,
    /// The number of exported changes, also with [`Layout::Fields`].
    pub row_count: u64,
    /// Whether more than [`max_rows`](Self::max_rows) changes match the filters.
    pub cut: bool,
}

/// The content of an export, with the size and digest of its bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The content.
    #[serde(flatten)]
    pub summary: Summary,
    /// The size in bytes, after compression.
    pub bytes: u64,
    /// The SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
}
