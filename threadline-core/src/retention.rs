//! How long what is kept.
//!
//! A [`RetentionPolicy`] is a value in the host's code. It does nothing unless it is enabled, and
//! what it means is decided when a purge begins, by the database's clock.
//!
//! ```
//! use threadline_core::retention::{Keep, RetentionPolicy};
//!
//! let policy = RetentionPolicy::keep(Keep::days(365)?)
//!     .table("public.payments".parse()?, Keep::days(3650)?)
//!     .table("public.sessions".parse()?, Keep::days(30)?)
//!     .enabled()
//!     .build()?;
//! assert!(policy.is_enabled());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::table::TableName;

/// The longest time that can be said in days: a hundred years.
pub const MAX_KEEP_DAYS: u32 = 36_525;

/// How long something is kept: a number of days or hours, or forever.
///
/// A day is 24 hours. Anything that is not forever is at least an hour, so that a purge never runs
/// into work that has just been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Duration", into = "Duration")]
pub struct Keep(Duration);

/// As it is written in JSON: `{"days": 365}`, `{"hours": 36}`, `"forever"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Duration {
    Days(u32),
    Hours(u32),
    Forever,
}

impl Keep {
    /// Forever: a purge never removes it.
    pub const FOREVER: Self = Self(Duration::Forever);

    /// A number of days, from 1 to [`MAX_KEEP_DAYS`].
    ///
    /// # Errors
    /// [`InvalidRetention::Keep`] outside of that.
    pub fn days(days: u32) -> Result<Self, InvalidRetention> {
        Self::try_from(Duration::Days(days))
    }

    /// A number of hours, from 1 to as many as [`MAX_KEEP_DAYS`] have.
    ///
    /// # Errors
    /// [`InvalidRetention::Keep`] outside of that.
    pub fn hours(hours: u32) -> Result<Self, InvalidRetention> {
        Self::try_from(Duration::Hours(hours))
    }

    /// The time in hours; none for forever.
    #[must_use]
    pub const fn in_hours(self) -> Option<u32> {
        match self.0 {
            Duration::Days(days) => Some(days * 24),
            Duration::Hours(hours) => Some(hours),
            Duration::Forever => None,
        }
    }

    /// Whether this is a shorter time than another.
    fn is_shorter_than(self, other: Self) -> bool {
        match (self.in_hours(), other.in_hours()) {
            (Some(own), Some(other)) => own < other,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

impl TryFrom<Duration> for Keep {
    type Error = InvalidRetention;

    fn try_from(duration: Duration) -> Result<Self, Self::Error> {
        let valid = match duration {
            Duration::Days(days) => (1..=MAX_KEEP_DAYS).contains(&days),
            Duration::Hours(hours) => (1..=MAX_KEEP_DAYS * 24).contains(&hours),
            Duration::Forever => true,
        };
        let keep = Self(duration);
        if valid {
            Ok(keep)
        } else {
            Err(InvalidRetention::Keep(keep.to_string()))
        }
    }
}

impl From<Keep> for Duration {
    fn from(keep: Keep) -> Self {
        keep.0
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            Duration::Days(days) => (days, "day"),
            Duration::Hours(hours) => (hours, "hour"),
            Duration::Forever => return f.write_str("forever"),
        };
        let plural = if number == 1 { "" } else { "s" };
        write!(f, "{number} {unit}{plural}")
    }
}

/// What becomes of the last image of a row whose changes are all expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LastImages {
    /// It goes with the other changes.
    #[default]
    Purged,
    /// It stays, as an entry `baseline`: what the row was at the audit horizon. A row that was
    /// deleted before has none.
    Kept,
}

/// A table that is kept for another time than the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TableRule {
    /// The table.
    pub table: TableName,
    /// How long its changes are kept.
    pub keep: Keep,
}

/// How long changes, transactions and actions are kept. See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RetentionPolicyBuilder", into = "RetentionPolicyBuilder")]
pub struct RetentionPolicy(RetentionPolicyBuilder);

impl RetentionPolicy {
    /// A policy that keeps changes for so long; not enabled until [`RetentionPolicyBuilder::enabled`]
    /// says so.
    pub const fn keep(changes: Keep) -> RetentionPolicyBuilder {
        RetentionPolicyBuilder {
            enabled: false,
            changes,
            tables: Vec::new(),
            transactions: None,
            actions: None,
            last_images: LastImages::Purged,
        }
    }

    /// Whether a purge may remove anything.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.0.enabled
    }

    /// How long changes are kept of tables without a rule of their own.
    #[must_use]
    pub const fn changes(&self) -> Keep {
        self.0.changes
    }

    /// The tables with a rule of their own, by name.
    #[must_use]
    pub fn tables(&self) -> &[TableRule] {
        &self.0.tables
    }

    /// How long a transaction is kept at least; none if it goes with its last change.
    #[must_use]
    pub const fn transactions(&self) -> Option<Keep> {
        self.0.transactions
    }

    /// How long actions are kept: as said, or else as long as the changes that are kept longest.
    #[must_use]
    pub fn actions(&self) -> Keep {
        self.0.actions.unwrap_or_else(|| self.longest_of_changes())
    }

    /// What becomes of the last images of rows.
    #[must_use]
    pub const fn last_images(&self) -> LastImages {
        self.0.last_images
    }

    /// Whether changes are kept longer than the actions that explain them.
    #[must_use]
    pub fn loses_reasons(&self) -> bool {
        self.actions().is_shorter_than(self.longest_of_changes())
    }

    fn longest_of_changes(&self) -> Keep {
        let rules = self.0.tables.iter().map(|rule| rule.keep);
        rules.fold(self.0.changes, |longest, keep| {
            if longest.is_shorter_than(keep) {
                keep
            } else {
                longest
            }
        })
    }
}

/// A policy that is being put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use = "build() makes the policy"]
pub struct RetentionPolicyBuilder {
    #[serde(default)]
    enabled: bool,
    changes: Keep,
    #[serde(default)]
    tables: Vec<TableRule>,
    #[serde(default)]
    transactions: Option<Keep>,
    #[serde(default)]
    actions: Option<Keep>,
    #[serde(default)]
    last_images: LastImages,
}

impl RetentionPolicyBuilder {
    /// Keeps the changes of one table for another time than the rest, longer or shorter.
    pub fn table(mut self, table: TableName, keep: Keep) -> Self {
        self.tables.push(TableRule { table, keep });
        self
    }

    /// Keeps transactions for so long even if none of their changes is left. Otherwise a
    /// transaction goes with its last change. One that has changes always stays.
    pub const fn transactions(mut self, keep: Keep) -> Self {
        self.transactions = Some(keep);
        self
    }

    /// Keeps actions for so long. Otherwise as long as the changes that are kept longest.
    pub const fn actions(mut self, keep: Keep) -> Self {
        self.actions = Some(keep);
        self
    }

    /// Says what becomes of the last image of a row whose changes are all expired.
    pub const fn last_images(mut self, last_images: LastImages) -> Self {
        self.last_images = last_images;
        self
    }

    /// Lets purges happen.
    pub const fn enabled(mut self) -> Self {
        self.enabled = true;
        self
    }

    /// The policy.
    ///
    /// # Errors
    /// [`InvalidRetention`] when a table has two rules, or transactions are to go before their
    /// changes.
    pub fn build(mut self) -> Result<RetentionPolicy, InvalidRetention> {
        self.tables
            .sort_by(|one, other| one.table.cmp(&other.table));
        let twice = self.tables.windows(2).find_map(|pair| match pair {
            [one, other] if one.table == other.table => Some(one.table.clone()),
            _ => None,
        });
        if let Some(table) = twice {
            return Err(InvalidRetention::TableTwice(table));
        }
        if let Some(transactions) = self.transactions
            && transactions.is_shorter_than(self.changes)
        {
            return Err(InvalidRetention::TransactionsTooShort {
                transactions,
                changes: self.changes,
            });
        }
        Ok(RetentionPolicy(self))
    }
}

impl TryFrom<RetentionPolicyBuilder> for RetentionPolicy {
    type Error = InvalidRetention;

    fn try_from(builder: RetentionPolicyBuilder) -> Result<Self, Self::Error> {
        builder.build()
    }
}

impl From<RetentionPolicy> for RetentionPolicyBuilder {
    fn from(policy: RetentionPolicy) -> Self {
        policy.0
    }
}

/// A policy that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRetention {
    /// Too short or too long.
    #[error("things are kept for an hour to {MAX_KEEP_DAYS} days, or forever; not for {0}")]
    Keep(String),
    /// A table has two rules.
    #[error("table {0} has two rules for how long it is kept: leave one")]
    TableTwice(TableName),
    /// A transaction stays as long as its changes.
    #[error(
        "transactions are kept for {transactions}, but changes for {changes}: a transaction stays \
         as long as its changes, so give it as long at least, or leave it out"
    )]
    TransactionsTooShort {
        /// How long transactions were to be kept.
        transactions: Keep,
        /// How long changes are kept.
        changes: Keep,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(days: u32) -> Keep {
        Keep::days(days).unwrap()
    }

    #[test]
    fn a_policy_is_disabled_unless_it_is_enabled() {
        let policy = RetentionPolicy::keep(days(30)).build().unwrap();
        assert!(!policy.is_enabled());
        let read: RetentionPolicy = serde_json::from_str(r#"{"changes": {"days": 30}}"#).unwrap();
        assert_eq!(read, policy);
    }

    #[test]
    fn actions_are_kept_as_long_as_any_change_they_explain() {
        let policy = RetentionPolicy::keep(days(30)).table("a".parse().unwrap(), days(90));
        assert_eq!(policy.clone().build().unwrap().actions(), days(90));
        let shorter = policy.clone().actions(days(60)).build().unwrap();
        assert!(shorter.loses_reasons());
        let forever = policy.table("b".parse().unwrap(), Keep::FOREVER);
        assert_eq!(forever.build().unwrap().actions(), Keep::FOREVER);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_value() {
        let error = Keep::days(0).unwrap_err().to_string();
        assert!(error.contains("not for 0 days"), "{error}");
        assert!(Keep::hours(MAX_KEEP_DAYS * 24 + 1).is_err());
        let twice = RetentionPolicy::keep(days(1))
            .table("t".parse().unwrap(), days(2))
            .table("public.t".parse().unwrap(), days(3));
        assert_eq!(
            twice.build(),
            Err(InvalidRetention::TableTwice("t".parse().unwrap()))
        );
        let short = RetentionPolicy::keep(days(30)).transactions(Keep::hours(24).unwrap());
        let error = short.build().unwrap_err().to_string();
        assert!(
            error.contains("for 24 hours, but changes for 30 days"),
            "{error}"
        );
        for unread in [
            r#"{"changes": {"days": 0}}"#,
            r#"{"changes": "365"}"#,
            r#"{"changes": {"days": 1}, "tabels": []}"#,
        ] {
            assert!(
                serde_json::from_str::<RetentionPolicy>(unread).is_err(),
                "{unread}"
            );
        }
    }

    #[test]
    fn a_policy_comes_back_from_json_as_it_was() {
        let policy = RetentionPolicy::keep(days(365))
            .table("a".parse().unwrap(), Keep::FOREVER)
            .transactions(Keep::FOREVER)
            .actions(Keep::hours(36).unwrap())
            .last_images(LastImages::Kept)
            .enabled()
            .build();
        let policy = policy.unwrap();
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(
            serde_json::from_str::<RetentionPolicy>(&text).unwrap(),
            policy
        );
    }
}
