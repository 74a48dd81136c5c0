//! Partitions of the trail.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Timestamptz};
use threadline_core::identifier::quote_identifier;

/// A partition of a table of the trail, with its range; the default partition has none.
#[derive(Debug, Clone, QueryableByName)]
pub(crate) struct Partition {
    #[diesel(sql_type = Text, column_name = partition_name)]
    pub(crate) name: String,
    #[diesel(sql_type = Nullable<Timestamptz>, column_name = from_instant)]
    pub(crate) from: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>, column_name = to_instant)]
    pub(crate) to: Option<DateTime<Utc>>,
}

impl Partition {
    /// Whether the partition begins before an instant; always true for the default partition.
    pub(crate) fn begins_before(&self, instant: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from < instant)
    }

    /// Whether the partition ends at or before an instant.
    pub(crate) fn ends_by(&self, instant: DateTime<Utc>) -> bool {
        self.to.is_some_and(|to| to <= instant)
    }

    /// Whether the range overlaps that of another partition. A default partition has no range.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let starts_before_end = |one: &Self, other: &Self| match (one.from, other.to) {
            (Some(from), Some(to)) => from < to,
            _ => false,
        };
        starts_before_end(self, other) && starts_before_end(other, self)
    }

    pub(crate) fn relation(&self) -> String {
        format!("@threadline@.{}", quote_identifier(&self.name))
    }
}
