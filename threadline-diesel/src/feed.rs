//! The feed: every change, for named consumers, in order.
//!
//! A consumer leases a batch of changes, does something with them, and acknowledges them. Each change
//! of a committed transaction is delivered at least once, changes of one row in the order in which
//! they happened, and none of a transaction that was rolled back. What commits late is not skipped:
//! a consumer waits for transactions that were running when a change was captured before it.
//! `guides/feed.md` says exactly what is guaranteed.
//!
//! The calls are in [`nonblocking::feed`](crate::nonblocking::feed) and
//! [`blocking::feed`](crate::blocking::feed).

pub(crate) mod calls;
mod consumer;
mod lag;
mod lease;
pub(crate) mod statements;
#[cfg(feature = "async")]
mod wait;

pub use consumer::{ConsumerName, InvalidConsumerName, InvalidStart, Start};
pub use lag::{Lag, RunningTransaction};
pub use lease::{
    Batch, BatchSize, InvalidBatchSize, InvalidLeaseTime, LeaseTime, LeaseToken, Leased,
    MAX_BATCH_SIZE, MAX_LEASE_TIME,
};
#[cfg(feature = "async")]
pub use wait::{Listener, Woken};

/// What wakes listeners: `threadline_feed`, or what the storage schema is called.
pub(crate) fn channel() -> String {
    format!("{}_feed", threadline_core::storage::STORAGE_SCHEMA)
}

/// A call of the feed that did not do what it was for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// There is no consumer of this name.
    #[error("there is no consumer `{0}`: create it first")]
    NoSuchConsumer(ConsumerName),
    /// There is one already.
    #[error("there is a consumer `{0}` already: lease from it, or drop it first")]
    ConsumerExists(ConsumerName),
    /// The lease has run out, was given up, or the consumer was dropped. Somebody else may have the
    /// same changes now.
    #[error(
        "the lease of consumer `{0}` is lost: it ran out, was given up, or the consumer was \
         dropped; lease again, or for longer"
    )]
    LeaseLost(ConsumerName),
    /// The server answered what this release does not know.
    #[error(
        "the database answers a lease with `{0}`, which this release does not know: upgrade it"
    )]
    UnknownOutcome(String),
    /// The database said no.
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
