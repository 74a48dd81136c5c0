//! The feed: every change and every action, for named consumers, in order.
//!
//! A consumer leases a batch, does something with it, and acknowledges it. Each change of a committed
//! transaction is delivered at least once, changes of one row in the order in which they happened, and
//! none of a transaction that was rolled back. What commits late is not skipped: a consumer waits for
//! transactions that were running when a change was captured before it. Actions are delivered in the
//! same order, whether or not rows were changed under them. `guides/feed.md` says exactly what is
//! guaranteed.
//!
//! Everything here is SQL sent with the rights of the connection's role. A worker needs SELECT on the
//! trail and UPDATE on `audit_feed_consumers`; creating and dropping consumers needs INSERT and DELETE
//! on it. `threadline-core/sql/schema/0001/18_feed.sql` explains marks.

mod calls;
mod consumer;
mod item;
mod lag;
mod lease;
mod statements;
mod wait;

use threadline_core::storage::STORAGE_SCHEMA;

pub use calls::{
    acknowledge, consumers_behind, create, drop_consumer, lag, lease, list, release, renew, wake,
};
pub use consumer::{ConsumerName, InvalidConsumerName, InvalidStart, Start};
pub use item::FeedItem;
pub use lag::{Lag, RunningTransaction};
pub use lease::{
    Batch, BatchSize, InvalidBatchSize, InvalidLeaseTime, LeaseTime, LeaseToken, Leased,
    MAX_BATCH_SIZE, MAX_LEASE_TIME,
};
pub use wait::{Listener, WakeReason};

/// The notification channel of listeners: `threadline_feed`, or after the name of the storage schema.
fn channel() -> String {
    format!("{STORAGE_SCHEMA}_feed")
}

/// Why a call of the feed failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// There is no consumer of this name.
    #[error("there is no consumer `{0}`: create it first")]
    NoSuchConsumer(ConsumerName),
    /// There is one already.
    #[error("there is a consumer `{0}` already: lease from it, or drop it first")]
    ConsumerExists(ConsumerName),
    /// A consumer cannot begin after an id that was not given out.
    #[error("no change has the id {id} yet: the last is {last_id}")]
    NoSuchPlace {
        /// The id to begin after.
        id: i64,
        /// The last id that was given out.
        last_id: i64,
    },
    /// The lease has run out, was given up, or the consumer was dropped. Another worker may have the
    /// same items now.
    #[error(
        "the lease of consumer `{0}` is lost: it ran out, was given up, or the consumer was \
         dropped; lease again, or for longer"
    )]
    LeaseLost(ConsumerName),
    /// The transaction around the lease has another isolation level.
    #[error("a lease takes a transaction at the level READ COMMITTED, not {0}")]
    WrongIsolation(String),
    /// The transaction around the lease has written: it would get its own changes, which it may still
    /// roll back.
    #[error(
        "a lease takes a transaction that has written nothing: lease outside of a transaction; to \
         acknowledge inside one is fine"
    )]
    HasWritten,
    /// The consumer is ahead of the sequence of ids: changes that come would be skipped.
    #[error(
        "the last change has the id {last_id}, and the consumer is at {reached} already: the \
         sequence {STORAGE_SCHEMA}.audit_changes_id_seq was set back, or not restored with the trail; \
         set it beyond the greatest id"
    )]
    SequenceSetBack {
        /// The last id that was given out.
        last_id: i64,
        /// The id the consumer has reached.
        reached: i64,
    },
    /// With a cache, sessions use ids that they took long before, so nothing tells what is settled.
    #[error(
        "the sequence of changes has a cache, so the feed cannot know what is settled: ALTER \
         SEQUENCE {STORAGE_SCHEMA}.audit_changes_id_seq CACHE 1"
    )]
    SequenceHasCache,
    /// The database returned an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

impl From<FeedError> for diesel::result::Error {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Database(error) => error,
            other => Self::QueryBuilderError(Box::new(other)),
        }
    }
}
