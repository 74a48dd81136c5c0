//! A batch of changes, for a while.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::data_types::PgInterval;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::FeedError;
use super::consumer::ConsumerName;
use super::statements::LeaseRow;
use crate::change::TimelineEntry;

/// The most changes a batch can have.
pub const MAX_BATCH_SIZE: u32 = 10_000;

/// The longest a lease can last.
pub const MAX_LEASE_TIME: Duration = Duration::from_hours(24);

/// How many changes a batch has at most; 500 unless set. A transaction with more changes comes in
/// several batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize(u32);

/// A size a batch cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch has 1 to {MAX_BATCH_SIZE} changes, not {0}")]
pub struct InvalidBatchSize(pub u32);

impl BatchSize {
    /// A size from 1 to [`MAX_BATCH_SIZE`].
    ///
    /// # Errors
    /// [`InvalidBatchSize`] outside of that.
    pub fn new(changes: u32) -> Result<Self, InvalidBatchSize> {
        if (1..=MAX_BATCH_SIZE).contains(&changes) {
            Ok(Self(changes))
        } else {
            Err(InvalidBatchSize(changes))
        }
    }

    pub(crate) fn limit(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }
}

impl Default for BatchSize {
    fn default() -> Self {
        Self(500)
    }
}

/// How long a lease lasts; a minute unless set. Whoever works for longer renews it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTime(Duration);

/// A time a lease cannot last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease lasts for at least a millisecond and at most {MAX_LEASE_TIME:?}, not {0:?}")]
pub struct InvalidLeaseTime(pub Duration);

impl LeaseTime {
    /// A time from a millisecond to [`MAX_LEASE_TIME`].
    ///
    /// # Errors
    /// [`InvalidLeaseTime`] outside of that.
    pub fn new(time: Duration) -> Result<Self, InvalidLeaseTime> {
        if (Duration::from_millis(1)..=MAX_LEASE_TIME).contains(&time) {
            Ok(Self(time))
        } else {
            Err(InvalidLeaseTime(time))
        }
    }

    pub(crate) fn interval(self) -> PgInterval {
        let micros = i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX);
        PgInterval::from_microseconds(micros)
    }
}

impl Default for LeaseTime {
    fn default() -> Self {
        Self(Duration::from_mins(1))
    }
}

/// What a lease is acknowledged, renewed and given up by. It can be stored or passed on as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseToken {
    consumer: ConsumerName,
    token: Uuid,
}

impl LeaseToken {
    /// Whose lease it is.
    #[must_use]
    pub fn consumer(&self) -> &ConsumerName {
        &self.consumer
    }

    pub(crate) fn token(&self) -> Uuid {
        self.token
    }
}

/// Changes that were leased.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Batch {
    /// The changes, in the order of their ids, which is the order of capture. Never empty, unless
    /// retention removed them while they were read.
    pub entries: Vec<TimelineEntry>,
    /// What to acknowledge them by.
    pub token: LeaseToken,
    /// Until when nobody else gets them, by the server's clock.
    pub leased_until: DateTime<Utc>,
    /// How often these changes were leased; more than 1 after a worker failed.
    pub attempt: i32,
    /// Set if retention, since the consumer was created, removed changes captured before this
    /// instant while the consumer may not have seen all of them.
    pub removed_before: Option<DateTime<Utc>>,
}

/// What came of a lease.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Leased {
    /// There are changes.
    Batch(Box<Batch>),
    /// There are none.
    Empty,
    /// There may be some, as soon as transactions that run now have ended.
    Waiting,
    /// Somebody else works for this consumer.
    Held {
        /// Until when at most, by the server's clock; unknown while somebody is just acknowledging.
        until: Option<DateTime<Utc>>,
    },
}

impl Leased {
    /// The changes, if there are some.
    #[must_use]
    pub fn into_batch(self) -> Option<Batch> {
        match self {
            Self::Batch(batch) => Some(*batch),
            _ => None,
        }
    }
}

/// A lease whose changes are still to be read.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) after_id: i64,
    pub(crate) to_id: i64,
    batch: Batch,
}

impl Granted {
    pub(crate) fn with_entries(mut self, entries: Vec<TimelineEntry>) -> Leased {
        self.batch.entries = entries;
        Leased::Batch(Box::new(self.batch))
    }
}

impl LeaseRow {
    /// What the row means: a lease, or why there is none.
    pub(crate) fn read(
        self,
        consumer: &ConsumerName,
    ) -> Result<Result<Granted, Leased>, FeedError> {
        let not_granted = match self.outcome.as_str() {
            "batch" => None,
            "empty" => Some(Leased::Empty),
            "waiting" => Some(Leased::Waiting),
            "held" => Some(Leased::Held {
                until: self.leased_until,
            }),
            "unknown" => return Err(FeedError::NoSuchConsumer(consumer.clone())),
            _ => return Err(FeedError::UnknownOutcome(self.outcome)),
        };
        if let Some(leased) = not_granted {
            return Ok(Err(leased));
        }
        let (Some(token), Some(after_id), Some(to_id), Some(leased_until), Some(attempt)) = (
            self.token,
            self.after_id,
            self.to_id,
            self.leased_until,
            self.attempt,
        ) else {
            return Err(FeedError::UnknownOutcome(self.outcome));
        };
        Ok(Ok(Granted {
            after_id,
            to_id,
            batch: Batch {
                entries: Vec::new(),
                token: LeaseToken {
                    consumer: consumer.clone(),
                    token,
                },
                leased_until,
                attempt,
                removed_before: self.removed_before,
            },
        }))
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
