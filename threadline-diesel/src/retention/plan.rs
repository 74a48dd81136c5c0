//! What a purge would remove.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use threadline_core::table::TableName;

/// A kind of thing that is expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Expired {
    /// Changes that go with their whole partition.
    PartitionOfChanges,
    /// Changes that go by rows.
    Changes,
    /// Transactions whose last change goes.
    Transactions,
    /// Actions.
    Actions,
}

/// A part of what is expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpiredPart {
    /// What it is.
    pub what: Expired,
    /// The partition that holds it; none for transactions in the default partition.
    pub partition: Option<String>,
    /// When the partition begins; none for the default partition.
    pub from: Option<DateTime<Utc>>,
    /// When the partition ends, exclusive.
    pub to: Option<DateTime<Utc>>,
    /// The table, of changes.
    pub table: Option<TableName>,
    /// What is older than this is expired.
    pub before: Option<DateTime<Utc>>,
    /// How many rows.
    pub rows: i64,
    /// About how many bytes on disk, where that can be said.
    pub bytes: Option<i64>,
}

/// Something to know before a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
    /// The policy is not enabled, so a purge is refused.
    Disabled,
    /// Consumers of the feed have not acknowledged all of it, so a purge is refused.
    FeedBehind,
    /// Changes outlive the actions that explain them.
    LosesReasons,
    /// Rows whose last record goes get a new one: a baseline with their last image.
    KeepsLastImages,
}

/// What a purge would remove now, part by part, and what it would leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RetentionPlan {
    /// The parts: changes by partition and table, then transactions, then actions.
    pub parts: Vec<ExpiredPart>,
    /// What to know before.
    pub notices: Vec<Notice>,
}

impl RetentionPlan {
    /// Whether nothing is expired.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// How many rows of a kind are expired.
    #[must_use]
    pub fn rows(&self, what: Expired) -> i64 {
        let parts = self.parts.iter().filter(|part| part.what == what);
        parts.map(|part| part.rows).sum()
    }

    /// From when on the trail of each table will be complete, of those that lose changes.
    #[must_use]
    pub fn horizons(&self) -> BTreeMap<TableName, DateTime<Utc>> {
        let tables = self
            .parts
            .iter()
            .filter_map(|part| Some((part.table.clone()?, part.before?)));
        tables.collect()
    }
}
