//! The queue of jobs: enqueue, claim, renew, end.

use std::time::Duration;

use serde_json::json;
use threadline_diesel::PageSize;
use threadline_diesel::feed::LeaseTime;
use threadline_export::jobs::{
    self, ClaimedJob, ErrorCode, Job, JobError, JobFailure, JobFilter, JobKind, JobProgress,
    JobState, KeepDays, NewJob, Renewal, Retry,
};

use threadline_export::storage::Storages;

use super::run_pending;
use crate::harness::{Trail, block_on};

fn trail() -> Trail {
    Trail::with_table("notes", "id int PRIMARY KEY, body text")
}

fn check() -> NewJob {
    NewJob::new(JobKind::Check, json!({ "checks": ["coverage"] }))
}

fn rita() -> threadline_core::actor::ActorRef {
    "admin:rita".parse().unwrap()
}

const FAILURE: JobFailure = JobFailure::new(ErrorCode::new("unreachable"), "upload", Retry::Later);

fn enqueue(trail: &Trail, job: &NewJob) -> Result<Job, JobError> {
    block_on(async { jobs::enqueue(&mut trail.connect().await, job).await })
}

fn claim(trail: &Trail) -> Option<ClaimedJob> {
    claim_for(trail, LeaseTime::default())
}

fn claim_for(trail: &Trail, time: LeaseTime) -> Option<ClaimedJob> {
    block_on(async { jobs::claim(&mut trail.connect().await, &JobKind::ALL, time).await }).unwrap()
}

fn find(trail: &Trail, job: &Job) -> Job {
    block_on(async { jobs::find(&mut trail.connect().await, job.id).await })
        .unwrap()
        .unwrap()
}

fn expire_leases(trail: &Trail) {
    trail.run("UPDATE threadline.audit_jobs SET leased_until = leased_until - interval '1 day'");
}

/// Lets queued jobs run now.
fn skip_delays(trail: &Trail) {
    trail.run("UPDATE threadline.audit_jobs SET run_at = clock_timestamp()");
}

#[test]
fn a_job_is_claimed_once_and_ends_with_its_result() {
    let trail = trail();
    let job = enqueue(&trail, &check().actor(rita()).scope_key("acme")).unwrap();
    assert_eq!((job.state, job.attempt), (JobState::Queued, 0));
    let claimed = claim(&trail).unwrap();
    assert_eq!(claimed.job.id, job.id);
    assert_eq!(claimed.job.actor, Some(rita()));
    assert_eq!(claimed.job.scope_key.as_deref(), Some("acme"));
    assert_eq!(
        (claimed.job.state, claimed.job.attempt),
        (JobState::Running, 1)
    );
    assert!(claim(&trail).is_none(), "no other worker gets it");
    block_on(async {
        let mut conn = trail.connect().await;
        let progress = JobProgress { rows: 2, bytes: 40 };
        let renewed = jobs::renew(&mut conn, &claimed.lease, Some(&progress)).await;
        assert_eq!(renewed.unwrap(), Renewal::Go);
        let running = jobs::find(&mut conn, job.id).await.unwrap().unwrap();
        assert_eq!(running.progress, Some(progress));
        let keep = Some(KeepDays::default());
        let result = json!({ "outcome": "pass" });
        jobs::finish(&mut conn, &claimed.lease, &result, keep)
            .await
            .unwrap();
        let ended = jobs::find(&mut conn, job.id).await.unwrap().unwrap();
        assert_eq!(ended.state, JobState::Completed);
        assert_eq!(ended.result, Some(result.clone()));
        assert!(
            ended.expires_at.unwrap() > ended.ended_at.unwrap() + Duration::from_secs(6 * 86_400)
        );
        let again = jobs::finish(&mut conn, &claimed.lease, &result, None).await;
        assert!(matches!(again, Err(JobError::LeaseLost(id)) if id == job.id));
    });
}

#[test]
fn workers_that_claim_at_once_get_different_jobs() {
    let trail = trail();
    for _ in 0..20 {
        enqueue(&trail, &check()).unwrap();
    }
    let mut claimed: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut ids = Vec::new();
                    while let Some(claimed) = claim(&trail) {
                        ids.push(claimed.job.id);
                    }
                    ids
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert_eq!(claimed.len(), 20);
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!(claimed.len(), 20);
}

#[test]
fn a_worker_whose_lease_expired_cannot_end_the_job() {
    let trail = trail();
    let job = enqueue(&trail, &check()).unwrap();
    let first = claim(&trail).unwrap();
    expire_leases(&trail);
    block_on(async {
        let mut conn = trail.connect().await;
        let renewed = jobs::renew(&mut conn, &first.lease, None).await.unwrap();
        assert_eq!(renewed, Renewal::Lost);
    });
    let second = claim(&trail).unwrap();
    assert_eq!((second.job.id, second.job.attempt), (job.id, 2));
    block_on(async {
        let mut conn = trail.connect().await;
        let lost = jobs::finish(&mut conn, &first.lease, &json!({}), None).await;
        assert!(matches!(lost, Err(JobError::LeaseLost(_))));
        let lost = jobs::fail(&mut conn, &first.lease, &FAILURE).await;
        assert!(matches!(lost, Err(JobError::LeaseLost(_))));
        jobs::finish(&mut conn, &second.lease, &json!({}), None)
            .await
            .unwrap();
    });
}

#[test]
fn a_failed_attempt_is_tried_again_later_and_the_fifth_ends_the_job() {
    let trail = trail();
    let job = enqueue(&trail, &check()).unwrap();
    let expected_seconds = [24..=36, 96..=144, 384..=576, 1_536..=2_304];
    for delay in expected_seconds {
        let claimed = claim(&trail).unwrap();
        block_on(async {
            jobs::fail(&mut trail.connect().await, &claimed.lease, &FAILURE)
                .await
                .unwrap();
        });
        let failed = find(&trail, &job);
        assert_eq!(failed.state, JobState::Queued);
        assert_eq!(failed.error_code.as_deref(), Some("unreachable"));
        assert_eq!(failed.error_place.as_deref(), Some("upload"));
        let pause = failed.run_at - chrono::Utc::now();
        assert!(delay.contains(&(pause.num_seconds() + 1)), "{pause}");
        assert!(claim(&trail).is_none(), "not before its time");
        skip_delays(&trail);
    }
    let claimed = claim(&trail).unwrap();
    block_on(async {
        jobs::fail(&mut trail.connect().await, &claimed.lease, &FAILURE)
            .await
            .unwrap();
    });
    assert_eq!(find(&trail, &job).state, JobState::Failed);
    let retried = block_on(async { jobs::retry(&mut trail.connect().await, job.id).await });
    assert_eq!(retried.unwrap().max_attempts, 10);
    assert_eq!(claim(&trail).unwrap().job.attempt, 6);
}

#[test]
fn a_job_whose_workers_are_killed_fails_after_the_last_attempt() {
    let trail = trail();
    let job = enqueue(&trail, &check()).unwrap();
    for attempt in 1..=5 {
        assert_eq!(claim(&trail).unwrap().job.attempt, attempt);
        expire_leases(&trail);
    }
    assert!(claim(&trail).is_none());
    // Maintenance of a worker ends it.
    run_pending(&trail, &Storages::new());
    let failed = find(&trail, &job);
    assert_eq!(failed.state, JobState::Failed);
    assert_eq!(failed.error_code.as_deref(), Some("lease_expired"));
}

#[test]
fn a_cancelled_job_does_not_run_and_a_running_one_is_asked_to_stop() {
    let trail = trail();
    let cancel =
        |job: &Job| block_on(async { jobs::cancel(&mut trail.connect().await, job.id).await });
    let queued = enqueue(&trail, &check()).unwrap();
    assert_eq!(cancel(&queued).unwrap().state, JobState::Cancelled);
    assert!(claim(&trail).is_none());
    assert!(matches!(
        cancel(&queued),
        Err(JobError::HasEnded {
            state: JobState::Cancelled,
            ..
        })
    ));

    let running = enqueue(&trail, &check()).unwrap();
    let claimed = claim(&trail).unwrap();
    assert_eq!(cancel(&running).unwrap().state, JobState::Running);
    block_on(async {
        let mut conn = trail.connect().await;
        let renewed = jobs::renew(&mut conn, &claimed.lease, None).await.unwrap();
        assert_eq!(renewed, Renewal::Cancel);
        jobs::fail(&mut conn, &claimed.lease, &FAILURE)
            .await
            .unwrap();
    });
    let ended = find(&trail, &running);
    assert_eq!((ended.state, ended.error_code), (JobState::Cancelled, None));

    // Its worker was killed: no other worker starts it again.
    let killed = enqueue(&trail, &check()).unwrap();
    claim(&trail).unwrap();
    cancel(&killed).unwrap();
    expire_leases(&trail);
    assert!(claim(&trail).is_none());
    run_pending(&trail, &Storages::new());
    assert_eq!(find(&trail, &killed).state, JobState::Cancelled);
}

#[test]
fn an_actor_has_at_most_five_open_jobs() {
    let trail = trail();
    let job = check().actor(rita());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| enqueue(&trail, &job));
        }
    });
    assert_eq!(
        trail.query("SELECT count(*) FROM threadline.audit_jobs"),
        "5"
    );
    assert!(matches!(enqueue(&trail, &job), Err(JobError::TooManyOpen)));
    enqueue(&trail, &check().actor("admin:omar".parse().unwrap())).unwrap();
    let claimed = claim(&trail).unwrap();
    block_on(async {
        jobs::finish(&mut trail.connect().await, &claimed.lease, &json!({}), None)
            .await
            .unwrap();
    });
    enqueue(&trail, &job).unwrap();
}

#[test]
fn a_repeated_request_with_an_idempotency_key_enqueues_one_job() {
    let trail = trail();
    let job = check()
        .actor(rita())
        .idempotency_key("monday".parse().unwrap());
    let first = enqueue(&trail, &job).unwrap();
    for _ in 0..4 {
        enqueue(&trail, &check().actor(rita())).unwrap();
    }
    assert_eq!(
        enqueue(&trail, &job).unwrap().id,
        first.id,
        "also at the limit"
    );
    let other = NewJob::new(JobKind::Check, json!({})).idempotency_key("monday".parse().unwrap());
    assert!(matches!(
        enqueue(&trail, &other),
        Err(JobError::IdempotencyKeyTaken(id)) if id == first.id
    ));
}

#[test]
fn malformed_requests_are_rejected() {
    let trail = trail();
    let long = "x".repeat(jobs::MAX_REQUEST_BYTES);
    for (request, expected) in [
        (json!([]), "JSON object"),
        (json!({ "a": long }), "65544 bytes"),
        (json!({ "a": "\0" }), "U+0000"),
    ] {
        let error = enqueue(&trail, &NewJob::new(JobKind::Check, request)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = enqueue(&trail, &check().scope_key("")).unwrap_err();
    assert!(matches!(error, JobError::InvalidScopeKey(0)));
}

#[test]
fn the_pages_of_a_list_have_every_job_once() {
    let trail = trail();
    let mut expected: Vec<_> = (0..7)
        .map(|_| enqueue(&trail, &check()).unwrap().id)
        .collect();
    enqueue(&trail, &NewJob::new(JobKind::Export, json!({}))).unwrap();
    expected.reverse();
    let filter = JobFilter::new()
        .kind(JobKind::Check)
        .state(JobState::Queued)
        .page_size(PageSize::new(3).unwrap());
    let mut listed = Vec::new();
    let mut page_filter = filter.clone();
    loop {
        let page = block_on(async { jobs::list(&mut trail.connect().await, &page_filter).await });
        let page = page.unwrap();
        listed.extend(page.jobs.iter().map(|job| job.id));
        match page.next {
            Some(next) => page_filter = filter.clone().before(next),
            None => break,
        }
    }
    assert_eq!(listed, expected);
    let none = JobFilter::new().actor(rita());
    let page = block_on(async { jobs::list(&mut trail.connect().await, &none).await }).unwrap();
    assert!(page.jobs.is_empty());
}

#[test]
fn a_lease_ends_when_it_is_not_renewed() {
    let trail = trail();
    enqueue(&trail, &check()).unwrap();
    let short = LeaseTime::new(Duration::from_millis(50)).unwrap();
    let first = claim_for(&trail, short).unwrap();
    std::thread::sleep(Duration::from_millis(80));
    let second = claim(&trail).unwrap();
    assert_eq!(second.job.id, first.job.id);
}
