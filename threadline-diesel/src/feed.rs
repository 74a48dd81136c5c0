//! The feed: every change and every action, for named consumers, in order.
//!
//! A consumer leases a batch, processes it, and acknowledges it. Each change of a committed transaction is
//! delivered at least once, the changes of one row in the order in which they were made, and no change of a
//! transaction that was rolled back. A transaction that commits late is not skipped: the feed ends before the
//! first change of the oldest running transaction. Actions are delivered in the same order, with or without
//! changes. `guides/feed.md` states the guarantees.
//!
//! All statements run with the privileges of the connection's role. A worker needs SELECT on the trail and
//! UPDATE on `audit_feed_consumers`; creating and dropping consumers needs INSERT and DELETE on it. Marks are explained in
//! `threadline-core/sql/schema/0001/18_feed.sql`.

mod calls;
mod consumer;
mod failures;
mod item;
mod lag;
mod lease;
mod statements;
mod wait;

use threadline_core::storage::STORAGE_SCHEMA;

pub use calls::{
    acknowledge, acknowledge_to, consumers_behind, create, drop_consumer, lag, lease, list,
    release, renew, settled_id, wake,
};
pub use consumer::{ConsumerName, InvalidConsumerName, InvalidStart, Start};
pub use failures::{
    DeliveryFailure, MAX_DELIVERY_FAILURES, delivery_failures, find_item, record_delivery_failure,
    remove_delivery_failure, repeat_delivery_failure,
};
pub use item::{FeedItem, WithoutValues};
pub use lag::{Lag, RunningTransaction};
pub use lease::{
    Batch, BatchSize, InvalidBatchSize, InvalidLeaseTime, LeaseTime, LeaseToken, Leased,
    MAX_BATCH_SIZE, MAX_LEASE_TIME,
};
pub use wait::{Listener, WakeReason};

/// The notification channel of listeners: `threadline_feed`, or derived from the name of the storage schema.
fn channel() -> String {
    format!("{STORAGE_SCHEMA}_feed")
}

/// An error of the feed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// No consumer has this name.
    #[error("there is no consumer `{0}`: create it first")]
    NoSuchConsumer(ConsumerName),
    /// The consumer belongs to the sealer.
    #[error(
        "consumer `{0}` belongs to the sealer: it ends with the log of seals, when threadline_0003 is reverted"
    )]
    Reserved(ConsumerName),
    /// A consumer of this name exists already.
    #[error("consumer `{0}` exists already: lease from it, or drop it first")]
    ConsumerExists(ConsumerName),
    /// The start id is greater than the last assigned id.
    #[error("no change has the id {id} yet: the last is {last_id}")]
    NoSuchPlace {
        /// The start id.
        id: i64,
        /// The last assigned id.
        last_id: i64,
    },
    /// The lease expired or was released, or the consumer was dropped. Another worker may have the same
    /// items now.
    #[error(
        "the lease of consumer `{0}` is lost: it expired, was released, or the consumer was \
         dropped; lease again, or for longer"
    )]
    LeaseLost(ConsumerName),
    /// The transaction around the lease has another isolation level.
    #[error("a lease needs isolation level READ COMMITTED, not {0}")]
    WrongIsolation(String),
    /// The transaction around the lease has written: it would receive its own changes, and may still roll
    /// them back.
    #[error(
        "a lease needs a transaction that has written nothing: lease outside a transaction (acknowledging \
         inside one is allowed)"
    )]
    HasWritten,
    /// The consumer is ahead of the sequence of ids, so it would skip new changes.
    #[error(
        "the last change has the id {last_id}, but the consumer has acknowledged up to {reached}: the \
         sequence {STORAGE_SCHEMA}.audit_changes_id_seq was set back, or not restored with the trail; \
         set it beyond the greatest id"
    )]
    SequenceSetBack {
        /// The last assigned id.
        last_id: i64,
        /// The id up to which the consumer has acknowledged.
        reached: i64,
    },
    /// The sequence has a cache. Sessions then use ids that they reserved earlier, so the feed cannot know
    /// which ids are final.
    #[error(
        "the sequence of changes has a cache, so the feed cannot know which ids are final: ALTER \
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
