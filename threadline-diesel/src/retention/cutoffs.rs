//! The cut-offs of a policy at an instant.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use threadline_core::retention::{Keep, RetentionPolicy};
use threadline_core::table::TableName;

use super::partition::Partition;

/// The instants before which records are expired; none if they never expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cutoffs {
    /// For changes of tables without a rule of their own.
    pub(crate) changes: Option<DateTime<Utc>>,
    /// For changes of tables with their own rule.
    pub(crate) tables: Vec<TableCutoff>,
    /// For transactions that have lost their last change.
    pub(crate) transactions: Option<DateTime<Utc>>,
    /// For actions.
    pub(crate) actions: Option<DateTime<Utc>>,
    /// Only records before this instant are archived; the cut-offs are not after it. None if it does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    archived_to: Option<DateTime<Utc>>,
    /// Nothing before this instant is removed: the end of the newest restored span that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kept_before: Option<DateTime<Utc>>,
}

/// The cut-off of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TableCutoff {
    pub(crate) table: TableName,
    pub(crate) before: Option<DateTime<Utc>>,
}

impl Cutoffs {
    pub(crate) fn new(policy: &RetentionPolicy, now: DateTime<Utc>) -> Self {
        let before = |keep: Keep| Some(now - TimeDelta::hours(keep.in_hours()?.into()));
        Self {
            changes: before(policy.changes()),
            tables: policy
                .tables()
                .iter()
                .map(|rule| TableCutoff {
                    table: rule.table.clone(),
                    before: before(rule.keep),
                })
                .collect(),
            transactions: policy.transactions().map_or(Some(now), before),
            actions: before(policy.actions()),
            archived_to: None,
            kept_before: None,
        }
    }

    /// Limits the cut-offs to archived records.
    pub(crate) fn archived_to(self, archived_to: Option<DateTime<Utc>>) -> Self {
        let Some(archived) = archived_to else {
            return self;
        };
        let limit = |before: Option<DateTime<Utc>>| before.map(|before| before.min(archived));
        Self {
            changes: limit(self.changes),
            tables: self
                .tables
                .into_iter()
                .map(|rule| TableCutoff {
                    before: limit(rule.before),
                    ..rule
                })
                .collect(),
            transactions: limit(self.transactions),
            actions: limit(self.actions),
            archived_to,
            ..self
        }
    }

    /// Whether a partition is kept because of a restored span.
    pub(crate) fn keep(&self, partition: &Partition) -> bool {
        let kept = self.kept_before.zip(partition.from);
        kept.is_some_and(|(kept_before, from)| from < kept_before)
    }

    /// The cut-off of a table's changes.
    pub(crate) fn of_table(&self, table: &TableName) -> Option<DateTime<Utc>> {
        let rule = self.tables.iter().find(|rule| rule.table == *table);
        rule.map_or(self.changes, |rule| rule.before)
    }

    /// The last cut-off of any table's changes.
    pub(crate) fn newest(&self) -> Option<DateTime<Utc>> {
        let rules = self.tables.iter().map(|rule| rule.before);
        rules.fold(self.changes, Option::max)
    }

    /// Transactions without changes expire if they began before this, whichever tables they changed.
    pub(crate) fn emptied_transactions(&self) -> Option<DateTime<Utc>> {
        Some(self.transactions?.min(self.newest()?))
    }

    /// Whether all changes of a partition with these tables are expired.
    pub(crate) fn cover(&self, partition: &Partition, tables: &[TableName]) -> bool {
        let newest = self.newest();
        newest.is_some_and(|newest| partition.ends_by(newest))
            && tables.iter().all(|table| {
                let cutoff = self.of_table(table);
                cutoff.is_some_and(|before| partition.ends_by(before))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(days: u32) -> Keep {
        Keep::days(days).unwrap()
    }

    #[test]
    fn each_table_has_its_cutoff_and_forever_has_none() {
        let now: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let policy = RetentionPolicy::keep(days(30))
            .table("a".parse().unwrap(), days(10))
            .table("b".parse().unwrap(), Keep::FOREVER)
            .build()
            .unwrap();
        let cutoffs = Cutoffs::new(&policy, now);
        let ago = |days| Some(now - TimeDelta::days(days));
        assert_eq!(cutoffs.of_table(&"a".parse().unwrap()), ago(10));
        assert_eq!(cutoffs.of_table(&"b".parse().unwrap()), None);
        assert_eq!(cutoffs.of_table(&"c".parse().unwrap()), ago(30));
        assert_eq!(cutoffs.newest(), ago(10));
        assert_eq!(cutoffs.actions, None);
        assert_eq!(cutoffs.emptied_transactions(), ago(10));
    }

    #[test]
    fn cutoffs_of_archived_records_are_not_after_the_end_of_the_archive() {
        let now: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let policy = RetentionPolicy::keep(days(30))
            .table("a".parse().unwrap(), days(10))
            .actions(Keep::FOREVER)
            .build()
            .unwrap();
        let ago = |days| Some(now - TimeDelta::days(days));
        let cutoffs = Cutoffs::new(&policy, now).archived_to(ago(20));
        assert_eq!(cutoffs.of_table(&"a".parse().unwrap()), ago(20));
        assert_eq!((cutoffs.changes, cutoffs.actions), (ago(30), None));
        assert_eq!(cutoffs.transactions, ago(20));
    }
}
