//! Retention policies: how long changes, transactions and actions are kept.
//!
//! A [`RetentionPolicy`] is a value in the application's code. A purge applies it if it is enabled;
//! cut-offs are computed from the database's clock when the purge starts.
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

/// The maximum retention period in days: a hundred years.
pub const MAX_KEEP_DAYS: u32 = 36_525;

/// A retention period: a number of days or hours, or forever.
///
/// A day has 24 hours. The minimum is one hour, so that a purge does not affect recent work.
///
/// ```
/// use threadline_core::retention::Keep;
///
/// assert_eq!(Keep::days(365)?.in_hours(), Some(8_760));
/// assert_eq!(Keep::FOREVER.in_hours(), None);
/// assert!(Keep::hours(0).is_err());
/// # Ok::<(), threadline_core::retention::InvalidRetention>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Duration", into = "Duration")]
pub struct Keep(Duration);

/// The JSON form of [`Keep`]: `{"days": 365}`, `{"hours": 36}`, `"forever"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Duration {
    Days(u32),
    Hours(u32),
    Forever,
}

impl Keep {
    /// Forever.
    pub const FOREVER: Self = Self(Duration::Forever);

    /// A period in days, from 1 to [`MAX_KEEP_DAYS`].
    ///
    /// # Errors
    /// [`InvalidRetention::Period`] if the number is out of range.
    pub fn days(days: u32) -> Result<Self, InvalidRetention> {
        Self::try_from(Duration::Days(days))
    }

    /// A period in hours, from 1 to [`MAX_KEEP_DAYS`] times 24.
    ///
    /// # Errors
    /// [`InvalidRetention::Period`] if the number is out of range.
    pub fn hours(hours: u32) -> Result<Self, InvalidRetention> {
        Self::try_from(Duration::Hours(hours))
    }

    /// The period in hours; `None` for forever.
    #[must_use]
    pub const fn in_hours(self) -> Option<u32> {
        match self.0 {
            Duration::Days(days) => Some(days * 24),
            Duration::Hours(hours) => Some(hours),
            Duration::Forever => None,
        }
    }

    /// Whether this period is shorter than another one.
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
            Err(InvalidRetention::Period(keep.to_string()))
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

/// What a purge does with the last image of a row whose changes have all expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LastImages {
    /// It is removed with the other changes.
    #[default]
    Purged,
    /// It is kept as a `baseline` record: the state of the row at the audit horizon. Deleted rows
    /// have none.
    Kept,
}

/// The retention period of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TableRule {
    /// The table.
    pub table: TableName,
    /// The retention period of its changes.
    pub keep: Keep,
}

/// How long changes, transactions and actions are kept. The [module documentation](self) has an
/// example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RetentionPolicyBuilder", into = "RetentionPolicyBuilder")]
pub struct RetentionPolicy(RetentionPolicyBuilder);

impl RetentionPolicy {
    /// Creates a builder with the retention period of changes. The policy is disabled unless
    /// [`RetentionPolicyBuilder::enabled`] is called.
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

    /// Whether purges are enabled.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.0.enabled
    }

    /// The retention period of changes of tables without a rule.
    #[must_use]
    pub const fn changes(&self) -> Keep {
        self.0.changes
    }

    /// The rules of tables, sorted by name.
    #[must_use]
    pub fn tables(&self) -> &[TableRule] {
        &self.0.tables
    }

    /// The minimum retention period of transactions; `None` if a transaction is removed with its last
    /// change.
    #[must_use]
    pub const fn transactions(&self) -> Option<Keep> {
        self.0.transactions
    }

    /// The retention period of actions. By default it is the longest period of changes.
    #[must_use]
    pub fn actions(&self) -> Keep {
        self.0
            .actions
            .unwrap_or_else(|| self.longest_change_period())
    }

    /// What a purge does with the last images of rows.
    #[must_use]
    pub const fn last_images(&self) -> LastImages {
        self.0.last_images
    }

    /// Whether actions expire before some of the changes that they explain.
    #[must_use]
    pub fn actions_expire_first(&self) -> bool {
        self.actions().is_shorter_than(self.longest_change_period())
    }

    fn longest_change_period(&self) -> Keep {
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

/// A builder of [`RetentionPolicy`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use = "a builder does nothing until `build` is called"]
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
    /// Sets the retention period of one table, longer or shorter than that of the others.
    pub fn table(mut self, table: TableName, keep: Keep) -> Self {
        self.tables.push(TableRule { table, keep });
        self
    }

    /// Sets the minimum retention period of transactions. By default a transaction is removed with its
    /// last change. A transaction that has changes is always kept.
    pub const fn transactions(mut self, keep: Keep) -> Self {
        self.transactions = Some(keep);
        self
    }

    /// Sets the retention period of actions, by default the longest period of changes.
    pub const fn actions(mut self, keep: Keep) -> Self {
        self.actions = Some(keep);
        self
    }

    /// Sets what a purge does with the last image of a row whose changes have all expired.
    pub const fn last_images(mut self, last_images: LastImages) -> Self {
        self.last_images = last_images;
        self
    }

    /// Enables purges.
    pub const fn enabled(mut self) -> Self {
        self.enabled = true;
        self
    }

    /// Validates the policy.
    ///
    /// # Errors
    /// [`InvalidRetention`] if a table has two rules, or the period of transactions is shorter than
    /// that of changes.
    pub fn build(mut self) -> Result<RetentionPolicy, InvalidRetention> {
        self.tables
            .sort_by(|one, other| one.table.cmp(&other.table));
        let duplicate = self.tables.windows(2).find_map(|pair| match pair {
            [one, other] if one.table == other.table => Some(one.table.clone()),
            _ => None,
        });
        if let Some(table) = duplicate {
            return Err(InvalidRetention::DuplicateTable(table));
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

/// The error for an invalid retention policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRetention {
    /// The period is too short or too long.
    #[error(
        "the retention period `{0}` is out of range: use one hour to {MAX_KEEP_DAYS} days, or forever"
    )]
    Period(String),
    /// A table has two rules.
    #[error("table {0} has two retention rules: keep one")]
    DuplicateTable(TableName),
    /// The period of transactions is shorter than that of changes.
    #[error(
        "transactions are kept for {transactions}, but changes for {changes}: a transaction is kept as \
         long as its changes, so use at least {changes} or leave the period out"
    )]
    TransactionsTooShort {
        /// The period of transactions.
        transactions: Keep,
        /// The period of changes.
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
    fn policies_are_disabled_by_default() {
        let policy = RetentionPolicy::keep(days(30)).build().unwrap();
        assert!(!policy.is_enabled());
        let read: RetentionPolicy = serde_json::from_str(r#"{"changes": {"days": 30}}"#).unwrap();
        assert_eq!(read, policy);
    }

    #[test]
    fn actions_are_kept_as_long_as_any_change_by_default() {
        let policy = RetentionPolicy::keep(days(30)).table("a".parse().unwrap(), days(90));
        assert_eq!(policy.clone().build().unwrap().actions(), days(90));
        let shorter = policy.clone().actions(days(60)).build().unwrap();
        assert!(shorter.actions_expire_first());
        let forever = policy.table("b".parse().unwrap(), Keep::FOREVER);
        assert_eq!(forever.build().unwrap().actions(), Keep::FOREVER);
    }

    #[test]
    fn invalid_policies_are_rejected_with_the_invalid_value() {
        let error = Keep::days(0).unwrap_err().to_string();
        assert!(error.contains("`0 days` is out of range"), "{error}");
        assert!(Keep::hours(MAX_KEEP_DAYS * 24 + 1).is_err());
        let duplicate = RetentionPolicy::keep(days(1))
            .table("t".parse().unwrap(), days(2))
            .table("public.t".parse().unwrap(), days(3));
        assert_eq!(
            duplicate.build(),
            Err(InvalidRetention::DuplicateTable("t".parse().unwrap()))
        );
        let short = RetentionPolicy::keep(days(30)).transactions(Keep::hours(24).unwrap());
        let error = short.build().unwrap_err().to_string();
        assert!(
            error.contains("for 24 hours, but changes for 30 days"),
            "{error}"
        );
        for invalid in [
            r#"{"changes": {"days": 0}}"#,
            r#"{"changes": "365"}"#,
            r#"{"changes": {"days": 1}, "tabels": []}"#,
        ] {
            assert!(
                serde_json::from_str::<RetentionPolicy>(invalid).is_err(),
                "{invalid}"
            );
        }
    }

    #[test]
    fn policies_round_trip_through_json() {
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
