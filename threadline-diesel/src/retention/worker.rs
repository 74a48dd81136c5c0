//! A task that purges periodically, for hosts that run it in their own process.

use std::sync::Arc;
use std::time::Duration;

use diesel::pg::Pg;
use diesel_async::AsyncConnection;
use threadline_core::retention::RetentionPolicy;
use threadline_core::telemetry;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{PurgeOptions, StopSignal, maintain_partitions, purge};

/// Purges periodically in a tokio task. Each instance of a host may run one: a lease in the database lets one of
/// them purge at a time. It takes a connection only while it purges, and has no session state, so it works
/// behind PgBouncer in transaction mode.
///
/// With a policy that is not enabled it only maintains the partitions.
///
/// ```no_run
/// # use threadline_core::retention::{Keep, RetentionPolicy};
/// use diesel_async::{AsyncConnection, AsyncPgConnection};
/// use threadline_diesel::retention::RetentionWorker;
///
/// # async fn host(policy: RetentionPolicy, url: String) {
/// let worker = RetentionWorker::new(policy, move || {
///     let url = url.clone();
///     async move { AsyncPgConnection::establish(&url).await }
/// })
/// .start();
/// // ... and when the host goes down:
/// worker.stop().await;
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RetentionWorker<Connect> {
    policy: RetentionPolicy,
    connect: Connect,
    options: PurgeOptions,
    interval: Duration,
    jitter: Duration,
}

impl<Connect, Connecting, C, E> RetentionWorker<Connect>
where
    Connect: FnMut() -> Connecting + Send + 'static,
    Connecting: Future<Output = Result<C, E>> + Send + 'static,
    C: AsyncConnection<Backend = Pg> + Send + 'static,
    E: Send + 'static,
{
    /// A worker for a policy, with a function that returns a connection, for instance from a pool.
    pub fn new(policy: RetentionPolicy, connect: Connect) -> Self {
        Self {
            policy,
            connect,
            options: PurgeOptions::default(),
            interval: Duration::from_secs(60 * 60),
            jitter: Duration::from_secs(5 * 60),
        }
    }

    /// Sets the pause between purges; an hour by default.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the maximum random delay that is added to each pause, and waited before the first purge, so that many
    /// instances do not start at the same time. Five minutes by default.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the options of a purge. The worker replaces their stop signal by its own.
    #[must_use]
    pub fn options(mut self, options: PurgeOptions) -> Self {
        self.options = options;
        self
    }

    /// Starts the worker on the current tokio runtime.
    pub fn start(mut self) -> RunningWorker {
        let stop = StopSignal::new();
        let wake = Arc::new(Notify::new());
        self.options = self.options.stop_signal(stop.clone());
        let task = tokio::spawn(self.work(stop.clone(), Arc::clone(&wake)));
        RunningWorker { stop, wake, task }
    }

    async fn work(mut self, stop: StopSignal, wake: Arc<Notify>) {
        let mut wait = random_part_of(self.jitter);
        loop {
            // A wake-up and a timeout are handled alike.
            let _ = tokio::time::timeout(wait, wake.notified()).await;
            if stop.is_given() {
                return;
            }
            match (self.connect)().await {
                Ok(mut conn) => purge_once(&mut conn, &self.policy, &self.options).await,
                Err(_) => telemetry::retention_failed("connection"),
            }
            wait = self.interval + random_part_of(self.jitter);
        }
    }
}

/// Errors are reported by events and by the record of the run; the next purge tries again.
async fn purge_once<C>(conn: &mut C, policy: &RetentionPolicy, options: &PurgeOptions)
where
    C: AsyncConnection<Backend = Pg>,
{
    if policy.is_enabled() {
        let _ = purge(conn, policy, options).await;
    } else if let Err(error) = maintain_partitions(conn, options).await {
        telemetry::retention_failed(error.kind());
    }
}

/// A running worker. It keeps running if this is dropped.
#[derive(Debug)]
pub struct RunningWorker {
    stop: StopSignal,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl RunningWorker {
    /// Makes the worker purge now instead of after its pause.
    pub fn purge_now(&self) {
        self.wake.notify_one();
    }

    /// Stops the worker after its current step, and waits until it has ended.
    pub async fn stop(self) {
        self.stop.stop();
        self.wake.notify_one();
        // The task fails only by a panic in the host's connection function.
        let _ = self.task.await;
    }
}

/// A random part of a duration, from the random bits of an id.
fn random_part_of(whole: Duration) -> Duration {
    let [.., high, low] = *uuid::Uuid::now_v7().as_bytes();
    whole * u32::from(u16::from_be_bytes([high, low])) / (u32::from(u16::MAX) + 1)
}
