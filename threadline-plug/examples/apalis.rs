//! A job queue that exists: apalis. Who ordered a job, and in which request, is among the job's
//! arguments, and the queue's own id becomes the job's.
//!
//! The queue here is in memory. apalis-postgres, apalis-redis and the others take the same arguments
//! and the same handler; they store the arguments as JSON, which `JobContext` reads back.
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

/// Where the example shows what the worker knew.
type Seen = Arc<Mutex<Vec<AuditContext>>>;

/// In the request: the job is ordered by whoever makes it.
async fn remind(
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

/// In the worker: the context is that of the request, and knows which job it is.
async fn send(
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
    // Here an application hands it to its audited write:
    // audited(conn, &AuditedWrite::new(context), async |conn| { ... }).await?;
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(context);
    // One job is enough for an example.
    worker.stop()?;
    Ok(())
}

async fn run() -> Result<Vec<AuditContext>, Error> {
    let mut queue = MemoryStorage::new();
    let request = AuditContext::new(ActorRef::user("42")?)
        .request_id("req-7".parse()?)
        .correlation_id("order-7001".parse()?)
        .remote_addr("203.0.113.9");
    remind(&mut queue, &request, 17).await?;

    let seen = Seen::default();
    WorkerBuilder::new("reminders")
        .backend(queue)
        .data(Arc::clone(&seen))
        .build(send)
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
async fn the_worker_knows_who_ordered_the_job_and_which_it_is() -> Result<(), Error> {
    let seen = run().await?;
    let context = seen.first().ok_or("a job was worked on")?;
    assert_eq!(context.actor(), Some(&ActorRef::user("42")?));
    assert_eq!(context.request(), Some(&"req-7".parse()?));
    assert_eq!(context.correlation(), Some(&"order-7001".parse()?));
    assert!(context.job().is_some());
    // The address is the request's, not the job's.
    assert_eq!(context.address(), None);
    assert_eq!(context.origin(), Some("worker"));
    Ok(())
}
