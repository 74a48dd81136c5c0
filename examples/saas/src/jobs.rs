//! Background jobs.
//!
//! The queue stores the arguments of a job as JSON, as a table or a broker would. They include the audit
//! context.

use chrono::Utc;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use threadline::plug::JobContext;
use threadline::{AuditedWrite, ContextId, action, audited};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::database::Pool;
use crate::error::AppError;
use crate::invoices::lock_open;
use crate::schema::invoices;

/// The maximum number of queued jobs.
const CAPACITY: usize = 100;

/// Reminds a customer of an open invoice.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemindCustomer {
    pub(crate) organization_id: i64,
    pub(crate) invoice_id: i64,
    pub(crate) audit: JobContext,
}

/// The job queue, in memory.
#[derive(Debug, Clone)]
pub(crate) struct Queue(mpsc::Sender<String>);

impl Queue {
    /// Creates the queue and its worker. The worker ends when the last handle to the queue is dropped.
    pub(crate) fn start(pool: Pool) -> Self {
        let (sender, jobs) = mpsc::channel(CAPACITY);
        tokio::spawn(work(pool, jobs));
        Self(sender)
    }

    pub(crate) async fn push(&self, job: &RemindCustomer) -> Result<(), AppError> {
        let arguments = serde_json::to_string(job).map_err(|error| AppError::Job(error.into()))?;
        self.0
            .send(arguments)
            .await
            .map_err(|error| AppError::Job(error.into()))
    }
}

async fn work(pool: Pool, mut jobs: mpsc::Receiver<String>) {
    while let Some(arguments) = jobs.recv().await {
        if let Err(error) = run(&pool, &arguments).await {
            tracing::error!(error = &error as &dyn std::error::Error, "job failed");
        }
    }
}

async fn run(pool: &Pool, arguments: &str) -> Result<(), AppError> {
    let job: RemindCustomer =
        serde_json::from_str(arguments).map_err(|error| AppError::Job(error.into()))?;
    let job_id = ContextId::new(format!("remind-{}", Uuid::new_v4()))?;
    let context = job.audit.into_context(job_id).source("worker");
    let write = AuditedWrite::new(context)
        .action(action!("invoice.remind").meta("invoice_id", job.invoice_id))
        .record_failures();
    let mut conn = pool.get().await?;
    audited(&mut conn, &write, async |conn| {
        lock_open(conn, job.organization_id, job.invoice_id).await?;
        // A real application sends the mail here.
        diesel::update(invoices::table.find(job.invoice_id))
            .set(invoices::reminded_on.eq(Utc::now().date_naive()))
            .execute(conn)
            .await
            .map_err(AppError::from)
    })
    .await?;
    Ok(())
}
