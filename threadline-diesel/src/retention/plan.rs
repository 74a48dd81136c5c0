//! The plan of a purge.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use threadline_core::table::TableName;

/// A kind of expired record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Expired {
    /// Changes that are removed with their partition.
    PartitionOfChanges,
    /// Changes that are deleted.
    Changes,
    /// Transactions whose last change is removed.
    Transactions,
    /// Actions.
    Actions,
}

/// A part of the expired records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpiredPart {
    /// The kind of record.
    pub what: Expired,
    /// The partition; none for transactions in the default partition.
    pub partition: Option<String>,
    /// When the partition begins; none for the default partition.
    pub from: Option<DateTime<Utc>>,
    /// When the partition ends, exclusive.
    pub to: Option<DateTime<Utc>>,
    /// The table, for changes.
    pub table: Option<TableName>,
    /// The cut-off: older records are expired.
    pub before: Option<DateTime<Utc>>,
    /// The number of rows.
    pub rows: i64,
    /// The estimated size on disk in bytes, if known.
    pub bytes: Option<i64>,
}

/// A notice about a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
    /// The policy is not enabled, so a purge is rejected.
    Disabled,
    /// Consumers of the feed have not acknowledged all expired items, so a purge is rejected.
    FeedBehind,
    /// Changes outlive the actions that explain them.
    LosesReasons,
    /// Rows whose last record is removed get a baseline with their last image.
    KeepsLastImages,
    /// A span is restored from an archive: a purge removes neither it nor anything before it.
    KeepsRestored,
}

/// The records that a purge would remove now, in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RetentionPlan {
    /// The parts: changes by partition and table, then transactions, then actions.
    pub parts: Vec<ExpiredPart>,
    /// Notices about the purge.
    pub notices: Vec<Notice>,
}

impl RetentionPlan {
    /// Whether nothing is expired.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The number of expired rows of a kind.
    #[must_use]
    pub fn rows(&self, what: Expired) -> i64 {
        let parts = self.parts.iter().filter(|part| part.what == what);
        parts.map(|part| part.rows).sum()
    }

    /// The new audit horizon of each table that loses changes.
    #[must_use]
    pub fn horizons(&self) -> BTreeMap<TableName, DateTime<Utc>> {
        let tables = self
            .parts
            .iter()
            .filter_map(|part| Some((part.table.clone()?, part.before?)));
        tables.collect()
    }
}
