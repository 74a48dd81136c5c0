//! What runs the jobs of a kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;
use serde_json::Value;
use threadline_core::actor::ActorRef;
use threadline_diesel::Scope;
use tokio::sync::watch;

use super::job::{Job, JobKind, JobProgress};
use super::lease::{ErrorCode, JobFailure, Retry};
use super::new_job::KeepDays;
use super::position::PositionChange;
use crate::connections::{Connection, ConnectionPool, PoolError};
use crate::notify::Notification;

/// Runs the jobs of a kind. [`Worker`](crate::Worker) claims them and holds their leases.
pub trait JobHandler: Send + Sync + 'static {
    /// The kind of the jobs.
    fn kind(&self) -> JobKind;

    /// Runs an attempt of a job. The worker drops the future if it does not end soon after
    /// [`JobRun::stopped`].
    fn run<'a>(
        &'a self,
        job: &'a Job,
        run: &'a JobRun,
    ) -> BoxFuture<'a, Result<JobOutcome, JobFailure>>;

    /// Enqueues jobs that are due by a plan of the handler. The worker calls it about once a minute.
    fn enqueue_due<'a>(
        &'a self,
        _conn: &'a mut AsyncPgConnection,
    ) -> BoxFuture<'a, Result<(), JobFailure>> {
        Box::pin(async { Ok(()) })
    }

    /// Deletes the stored objects of a job that ended. Must succeed if they are already deleted.
    fn delete_objects<'a>(&'a self, _job: &'a Job) -> BoxFuture<'a, Result<(), JobFailure>> {
        Box::pin(async { Ok(()) })
    }
}

/// Resolves the scope of an actor when a job runs, so that a job never reads more than its actor may see then.
pub trait ScopeResolver: Send + Sync + 'static {
    /// The scope with this key, which the request for the job had. An error fails the job.
    fn resolve<'a>(
        &'a self,
        actor: Option<&'a ActorRef>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Scope, PoolError>>;
}

impl ScopeResolver for Arc<dyn ScopeResolver> {
    fn resolve<'a>(
        &'a self,
        actor: Option<&'a ActorRef>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Scope, PoolError>> {
        self.as_ref().resolve(actor, key)
    }
}

/// The result of a successful attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct JobOutcome {
    pub(crate) result: Value,
    pub(crate) keep: Option<KeepDays>,
    pub(crate) position: Option<PositionChange>,
    pub(crate) notification: Option<Notification>,
}

impl JobOutcome {
    /// A result: a JSON object without row values.
    ///
    /// ```
    /// use serde_json::json;
    /// use threadline_export::jobs::JobOutcome;
    ///
    /// let outcome = JobOutcome::new(json!({ "outcome": "pass" }));
    /// # let _ = outcome;
    /// ```
    #[must_use]
    pub fn new(result: Value) -> Self {
        Self {
            result,
            keep: None,
            position: None,
            notification: None,
        }
    }

    /// How long the stored objects are kept.
    #[must_use]
    pub fn keep(mut self, keep: KeepDays) -> Self {
        self.keep = Some(keep);
        self
    }

    /// The notification that the worker sends when the job is completed.
    #[must_use]
    pub fn notification(mut self, notification: Notification) -> Self {
        self.notification = Some(notification);
        self
    }

    pub(crate) fn position(mut self, position: Option<PositionChange>) -> Self {
        self.position = position;
        self
    }
}

/// The attempt that a handler runs.
pub struct JobRun {
    pool: Arc<dyn ConnectionPool>,
    progress: Arc<ProgressCounters>,
    stop: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
pub(crate) struct ProgressCounters {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl ProgressCounters {
    pub(crate) fn read(&self) -> JobProgress {
        JobProgress {
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

impl JobRun {
    pub(crate) fn new(
        pool: Arc<dyn ConnectionPool>,
        progress: Arc<ProgressCounters>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            pool,
            progress,
            stop,
        }
    }

    /// Takes a connection of the worker's pool.
    ///
    /// # Errors
    /// A [`JobFailure`] that is tried again, with the code `no_connection`.
    pub async fn connection(&self) -> Result<Connection, JobFailure> {
        self.pool.connection().await.map_err(|error| {
            tracing::debug!(target: "threadline", error, "cannot take a connection");
            JobFailure::new(ErrorCode::new("no_connection"), "connect", Retry::Later)
        })
    }

    /// Reports the progress; the worker stores it when it renews the lease.
    pub fn report(&self, progress: JobProgress) {
        self.progress.rows.store(progress.rows, Ordering::Relaxed);
        self.progress.bytes.store(progress.bytes, Ordering::Relaxed);
    }

    /// Waits until the attempt must stop: the job was asked to stop, the lease is lost, or the worker shuts
    /// down.
    pub async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // The sender lives as long as the attempt.
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl std::fmt::Debug for JobRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobRun")
            .field("progress", &self.progress.read())
            .finish_non_exhaustive()
    }
}
