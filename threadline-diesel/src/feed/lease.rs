//! Leases: the right of one worker to process a batch of items for a limited time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::data_types::PgInterval;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::consumer::ConsumerName;
use super::item::FeedItem;
use crate::models::TimelineEntry;

/// The maximum size of a batch.
pub const MAX_BATCH_SIZE: u32 = 10_000;

/// The maximum duration of a lease.
pub const MAX_LEASE_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum number of items of a batch; 500 unless set. A transaction with more items is delivered in
/// several batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize(u32);

/// A batch size out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch has 1 to {MAX_BATCH_SIZE} items, not {0}")]
pub struct InvalidBatchSize(pub u32);

impl BatchSize {
    /// A size from 1 to [`MAX_BATCH_SIZE`].
    ///
    /// # Errors
    /// [`InvalidBatchSize`] otherwise.
    pub fn new(items: u32) -> Result<Self, InvalidBatchSize> {
        if (1..=MAX_BATCH_SIZE).contains(&items) {
            Ok(Self(items))
        } else {
            Err(InvalidBatchSize(items))
        }
    }

    pub(crate) fn limit(self) -> i64 {
        i64::from(self.0)
    }
}

impl Default for BatchSize {
    fn default() -> Self {
        Self(500)
    }
}

/// The duration of a lease; one minute unless set. A worker that needs more time renews it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTime(Duration);

/// A lease time out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease lasts for at least a millisecond and at most {MAX_LEASE_TIME:?}, not {0:?}")]
pub struct InvalidLeaseTime(pub Duration);

impl LeaseTime {
    /// A time from a millisecond to [`MAX_LEASE_TIME`].
    ///
    /// # Errors
    /// [`InvalidLeaseTime`] otherwise.
    pub fn new(time: Duration) -> Result<Self, InvalidLeaseTime> {
        if (Duration::from_millis(1)..=MAX_LEASE_TIME).contains(&time) {
            Ok(Self(time))
        } else {
            Err(InvalidLeaseTime(time))
        }
    }

    /// The duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    pub(crate) fn interval(self) -> PgInterval {
        let micros = i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX);
        PgInterval::from_microseconds(micros)
    }
}

impl Default for LeaseTime {
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

/// The token to acknowledge, renew or release a lease. It can be stored and passed on as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseToken {
    consumer: ConsumerName,
    token: Uuid,
}

impl LeaseToken {
    /// The consumer of the lease.
    #[must_use]
    pub fn consumer(&self) -> &ConsumerName {
        &self.consumer
    }

    pub(crate) fn new(consumer: ConsumerName, token: Uuid) -> Self {
        Self { consumer, token }
    }

    pub(crate) fn token(&self) -> Uuid {
        self.token
    }
}

/// Leased changes and actions.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Batch {
    /// The changes and actions, in the order of their ids. Never empty.
    pub items: Vec<FeedItem>,
    /// The token that acknowledges them.
    pub token: LeaseToken,
    /// When the lease expires, by the server's clock.
    pub leased_until: DateTime<Utc>,
    /// How often these items were leased; more than 1 after a worker failed.
    pub attempt: i32,
    /// Set if retention removed changes captured before this instant that the consumer may not have received.
    pub removed_before: Option<DateTime<Utc>>,
}

impl Batch {
    /// The changes alone.
    pub fn changes(&self) -> impl Iterator<Item = &TimelineEntry> {
        self.items.iter().filter_map(FeedItem::change)
    }
}

/// The result of a lease.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Leased {
    /// A batch of changes and actions.
    Batch(Box<Batch>),
    /// There are no items.
    Empty,
    /// Items may become available when the running transactions have ended.
    Waiting,
    /// Another worker holds the lease.
    Held {
        /// When that lease expires at the latest, by the server's clock; unknown while the other worker is
        /// leasing or acknowledging.
        until: Option<DateTime<Utc>>,
    },
}

impl Leased {
    /// The batch, if there is one.
    #[must_use]
    pub fn into_batch(self) -> Option<Batch> {
        match self {
            Self::Batch(batch) => Some(*batch),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_bounded() {
        assert!(BatchSize::new(0).is_err());
        assert!(BatchSize::new(10_001).is_err());
        assert_eq!(BatchSize::new(10_000).unwrap().limit(), 10_000);
        assert!(LeaseTime::new(Duration::ZERO).is_err());
        assert!(LeaseTime::new(MAX_LEASE_TIME + Duration::from_millis(1)).is_err());
        let second = LeaseTime::new(Duration::from_secs(1)).unwrap();
        assert_eq!(second.interval(), PgInterval::from_microseconds(1_000_000));
    }

    #[test]
    fn a_token_survives_json() {
        let token = LeaseToken {
            consumer: "search".parse().unwrap(),
            token: Uuid::from_u128(7),
        };
        let json = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<LeaseToken>(&json).unwrap(), token);
    }
}
