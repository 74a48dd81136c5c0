//! Options of a purge.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// The maximum number of rows that a step removes.
pub const MAX_BATCH_SIZE: u32 = 100_000;

/// The maximum number of rows that a step removes. A step that would take longer than 50 ms removes fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize(u32);

impl BatchSize {
    /// A size from 1 to [`MAX_BATCH_SIZE`].
    ///
    /// # Errors
    /// [`InvalidBatchSize`] for other sizes.
    pub fn new(rows: u32) -> Result<Self, InvalidBatchSize> {
        if (1..=MAX_BATCH_SIZE).contains(&rows) {
            Ok(Self(rows))
        } else {
            Err(InvalidBatchSize(rows))
        }
    }

    /// The number of rows, limited by another maximum.
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

/// A batch size out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch has 1 to {MAX_BATCH_SIZE} rows, not {0}")]
pub struct InvalidBatchSize(pub u32);

/// Whether changes are removed that consumers of the feed have not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FeedConsumers {
    /// A purge that would remove such changes is rejected.
    #[default]
    Block,
    /// Such changes are removed like others.
    Ignore,
}

/// Signals a purge to stop after its current step. Clones signal the same purge.
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// A signal that is not given yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the signal was given.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Options of a purge. The defaults limit its load on the server.
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
    pub(crate) archived_to: Option<DateTime<Utc>>,
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
            archived_to: None,
            months_ahead: 3,
            stop: StopSignal::default(),
        }
    }
}

impl PurgeOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the maximum number of rows that a step removes; 10,000 by default.
    #[must_use]
    pub const fn batch_size(mut self, rows: BatchSize) -> Self {
        self.batch_size = rows;
        self
    }

    /// Sets the pause after each step; 50 ms by default.
    #[must_use]
    pub const fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Stops after this number of steps. The next purge continues.
    #[must_use]
    pub const fn max_batches(mut self, batches: NonZeroU64) -> Self {
        self.max_batches = Some(batches);
        self
    }

    /// Sets how long other purges wait if this process dies; a minute by default. Each step renews the lease,
    /// and pauses are added to it.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets the `lock_timeout` for dropping a partition; 50 ms by default, at least 1 ms. Writers wait no longer than
    /// this for the drop.
    #[must_use]
    pub fn lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait.max(Duration::from_millis(1));
        self
    }

    /// Sets how often the lock is requested before the partition is left to the next purge; 20 by default.
    #[must_use]
    pub fn lock_attempts(mut self, attempts: u16) -> Self {
        self.lock_attempts = i32::from(attempts.max(1));
        self
    }

    /// Whether changes are removed that consumers of the feed have not acknowledged.
    #[must_use]
    pub const fn feed_consumers(mut self, consumers: FeedConsumers) -> Self {
        self.feed_consumers = consumers;
        self
    }

    /// Removes only records that are older than this instant, to which all records are archived. By default also
    /// records that are not archived are removed.
    #[must_use]
    pub const fn archived_to(mut self, instant: DateTime<Utc>) -> Self {
        self.archived_to = Some(instant);
        self
    }

    /// Sets for how many months ahead partitions are created; 3 by default.
    #[must_use]
    pub const fn months_ahead(mut self, months: u8) -> Self {
        self.months_ahead = months;
        self
    }

    /// Stops after the current step when the signal is given. The next purge continues.
    #[must_use]
    pub fn stop_signal(mut self, signal: StopSignal) -> Self {
        self.stop = signal;
        self
    }

    /// Whether the limit of steps is reached.
    pub(crate) fn limit_reached(&self, steps: u64) -> bool {
        self.stop.is_given() || self.max_batches.is_some_and(|most| steps >= most.get())
    }

    /// The pause after a failed lock request: long enough for the transactions that were queued behind it.
    pub(crate) fn rest_after_lock(&self) -> Duration {
        self.pause.max(self.lock_wait * 4)
    }
}
