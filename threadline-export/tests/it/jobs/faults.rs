//! Faults: lost leases, cancelled uploads, storages that fail.

use std::sync::Arc;
use std::time::Duration;

use threadline_diesel::feed::LeaseTime;
use threadline_export::Worker;
use threadline_export::jobs::{self, Job, JobState};
use threadline_export::storage::object_store::memory::InMemory;
use threadline_export::storage::object_store::throttle::{ThrottleConfig, ThrottledStore};
use threadline_export::storage::{Storage, Storages};

use super::{all_changes, enqueue, find, memory, object, result, run_pending, skip_delays};
use crate::harness::{Trail, block_on};

/// A storage in which an upload takes half a minute.
fn slow() -> Storages {
    let config = ThrottleConfig {
        wait_put_per_call: Duration::from_secs(30),
        ..ThrottleConfig::default()
    };
    let store = ThrottledStore::new(InMemory::new(), config);
    Storages::new().with("local", Storage::new(Arc::new(store)).prefix("audit"))
}

fn slow_worker(trail: &Trail) -> Worker {
    Worker::builder(trail.pool())
        .storages(slow())
        .lease_time(LeaseTime::new(Duration::from_millis(600)).unwrap())
        .poll_interval(Duration::from_millis(50))
        .build()
}

/// Waits until a job is in the upload.
async fn wait_for_upload(trail: &Trail, job: &Job) {
    let mut conn = trail.connect().await;
    loop {
        let job = jobs::find(&mut conn, job.id).await.unwrap().unwrap();
        if job.progress.is_some_and(|progress| progress.rows == 300) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_worker_that_lost_its_lease_during_an_upload_does_not_end_the_job() {
    let trail = Trail::with_changes(300);
    let job = enqueue(&trail, &all_changes());
    let worker = slow_worker(&trail);
    block_on(async {
        let steal = async {
            wait_for_upload(&trail, &job).await;
            // As if the renewals had not arrived, and another worker had claimed the job.
            trail.run(
                "UPDATE threadline.audit_jobs
                 SET lease_token = gen_random_uuid(), leased_until = clock_timestamp() + interval '1 day'",
            );
            tokio::time::sleep(Duration::from_millis(800)).await;
        };
        worker.run(steal).await;
    });
    let running = find(&trail, &job);
    assert_eq!((running.state, running.attempt), (JobState::Running, 1));
    assert_eq!(running.result, None);
}

#[test]
fn a_running_export_that_is_cancelled_stops_soon() {
    let trail = Trail::with_changes(300);
    let job = enqueue(&trail, &all_changes());
    let worker = slow_worker(&trail);
    block_on(async {
        let cancel = async {
            wait_for_upload(&trail, &job).await;
            let mut conn = trail.connect().await;
            jobs::cancel(&mut conn, job.id).await.unwrap();
            while jobs::find(&mut conn, job.id)
                .await
                .unwrap()
                .unwrap()
                .state
                .is_open()
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let stopped = tokio::time::timeout(Duration::from_secs(20), worker.run(cancel)).await;
        stopped.expect("before the upload ends");
    });
    let cancelled = find(&trail, &job);
    assert_eq!(cancelled.state, JobState::Cancelled);
    assert_eq!(cancelled.error_code, None);
}

#[test]
fn a_worker_that_shuts_down_queues_its_job_again() {
    let trail = Trail::with_changes(300);
    let job = enqueue(&trail, &all_changes());
    let worker = slow_worker(&trail);
    block_on(async { worker.run(wait_for_upload(&trail, &job)).await });
    assert_eq!(find(&trail, &job).state, JobState::Queued);
    let (_store, storages) = memory();
    run_pending(&trail, &storages);
    let done = find(&trail, &job);
    assert_eq!((done.state, done.attempt), (JobState::Completed, 2));
}

#[test]
fn a_lease_is_renewed_during_a_job_that_takes_longer_than_its_time() {
    let trail = Trail::with_changes(300);
    let job = enqueue(&trail, &all_changes());
    let config = ThrottleConfig {
        wait_put_per_call: Duration::from_secs(1),
        ..ThrottleConfig::default()
    };
    let store = ThrottledStore::new(InMemory::new(), config);
    let worker = Worker::builder(trail.pool())
        .storages(Storages::new().with("local", Storage::new(Arc::new(store))))
        .lease_time(LeaseTime::new(Duration::from_millis(900)).unwrap())
        .build();
    block_on(worker.run_pending()).unwrap();
    let done = find(&trail, &job);
    assert_eq!((done.state, done.attempt), (JobState::Completed, 1));
}

#[test]
fn the_objects_of_earlier_attempts_are_deleted_when_a_job_completes() {
    let trail = Trail::with_changes(3);
    let directory = tempfile::tempdir().unwrap();
    let storages = Storages::local(directory.path()).unwrap();
    let job = enqueue(&trail, &all_changes());
    // A worker was killed during and after the upload of the first attempt.
    let killed = directory.path().join(format!("exports/{}/1", job.id));
    std::fs::create_dir_all(&killed).unwrap();
    std::fs::write(killed.join("changes.ndjson"), "x").unwrap();
    std::fs::write(killed.join("changes.ndjson#1"), "x").unwrap();
    trail.run("UPDATE threadline.audit_jobs SET attempt = 1");
    run_pending(&trail, &storages);
    let result = result(&find(&trail, &job));
    assert!(directory.path().join(&result.object).exists());
    assert!(!killed.exists());
}

#[test]
fn a_storage_that_fails_delays_the_job_and_a_repaired_one_completes_it() {
    let trail = Trail::with_changes(3);
    let directory = tempfile::tempdir().unwrap();
    let storages = Storages::local(directory.path()).unwrap();
    let obstacle = directory.path().join("exports");
    std::fs::write(&obstacle, "a file in place of the directory").unwrap();
    let job = enqueue(&trail, &all_changes());
    assert_eq!(run_pending(&trail, &storages), 1);
    let failed = find(&trail, &job);
    assert_eq!(failed.state, JobState::Queued);
    assert_eq!(failed.error_code.as_deref(), Some("storage_unavailable"));
    assert_eq!(failed.error_place.as_deref(), Some("upload"));
    std::fs::remove_file(&obstacle).unwrap();
    skip_delays(&trail);
    run_pending(&trail, &storages);
    assert_eq!(find(&trail, &job).state, JobState::Completed);
    assert!(Storages::local(directory.path().join("missing")).is_err());
}

#[test]
fn a_job_for_an_unknown_storage_is_tried_again() {
    let trail = Trail::with_changes(1);
    let job = enqueue(&trail, &all_changes());
    let (_store, storages) = memory();
    let renamed = Storages::new().with("archive", storages.get("local").unwrap().clone());
    run_pending(&trail, &renamed);
    let failed = find(&trail, &job);
    assert_eq!(failed.error_code.as_deref(), Some("storage_unknown"));
    assert_eq!(failed.state, JobState::Queued);
}

#[test]
fn objects_of_a_job_that_failed_are_deleted_after_a_day() {
    let trail = Trail::with_changes(1);
    let (store, storages) = memory();
    let job = enqueue(&trail, &all_changes());
    run_pending(&trail, &storages);
    let key = result(&find(&trail, &job)).object;
    trail.run("UPDATE threadline.audit_jobs SET state = 'failed', expires_at = NULL");
    run_pending(&trail, &storages);
    assert!(object(&*store, &key).is_some(), "a worker may still upload");
    trail.run("UPDATE threadline.audit_jobs SET ended_at = ended_at - interval '25 hours'");
    run_pending(&trail, &storages);
    assert_eq!(object(&*store, &key), None);
}
