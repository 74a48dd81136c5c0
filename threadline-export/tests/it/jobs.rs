//! Background jobs.

mod exports;
mod faults;
mod queue;
mod s3;
mod schedules;

use std::sync::Arc;

use serde_json::json;
use threadline_core::actor::ActorRef;
use threadline_core::instant::Tz;
use threadline_diesel::query::TimelineFilters;
use threadline_export::Worker;
use threadline_export::jobs::{self, ExportRequest, ExportResult, Job, NewJob};
use threadline_export::storage::object_store::memory::InMemory;
use threadline_export::storage::object_store::path::Path;
use threadline_export::storage::object_store::{ObjectStore, ObjectStoreExt};
use threadline_export::storage::{Storage, Storages};

use crate::harness::{Trail, block_on};

fn rita() -> ActorRef {
    "admin:rita".parse().unwrap()
}

/// A store in memory, and storages that name it `local`.
fn memory() -> (Arc<InMemory>, Storages) {
    let store = Arc::new(InMemory::new());
    let storage = Storage::new(store.clone()).prefix("audit");
    (store, Storages::new().with("local", storage))
}

fn object(store: &dyn ObjectStore, key: &str) -> Option<String> {
    let key = Path::from(format!("audit/{key}"));
    let read = block_on(async { store.get(&key).await?.bytes().await });
    read.ok()
        .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

/// A request for all changes as NDJSON, of rita.
fn all_changes() -> NewJob {
    request(TimelineFilters::default())
}

fn request(filters: TimelineFilters) -> NewJob {
    let request = ExportRequest::new(filters);
    request
        .new_job(chrono::Utc::now(), Tz::UTC)
        .unwrap()
        .actor(rita())
}

fn enqueue(trail: &Trail, job: &NewJob) -> Job {
    block_on(async { jobs::enqueue(&mut trail.connect().await, job).await }).unwrap()
}

fn find(trail: &Trail, job: &Job) -> Job {
    block_on(async { jobs::find(&mut trail.connect().await, job.id).await })
        .unwrap()
        .unwrap()
}

fn worker(trail: &Trail, storages: &Storages) -> Worker {
    Worker::builder(trail.pool())
        .storages(storages.clone())
        .build()
}

fn run_pending(trail: &Trail, storages: &Storages) -> u64 {
    block_on(worker(trail, storages).run_pending()).unwrap()
}

fn result(job: &Job) -> ExportResult {
    serde_json::from_value(job.result.clone().unwrap_or(json!({}))).unwrap()
}

/// Lets queued jobs run now.
fn skip_delays(trail: &Trail) {
    trail.run("UPDATE threadline.audit_jobs SET run_at = clock_timestamp()");
}
