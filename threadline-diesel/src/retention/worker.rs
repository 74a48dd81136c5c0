//! A task that purges now and then, for hosts that want it in their own process.

use std::sync::Arc;
use std::time::Duration;

use diesel::pg::Pg;
use diesel_async::AsyncConnection;
use threadline_core::retention::RetentionPolicy;
use threadline_core::telemetry;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{PurgeOptions, StopSignal, maintain_partitions, purge};

/// Purges now and then, in a tokio task. Many instances of a host may run one: a lease in the
/// database lets one of them purge at a time. It takes a connection only while it works, and holds
/// nothing in a session, so it may be behind PgBouncer in transaction mode.
///
/// With a policy that is not enabled it only keeps the partitions in order.
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
    /// A worker for a policy, with a way to get a connection, for instance from a pool.
    pub fn new(policy: RetentionPolicy, connect: Connect) -> Self {
        Self {
            policy,
            connect,
            options: PurgeOptions::default(),
            interval: Duration::from_secs(60 * 60),
            jitter: Duration::from_secs(5 * 60),
        }
    }

    /// How long it waits between one purge and the next; an hour by default.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Up to how much longer it waits, at random, also before the first: so that many instances do
    /// not ask at the same moment. Five minutes by default.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// How it goes about a purge. A stop signal among the options is replaced by the worker's own.
    #[must_use]
    pub fn options(mut self, options: PurgeOptions) -> Self {
        self.options = options;
        self
    }

    /// Starts it, on the tokio runtime this is called in.
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
            // Whether it is woken or has waited long enough is all the same.
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

/// What goes wrong is told by events and by the run's record; the next purge tries again.
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

/// A worker that is running. Dropped, it runs on.
#[derive(Debug)]
pub struct RunningWorker {
    stop: StopSignal,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl RunningWorker {
    /// Lets it purge now instead of when its interval is over.
    pub fn purge_now(&self) {
        self.wake.notify_one();
    }

    /// Lets it finish the step it is in, and waits until it has ended.
    pub async fn stop(self) {
        self.stop.stop();
        self.wake.notify_one();
        // It ends in no other way but by a panic of the host's own connection function.
        let _ = self.task.await;
    }
}

/// A random part of a duration, from the random bits of an id.
fn random_part_of(whole: Duration) -> Duration {
    let [.., high, low] = *uuid::Uuid::now_v7().as_bytes();
    whole * u32::from(u16::from_be_bytes([high, low])) / (u32::from(u16::MAX) + 1)
}
