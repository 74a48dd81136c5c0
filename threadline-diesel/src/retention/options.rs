//! How a purge goes about it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The most rows one step may remove.
pub const MAX_BATCH_SIZE: u32 = 100_000;

/// How many rows a step removes at most. It removes fewer where that takes longer than 50 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize(u32);

impl BatchSize {
    /// A size from 1 to [`MAX_BATCH_SIZE`].
    ///
    /// # Errors
    /// [`InvalidBatchSize`] outside of that.
    pub fn new(rows: u32) -> Result<Self, InvalidBatchSize> {
        if (1..=MAX_BATCH_SIZE).contains(&rows) {
            Ok(Self(rows))
        } else {
            Err(InvalidBatchSize(rows))
        }
    }

    /// The rows of a batch that is to have at most so many.
    pub(crate) fn rows_up_to(self, most: u32) -> i32 {
        i32::try_from(self.0.min(most)).unwrap_or(i32::MAX)
    }
}

impl Default for BatchSize {
    /// 10,000 rows.
    fn default() -> Self {
        Self(10_000)
    }
}

/// A size a batch cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch has 1 to {MAX_BATCH_SIZE} rows, not {0}")]
pub struct InvalidBatchSize(pub u32);

/// What becomes of changes that consumers of the feed have not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FeedConsumers {
    /// A purge that would remove such changes is refused.
    #[default]
    Block,
    /// They are removed like all others.
    Ignore,
}

/// Asks a purge to stop after the step it is in. Clones ask the same purge.
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// A signal nobody has given yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was given.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a purge goes about it. The defaults disturb nobody.
///
/// ```
/// use std::time::Duration;
/// use threadline_diesel::retention::{BatchSize, PurgeOptions};
///
/// let options = PurgeOptions::new()
///     .batch_size(BatchSize::new(2_000)?)
///     .pause(Duration::from_millis(200));
/// # let _ = options;
/// # Ok::<(), threadline_diesel::retention::InvalidBatchSize>(())
/// ```
#[derive(Debug, Clone)]
pub struct PurgeOptions {
    pub(crate) batch_size: BatchSize,
    pub(crate) pause: Duration,
    pub(crate) max_batches: Option<NonZeroU64>,
    pub(crate) lease: Duration,
    pub(crate) lock_wait: Duration,
    pub(crate) lock_attempts: i32,
    pub(crate) feed_consumers: FeedConsumers,
    pub(crate) months_ahead: u8,
    pub(crate) stop: StopSignal,
}

impl Default for PurgeOptions {
    fn default() -> Self {
        Self {
            batch_size: BatchSize::default(),
            pause: Duration::from_millis(50),
            max_batches: None,
            lease: Duration::from_secs(60),
            lock_wait: Duration::from_millis(50),
            lock_attempts: 20,
            feed_consumers: FeedConsumers::default(),
            months_ahead: 3,
            stop: StopSignal::default(),
        }
    }
}

impl PurgeOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many rows a step removes at most; 10,000 by default.
    #[must_use]
    pub const fn batch_size(mut self, rows: BatchSize) -> Self {
        self.batch_size = rows;
        self
    }

    /// How long it rests after each step; 50 ms by default.
    #[must_use]
    pub const fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Stops after so many steps. The next purge goes on.
    #[must_use]
    pub const fn max_batches(mut self, batches: NonZeroU64) -> Self {
        self.max_batches = Some(batches);
        self
    }

    /// For how long nobody else purges if this one dies; a minute by default. Every step renews it,
    /// and pauses come on top.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long it waits for a table's lock before it lets others pass; 50 ms by default. It is also
    /// the longest that a writer waits for a partition to be dropped. At least 1 ms.
    #[must_use]
    pub fn lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait.max(Duration::from_millis(1));
        self
    }

    /// How often it asks for the lock before a partition is left to the next purge; 20 by default.
    #[must_use]
    pub fn lock_attempts(mut self, attempts: u16) -> Self {
        self.lock_attempts = i32::from(attempts.max(1));
        self
    }

    /// What becomes of changes that consumers of the feed have not acknowledged.
    #[must_use]
    pub const fn feed_consumers(mut self, consumers: FeedConsumers) -> Self {
        self.feed_consumers = consumers;
        self
    }

    /// How many months' partitions are made ahead; 3 by default.
    #[must_use]
    pub const fn months_ahead(mut self, months: u8) -> Self {
        self.months_ahead = months;
        self
    }

    /// Stops after the step it is in when the signal is given. The next purge goes on.
    #[must_use]
    pub fn stop_signal(mut self, signal: StopSignal) -> Self {
        self.stop = signal;
        self
    }

    /// Whether it is to stop after so many steps.
    pub(crate) fn limit_reached(&self, steps: u64) -> bool {
        self.stop.is_given() || self.max_batches.is_some_and(|most| steps >= most.get())
    }

    /// How long it rests after somebody else had the lock: long enough for whoever waited behind.
    pub(crate) fn rest_after_lock(&self) -> Duration {
        self.pause.max(self.lock_wait * 4)
    }
}
