//! Maintenance of jobs: expiry, deletion of objects and of old jobs.
//!
//! Statements are sent in transactions, which `PgBouncer` in transaction mode needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_core::telemetry;

use super::error::JobError;
use super::handler::JobHandler;
use super::job::{Job, JobKind};
use super::lease::JobLease;
use super::statements::{self, JobRow, into_jobs};

/// Ends the jobs whose last attempt was lost, and returns them. Kinds of a newer release are left to its workers.
pub(crate) async fn end_lost(conn: &mut AsyncPgConnection) -> Result<Vec<Job>, JobError> {
    conn.transaction::<_, JobError, _>(async |conn| {
        let rows: Vec<JobRow> = statements::end_lost(&JobKind::ALL).load(conn).await?;
        Ok(into_jobs(rows)?)
    })
    .await
}

/// Expires jobs, deletes the objects of ended jobs, and deletes old jobs.
///
/// A job is marked as expired first and its objects are deleted afterwards, so that a job whose objects are
/// deleted is never shown as completed. A killed worker leaves work that the next round finds.
pub(crate) async fn run(
    conn: &mut AsyncPgConnection,
    handlers: &BTreeMap<JobKind, Arc<dyn JobHandler>>,
) -> Result<(), JobError> {
    let expired = conn
        .transaction::<_, JobError, _>(async |conn| Ok(statements::expire().execute(conn).await?))
        .await?;
    if expired > 0 {
        telemetry::jobs_expired(expired);
    }
    let kinds: Vec<_> = handlers.keys().copied().collect();
    let jobs = conn
        .transaction::<_, JobError, _>(async |conn| {
            let rows: Vec<JobRow> = statements::with_objects_to_delete(&kinds)
                .load(conn)
                .await?;
            Ok(into_jobs(rows)?)
        })
        .await?;
    for job in jobs {
        delete_objects(conn, handlers, &job).await?;
    }
    conn.transaction::<_, JobError, _>(async |conn| {
        statements::delete_old().execute(conn).await?;
        Ok(())
    })
    .await
}

async fn delete_objects(
    conn: &mut AsyncPgConnection,
    handlers: &BTreeMap<JobKind, Arc<dyn JobHandler>>,
    job: &Job,
) -> Result<(), JobError> {
    let Some(handler) = handlers.get(&job.kind) else {
        return Ok(());
    };
    if let Err(failure) = handler.delete_objects(job).await {
        telemetry::job_failed(job.kind.as_str(), failure.code.as_str(), failure.place);
        return Ok(());
    }
    conn.transaction::<_, JobError, _>(async |conn| {
        statements::mark_objects_gone(job.id).execute(conn).await?;
        Ok(())
    })
    .await
}

/// Queues a job again whose worker shuts down.
pub(crate) async fn release(
    conn: &mut AsyncPgConnection,
    lease: &JobLease,
) -> Result<(), JobError> {
    statements::release(lease).execute(conn).await?;
    Ok(())
}
