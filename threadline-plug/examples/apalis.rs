//! Job context with the job queue apalis. The context of the request is among the job's arguments, and
//! the id of the task becomes the job id.
//!
//! The queue is in memory. apalis-postgres, apalis-redis and other backends take the same arguments and
//! the same handler; they store the arguments as JSON, from which `JobContext` is deserialized.
//!
//! `cargo run -p threadline-plug --example apalis`

use std::sync::{Arc, Mutex, PoisonError};

use apalis_core::backend::TaskSink;
use apalis_core::backend::memory::MemoryStorage;
use apalis_core::task::data::Data;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::context::WorkerContext;
use serde::{Deserialize, Serialize};
use threadline_core::actor::ActorRef;
use threadline_core::context::{AuditContext, ContextId};
use threadline_plug::JobContext;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The arguments of a job, as the queue stores them.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SendReminder {
    invoice: i64,
    #[serde(default)]
    audit: JobContext,
}

/// The contexts of the jobs that have run.
type Seen = Arc<Mutex<Vec<AuditContext>>>;

/// Enqueues a job in a request.
async fn enqueue_reminder(
    queue: &mut MemoryStorage<SendReminder>,
    request: &AuditContext,
    invoice: i64,
) -> Result<(), Error> {
    let job = SendReminder {
        invoice,
        audit: JobContext::from(request),
    };
    queue.push(job).await?;
    Ok(())
}

/// Runs a job in a worker, with the context of the request and the id of the job.
async fn send_reminder(
    job: SendReminder,
    id: TaskId,
    seen: Data<Seen>,
    worker: WorkerContext,
) -> Result<(), Error> {
    let context = job
        .audit
        .into_context(ContextId::new(id.to_string())?)
        .source("worker")
        .meta("invoice", job.invoice);
    // An application passes the context to its audited write:
    // audited(conn, &AuditedWrite::new(context), async |conn| { ... }).await?;
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(context);
    // Stop after one job.
    worker.stop()?;
    Ok(())
}

async fn run() -> Result<Vec<AuditContext>, Error> {
    let mut queue = MemoryStorage::new();
    let request = AuditContext::new(ActorRef::user("42")?)
        .request_id("req-7".parse()?)
        .correlation_id("order-7001".parse()?)
        .remote_addr("203.0.113.9");
    enqueue_reminder(&mut queue, &request, 17).await?;

    let seen = Seen::default();
    WorkerBuilder::new("reminders")
        .backend(queue)
        .data(Arc::clone(&seen))
        .build(send_reminder)
        .run()
        .await?;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(seen.clone())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    for context in run().await? {
        println!("{}", serde_json::to_string_pretty(&context)?);
    }
    Ok(())
}

#[cfg(test)]
#[tokio::test]
async fn the_job_has_the_context_of_the_request_and_its_own_id() -> Result<(), Error> {
    let seen = run().await?;
    let context = seen.first().ok_or("no job has run")?;
    assert_eq!(context.actor(), Some(&ActorRef::user("42")?));
    assert_eq!(context.get_request_id(), Some(&"req-7".parse()?));
    assert_eq!(context.get_correlation_id(), Some(&"order-7001".parse()?));
    assert!(context.get_job_id().is_some());
    // The address belongs to the request, not to the job.
    assert_eq!(context.get_remote_addr(), None);
    assert_eq!(context.get_source(), Some("worker"));
    Ok(())
}
