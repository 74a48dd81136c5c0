//! Work that is done after the request was answered.
//!
//! The queue holds text, as a table or a broker would: what a job has to know travels in its
//! arguments, the audit context included.

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

/// How many jobs may wait.
const CAPACITY: usize = 100;

/// Reminds a customer of an open invoice.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemindCustomer {
    pub(crate) organization_id: i64,
    pub(crate) invoice_id: i64,
    pub(crate) audit: JobContext,
}

/// Where jobs wait for their turn.
#[derive(Debug, Clone)]
pub(crate) struct Queue(mpsc::Sender<String>);

impl Queue {
    /// An empty queue and its worker, which ends when the last handle to the queue is gone.
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
        // Here the mail would go out.
        diesel::update(invoices::table.find(job.invoice_id))
            .set(invoices::reminded_on.eq(Utc::now().date_naive()))
            .execute(conn)
            .await
            .map_err(AppError::from)
    })
    .await?;
    Ok(())
}
