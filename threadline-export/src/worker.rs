//! The worker: claims jobs, holds their leases, and maintains jobs and schedules.
//!
//! Statements are sent in transactions, which `PgBouncer` in transaction mode needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline_core::telemetry;
use threadline_diesel::feed::LeaseTime;
use tokio::sync::watch;

use crate::connections::{Connection, ConnectionPool, PoolError};
use crate::jobs::{
    self, ClaimedJob, ErrorCode, ExportHandler, Job, JobError, JobFailure, JobHandler, JobKind,
    JobLease, JobOutcome, JobRun, JobState, ProgressCounters, Renewal, Retry, ScopeResolver,
    maintenance,
};
use crate::notify::{Notification, Notifier};
use crate::schedules;
use crate::storage::Storages;

/// How long a handler may take to stop.
const STOP_TIME: Duration = Duration::from_secs(10);

/// How long a notification may take.
const NOTIFICATION_TIME: Duration = Duration::from_secs(30);

/// The longest pause between two renewals of a lease, each of which asks whether the job must stop.
const MAX_RENEWAL_INTERVAL: Duration = Duration::from_secs(5);

/// The pause between two rounds of maintenance.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(60);

/// Runs jobs, one at a time, and maintains jobs and schedules. Several workers can run at once, also on
/// several machines.
///
/// The role of its connections needs `SELECT` on the trail, and `SELECT`, `INSERT`, `UPDATE` and `DELETE` on
/// `audit_jobs` and `audit_schedules`.
///
/// ```no_run
/// # async fn example(
/// #     pool: impl threadline_export::connections::ConnectionPool,
/// #     shutdown: impl Future<Output = ()>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_export::Worker;
/// use threadline_export::storage::Storages;
///
/// let worker = Worker::builder(pool)
///     .storages(Storages::local("/var/lib/app/exports")?)
///     .build();
/// worker.run(shutdown).await;
/// # Ok(()) }
/// ```
pub struct Worker {
    pool: Arc<dyn ConnectionPool>,
    handlers: BTreeMap<JobKind, Arc<dyn JobHandler>>,
    notifier: Option<Arc<dyn Notifier>>,
    lease_time: LeaseTime,
    poll_interval: Duration,
}

/// Builds a [`Worker`].
pub struct WorkerBuilder {
    pool: Arc<dyn ConnectionPool>,
    storages: Storages,
    resolver: Option<Arc<dyn ScopeResolver>>,
    handlers: BTreeMap<JobKind, Arc<dyn JobHandler>>,
    notifier: Option<Arc<dyn Notifier>>,
    lease_time: LeaseTime,
    poll_interval: Duration,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("kinds", &self.handlers.keys())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("storages", &self.storages)
            .finish_non_exhaustive()
    }
}

impl WorkerBuilder {
    /// Sets the storages of exports. Without storages, the worker runs no exports.
    #[must_use]
    pub fn storages(mut self, storages: Storages) -> Self {
        self.storages = storages;
        self
    }

    /// Sets what resolves the scopes of exports. Without it, exports with a scope fail.
    #[must_use]
    pub fn scope_resolver(mut self, resolver: impl ScopeResolver) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Adds the handler of a kind of jobs.
    #[must_use]
    pub fn handler(mut self, handler: impl JobHandler) -> Self {
        self.handlers.insert(handler.kind(), Arc::new(handler));
        self
    }

    /// Sets what is told when an export ends and when a check does not pass. Each notification is sent once; an
    /// error is logged.
    #[must_use]
    pub fn notifier(mut self, notifier: impl Notifier) -> Self {
        self.notifier = Some(Arc::new(notifier));
        self
    }

    /// Sets the time of leases: how long a job waits after its worker was killed. One minute unless set.
    #[must_use]
    pub fn lease_time(mut self, time: LeaseTime) -> Self {
        self.lease_time = time;
        self
    }

    /// Sets the pause after a search that found no job. Two seconds unless set.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Builds the worker.
    #[must_use]
    pub fn build(mut self) -> Worker {
        if !self.storages.is_empty() {
            let exports = ExportHandler::new(self.storages, self.resolver);
            self.handlers.insert(JobKind::Export, Arc::new(exports));
        }
        Worker {
            pool: self.pool,
            handlers: self.handlers,
            notifier: self.notifier,
            lease_time: self.lease_time,
            poll_interval: self.poll_interval,
        }
    }
}

/// The error of a worker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The pool has no connection.
    #[error("cannot take a connection")]
    Pool(#[source] PoolError),
    /// A function on jobs failed.
    #[error(transparent)]
    Job(#[from] JobError),
}

impl From<diesel::result::Error> for WorkerError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Job(error.into())
    }
}

/// How an attempt ended.
enum Ended {
    Done(Box<Result<JobOutcome, JobFailure>>),
    /// By request of a person.
    Cancelled,
    /// The lease is lost.
    Lost,
    /// The worker shuts down.
    Shutdown,
}

impl Worker {
    /// Builds a worker that takes connections from a pool.
    #[must_use]
    pub fn builder(pool: impl ConnectionPool) -> WorkerBuilder {
        WorkerBuilder {
            pool: Arc::new(pool),
            storages: Storages::new(),
            resolver: None,
            handlers: BTreeMap::new(),
            notifier: None,
            lease_time: LeaseTime::default(),
            poll_interval: Duration::from_secs(2),
        }
    }

    /// Runs until `shutdown` completes. A job that runs then is stopped and queued again.
    ///
    /// Errors of the database are logged, and the worker continues after a pause.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let work = async {
            let mut maintained: Option<Instant> = None;
            loop {
                if maintained.is_none_or(|at| at.elapsed() >= MAINTENANCE_INTERVAL) {
                    maintained = Some(Instant::now());
                    if let Err(error) = self.maintain().await {
                        log(&error);
                    }
                }
                let worked = match self.work_once(&stopped).await {
                    Ok(worked) => worked,
                    Err(error) => {
                        log(&error);
                        false
                    }
                };
                if *stopped.borrow() {
                    return;
                }
                if !worked {
                    let mut stopped = stopped.clone();
                    tokio::select! {
                        () = tokio::time::sleep(self.poll_interval) => {}
                        _ = stopped.wait_for(|stop| *stop) => return,
                    }
                }
            }
        };
        let on_shutdown = async {
            shutdown.await;
            // The receiver lives as long as the work.
            let _: Result<(), _> = stop.send(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = work => {}
            () = on_shutdown => {}
        }
    }

    /// Enqueues due schedules, maintains the jobs, and runs all jobs that can run now; returns their number.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn run_pending(&self) -> Result<u64, WorkerError> {
        self.maintain().await?;
        let (_stop, stopped) = watch::channel(false);
        let mut count = 0;
        while self.work_once(&stopped).await? {
            count += 1;
        }
        Ok(count)
    }

    /// Enqueues due schedules and runs one job; returns whether there was one.
    async fn work_once(&self, stopped: &watch::Receiver<bool>) -> Result<bool, WorkerError> {
        let mut conn = self.connection().await?;
        let kinds: Vec<_> = self.handlers.keys().copied().collect();
        schedules::enqueue_due(&mut conn, &kinds).await?;
        let claimed = conn
            .transaction::<_, JobError, _>(async |conn| {
                jobs::claim(conn, &kinds, self.lease_time).await
            })
            .await?;
        drop(conn);
        let Some(claimed) = claimed else {
            return Ok(false);
        };
        self.run_job(claimed, stopped).await?;
        Ok(true)
    }

    async fn run_job(
        &self,
        ClaimedJob { job, lease }: ClaimedJob,
        stopped: &watch::Receiver<bool>,
    ) -> Result<(), WorkerError> {
        let started = Instant::now();
        telemetry::job_started(job.kind.as_str(), job.attempt);
        let Some(handler) = self.handlers.get(&job.kind) else {
            return Ok(());
        };
        let ended = self
            .run_attempt(handler.as_ref(), &job, &lease, stopped)
            .await;
        let mut conn = self.connection().await?;
        let failure = match ended {
            Ended::Lost => {
                telemetry::job_failed(job.kind.as_str(), "lease_lost", "worker");
                return Ok(());
            }
            Ended::Shutdown => {
                conn.transaction::<_, JobError, _>(async |conn| {
                    maintenance::release(conn, &lease).await
                })
                .await?;
                return Ok(());
            }
            Ended::Cancelled => {
                JobFailure::new(ErrorCode::new("cancelled"), "worker", Retry::Never)
            }
            Ended::Done(outcome) => match *outcome {
                Err(failure) => failure,
                Ok(outcome) => match complete(&mut conn, &lease, &outcome).await {
                    Ok(None) => {
                        telemetry::job_done(job.kind.as_str(), started.elapsed());
                        if let Some(Notification::ExportReady { rows, bytes, .. }) =
                            &outcome.notification
                        {
                            telemetry::job_exported(*rows, *bytes);
                        }
                        self.notify(outcome.notification.as_ref()).await;
                        return Ok(());
                    }
                    Ok(Some(failure)) => failure,
                    Err(JobError::LeaseLost(_)) => {
                        telemetry::job_failed(job.kind.as_str(), "lease_lost", "worker");
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                },
            },
        };
        telemetry::job_failed(job.kind.as_str(), failure.code.as_str(), failure.place);
        let failed = conn
            .transaction::<_, JobError, _>(async |conn| jobs::fail(conn, &lease, &failure).await);
        match failed.await {
            Ok(()) => {
                self.notify(failure_notification(&job, &failure).as_ref())
                    .await;
            }
            Err(JobError::LeaseLost(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn notify(&self, notification: Option<&Notification>) {
        if let (Some(notifier), Some(notification)) = (&self.notifier, notification) {
            let sent = tokio::time::timeout(NOTIFICATION_TIME, notifier.notify(notification)).await;
            if !matches!(sent, Ok(Ok(()))) {
                telemetry::worker_failed("notification");
            }
        }
    }

    /// Runs the handler and renews the lease.
    async fn run_attempt(
        &self,
        handler: &dyn JobHandler,
        job: &Job,
        lease: &JobLease,
        shutdown: &watch::Receiver<bool>,
    ) -> Ended {
        let (stop, stopped) = watch::channel(false);
        let progress = Arc::new(ProgressCounters::default());
        let run = JobRun::new(self.pool.clone(), progress.clone(), stopped);
        let mut shutdown = shutdown.clone();
        let mut work = handler.run(job, &run);
        let ended = tokio::select! {
            outcome = &mut work => return Ended::Done(Box::new(outcome)),
            ended = self.hold_lease(lease, &progress) => ended,
            _ = shutdown.wait_for(|stop| *stop) => Ended::Shutdown,
        };
        // The receiver is in `run`.
        let _: Result<(), _> = stop.send(true);
        match tokio::time::timeout(STOP_TIME, work).await {
            // It ended at the same time.
            Ok(Ok(outcome)) if !matches!(ended, Ended::Lost) => Ended::Done(Box::new(Ok(outcome))),
            _ => ended,
        }
    }

    /// Renews the lease at every third of its time or more often, until the job must stop.
    async fn hold_lease(&self, lease: &JobLease, progress: &ProgressCounters) -> Ended {
        let mut renewed = Instant::now();
        let interval = (lease.time().duration() / 3).min(MAX_RENEWAL_INTERVAL);
        loop {
            tokio::time::sleep(interval).await;
            let renewal = tokio::time::timeout(interval, self.renew(lease, progress)).await;
            match renewal {
                Ok(Ok(Renewal::Go)) => renewed = Instant::now(),
                Ok(Ok(Renewal::Cancel)) => return Ended::Cancelled,
                Ok(Ok(Renewal::Lost)) => return Ended::Lost,
                // The database may answer before the lease expires.
                _ if renewed.elapsed() < lease.time().duration() => {}
                _ => return Ended::Lost,
            }
        }
    }

    async fn renew(
        &self,
        lease: &JobLease,
        progress: &ProgressCounters,
    ) -> Result<Renewal, WorkerError> {
        let mut conn = self.connection().await?;
        let progress = progress.read();
        Ok(conn
            .transaction::<_, JobError, _>(async |conn| {
                jobs::renew(conn, lease, Some(&progress)).await
            })
            .await?)
    }

    async fn maintain(&self) -> Result<(), WorkerError> {
        let mut conn = self.connection().await?;
        // Told before the other work, whose failure would lose the notifications.
        for job in maintenance::end_lost(&mut conn).await? {
            let code = match job.state {
                JobState::Cancelled => ErrorCode::new("cancelled"),
                _ => ErrorCode::new("lease_expired"),
            };
            let failure = JobFailure::new(code, "worker", Retry::Never);
            telemetry::job_failed(job.kind.as_str(), failure.code.as_str(), failure.place);
            self.notify(failure_notification(&job, &failure).as_ref())
                .await;
        }
        maintenance::run(&mut conn, &self.handlers).await?;
        for handler in self.handlers.values() {
            if let Err(failure) = handler.enqueue_due(&mut conn).await {
                let kind = handler.kind().as_str();
                telemetry::job_failed(kind, failure.code.as_str(), failure.place);
            }
        }
        Ok(())
    }

    async fn connection(&self) -> Result<Connection, WorkerError> {
        self.pool.connection().await.map_err(WorkerError::Pool)
    }
}

/// Completes a job, and moves the position of its schedule in the same transaction. Returns a failure if
/// another job moved the position.
async fn complete(
    conn: &mut AsyncPgConnection,
    lease: &JobLease,
    outcome: &JobOutcome,
) -> Result<Option<JobFailure>, JobError> {
    conn.transaction::<_, JobError, _>(async |conn| {
        if let Some(position) = &outcome.position
            && !position.store(conn).await?
        {
            let code = ErrorCode::new("position_moved");
            return Ok(Some(JobFailure::new(code, "schedule", Retry::Later)));
        }
        jobs::finish(conn, lease, &outcome.result, outcome.keep).await?;
        Ok(None)
    })
    .await
}

/// The notification of a failed export that is not attempted again.
fn failure_notification(job: &Job, failure: &JobFailure) -> Option<Notification> {
    let is_last = failure.retry == Retry::Never || job.attempt >= job.max_attempts;
    let is_cancelled = failure.code.as_str() == "cancelled";
    (job.kind == JobKind::Export && is_last && !is_cancelled).then(|| Notification::ExportFailed {
        job_id: job.id,
        error_code: failure.code.as_str().to_owned(),
    })
}

fn log(error: &WorkerError) {
    let code = match error {
        WorkerError::Job(JobError::Database(error)) => ErrorCode::of_database(error),
        WorkerError::Job(_) => ErrorCode::new("job"),
        WorkerError::Pool(_) => ErrorCode::new("no_connection"),
    };
    telemetry::worker_failed(code.as_str());
}
