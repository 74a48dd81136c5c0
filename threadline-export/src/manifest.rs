//! What an export says about itself.

use std::num::NonZeroU64;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::format::{Compression, Format, Order};
use crate::record::as_instant;

/// The version of [`Manifest`]'s JSON. Fields may join without a new one.
pub const MANIFEST_VERSION: u32 = 1;

/// What is in an export. JSON documents and Parquet files carry it inside.
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
    /// The snapshot, as `pg_current_snapshot()` tells it: what was committed by then is in the
    /// export, nothing else is.
    pub snapshot: String,
    /// Which changes were asked for.
    pub filters: serde_json::Value,
    /// The format.
    pub format: Format,
    /// The compression of the whole.
    pub compression: Compression,
    /// The order of the changes.
    pub order: Order,
    /// The columns.
    pub columns: Vec<&'static str>,
    /// The most changes that were asked for.
    pub max_rows: Option<NonZeroU64>,
    /// How many changes there are.
    pub row_count: u64,
    /// Whether there were more than [`max_rows`](Self::max_rows). Exact.
    pub cut: bool,
}

/// What is in an export, and what it must be byte for byte.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Manifest {
    /// What is in it.
    #[serde(flatten)]
    pub summary: Summary,
    /// Its size, compressed where it is.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}
