//! The handler of check jobs.

use chrono::Utc;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;
use threadline_diesel::evidence::{
    Check, CheckOptions, CheckResult, CheckRun, DueState, EvidenceError, EvidencePlan, Outcome,
    due_checks, record_check_result, run_check,
};

use super::calls;
use super::error::JobError;
use super::handler::{JobHandler, JobOutcome, JobRun};
use super::job::{Job, JobKind};
use super::lease::{ErrorCode, JobFailure, Retry};
use super::new_job::NewJob;
use crate::notify::Notification;

impl NewJob {
    /// A job that runs a check and records its result, for a worker with [`CheckHandler`].
    ///
    /// ```
    /// use threadline_diesel::evidence::Check;
    /// use threadline_export::jobs::NewJob;
    ///
    /// let job = NewJob::check(Check::Coverage).actor("admin:rita".parse()?);
    /// # let _ = job;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn check(check: Check) -> Self {
        Self::new(JobKind::Check, json!({ "check": check.as_str() }))
    }
}

/// Runs checks of the audit system and records their results as evidence. Enqueues the checks of its plan when they
/// are due.
///
/// The request names the check: `{"check": "coverage"}`. Its options are those of the plan, and the actor of the
/// job. A job is completed also if the check fails or does not run to its end, which its evidence says. The worker's
/// role needs `EXECUTE` on `record_check`.
///
/// ```no_run
/// # fn example(pool: impl threadline_export::connections::ConnectionPool) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::{Check, CheckOptions, EvidencePlan, days};
/// use threadline_export::{Worker, jobs::CheckHandler};
///
/// let plan = EvidencePlan::new(CheckOptions::registered()?).every(Check::Coverage, days(1));
/// let worker = Worker::builder(pool).handler(CheckHandler::new(plan)).build();
/// # let _ = worker;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct CheckHandler {
    plan: EvidencePlan,
}

/// The request of a check job.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckRequest {
    check: String,
}

impl CheckHandler {
    /// A handler with the options of a plan.
    #[must_use]
    pub fn new(plan: EvidencePlan) -> Self {
        Self { plan }
    }

    async fn check(&self, job: &Job, run: &JobRun) -> Result<JobOutcome, JobFailure> {
        let invalid =
            || JobFailure::new(ErrorCode::new("invalid_request"), "request", Retry::Never);
        if job.scope_key.is_some() {
            return Err(invalid());
        }
        let request: CheckRequest =
            serde_json::from_value(job.request.clone()).map_err(|_| invalid())?;
        let check: Check = request.check.parse().map_err(|_| invalid())?;
        let mut options = self.plan.options(check);
        if let Some(actor) = &job.actor {
            options = options.actor(actor.clone());
        }
        let mut conn = run.connection().await?;
        match run_in_transaction(&mut conn, check, &options).await {
            Ok(ran) => {
                // The result `incomplete` is recorded, and another attempt may reach the end.
                if let Some(EvidenceError::Database(error)) = &ran.error {
                    return Err(JobFailure::of_database(error, "check"));
                }
                let outcome = JobOutcome::new(json!({
                    "check": check,
                    "outcome": ran.result.outcome(),
                    "order_id": ran.order_id,
                }));
                Ok(match ran.result.outcome() {
                    Outcome::Pass => outcome,
                    _ => outcome.notification(Notification::CheckFailed {
                        check: check.as_str().to_owned(),
                        order_id: ran.order_id,
                    }),
                })
            }
            Err(EvidenceError::NotRecorded { result, .. })
                if result.outcome() == Outcome::Incomplete =>
            {
                let mut other = run.connection().await?;
                record_in_transaction(&mut other, &result)
                    .await
                    .map_err(|error| failure(&error, "record"))?;
                Err(failure_code("connection_lost", "check"))
            }
            Err(error) => Err(failure(&error, "check")),
        }
    }

    /// Enqueues the due checks, each at most once in its interval.
    async fn enqueue_due_checks(&self, conn: &mut AsyncPgConnection) -> Result<(), JobFailure> {
        let due = conn
            .transaction::<_, EvidenceError, _>(async |conn| due_checks(conn, &self.plan).await)
            .await
            .map_err(|error| failure(&error, "plan"))?;
        for schedule in due {
            if schedule.state == DueState::Current {
                continue;
            }
            let interval = i64::try_from(schedule.interval_seconds).unwrap_or(i64::MAX);
            let number = Utc::now().timestamp() / interval.max(1);
            let key = format!("check-{}-{interval}-{number}", schedule.check);
            let Ok(key) = key.parse() else { continue };
            let job = NewJob::check(schedule.check).idempotency_key(key);
            match calls::enqueue(conn, &job).await {
                Ok(_) => {}
                Err(JobError::Database(error)) => {
                    return Err(JobFailure::of_database(&error, "plan"));
                }
                Err(_) => return Err(failure_code("not_enqueued", "plan")),
            }
        }
        Ok(())
    }
}

impl JobHandler for CheckHandler {
    fn kind(&self) -> JobKind {
        JobKind::Check
    }

    fn run<'a>(
        &'a self,
        job: &'a Job,
        run: &'a JobRun,
    ) -> BoxFuture<'a, Result<JobOutcome, JobFailure>> {
        Box::pin(self.check(job, run))
    }

    fn enqueue_due<'a>(
        &'a self,
        conn: &'a mut AsyncPgConnection,
    ) -> BoxFuture<'a, Result<(), JobFailure>> {
        Box::pin(self.enqueue_due_checks(conn))
    }
}

async fn run_in_transaction(
    conn: &mut AsyncPgConnection,
    check: Check,
    options: &CheckOptions,
) -> Result<CheckRun, EvidenceError> {
    conn.transaction(async |conn| run_check(conn, check, options).await)
        .await
}

pub(super) async fn record_in_transaction(
    conn: &mut AsyncPgConnection,
    result: &CheckResult,
) -> Result<i64, EvidenceError> {
    conn.transaction(async |conn| record_check_result(conn, result).await)
        .await
}

/// A failure that is tried again.
fn failure(error: &EvidenceError, place: &'static str) -> JobFailure {
    failure_code(error.kind(), place)
}

fn failure_code(code: &'static str, place: &'static str) -> JobFailure {
    JobFailure::new(ErrorCode::new(code), place, Retry::Later)
}
