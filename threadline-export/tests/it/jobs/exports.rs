//! Export jobs: files, scopes, downloads and expiry.

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use serde_json::{Value, json};
use threadline_core::actor::ActorRef;
use threadline_diesel::Scope;
use threadline_diesel::query::TimelineFilters;
use threadline_export::Worker;
use threadline_export::connections::PoolError;
use threadline_export::jobs::{
    self, Content, Download, DownloadError, ExportRequest, Job, JobHandler, JobKind, JobOutcome,
    JobRun, JobState, NewJob, ScopeResolver,
};
use threadline_export::storage::Storages;

use super::{
    all_changes, enqueue, find, memory, object, request, result, rita, run_pending, worker,
};
use crate::harness::{Trail, block_on};

fn download(
    trail: &Trail,
    storages: &Storages,
    job: &Job,
    actor: &str,
) -> Result<Download, DownloadError> {
    let actor: ActorRef = actor.parse().unwrap();
    block_on(async {
        jobs::download(&mut trail.connect().await, storages, job.id, Some(&actor)).await
    })
}

#[test]
fn a_worker_stores_the_file_with_its_manifest_and_only_its_actor_downloads_it() {
    let trail = Trail::with_changes(300);
    let (store, storages) = memory();
    let job = enqueue(&trail, &all_changes());
    assert!(matches!(
        download(&trail, &storages, &job, "admin:rita"),
        Err(DownloadError::NotReady {
            state: JobState::Queued,
            ..
        })
    ));
    assert_eq!(run_pending(&trail, &storages), 1);
    let done = find(&trail, &job);
    assert_eq!(done.state, JobState::Completed);
    let result = result(&done);
    assert_eq!(
        result.object,
        format!("exports/{}/1/changes.ndjson", job.id)
    );
    assert_eq!(result.rows, 300);
    let file = object(&*store, &result.object).unwrap();
    assert_eq!(file.lines().count(), 300);
    assert_eq!(file.len() as u64, result.bytes);
    let manifest: Value =
        serde_json::from_str(&object(&*store, &result.manifest).unwrap()).unwrap();
    assert_eq!(manifest["sha256"], result.sha256.as_str());
    assert_eq!(
        done.progress.unwrap_or_default().rows,
        0,
        "progress is stored with renewals"
    );

    let downloaded = download(&trail, &storages, &job, "admin:rita").unwrap();
    assert_eq!(downloaded.file_name, "changes.ndjson");
    let Content::Stream(bytes) = downloaded.content else {
        panic!("no store in memory signs URLs");
    };
    let bytes: Vec<_> = block_on(bytes.try_collect()).unwrap();
    assert_eq!(bytes.concat(), file.as_bytes());
    assert!(matches!(
        download(&trail, &storages, &job, "admin:omar"),
        Err(DownloadError::NotFound(id)) if id == job.id
    ));
}

#[test]
fn an_expired_file_is_refused_then_deleted_and_its_job_is_deleted_later() {
    let trail = Trail::with_changes(3);
    let (store, storages) = memory();
    let job = enqueue(&trail, &all_changes());
    run_pending(&trail, &storages);
    let result = result(&find(&trail, &job));
    trail.run("UPDATE threadline.audit_jobs SET expires_at = clock_timestamp()");
    let expired = download(&trail, &storages, &job, "admin:rita");
    assert!(matches!(expired, Err(DownloadError::Expired(_))));
    assert!(object(&*store, &result.object).is_some());
    run_pending(&trail, &storages);
    let expired = find(&trail, &job);
    assert_eq!(expired.state, JobState::Expired);
    assert!(expired.object_gone_at.is_some());
    assert_eq!(object(&*store, &result.object), None);
    assert_eq!(object(&*store, &result.manifest), None);
    let again = download(&trail, &storages, &job, "admin:rita");
    assert!(matches!(again, Err(DownloadError::Expired(_))));
    trail.run("UPDATE threadline.audit_jobs SET ended_at = ended_at - interval '91 days'");
    run_pending(&trail, &storages);
    assert_eq!(
        trail.query("SELECT count(*) FROM threadline.audit_jobs"),
        "0"
    );
}

/// Grants each actor the changes of one table.
struct ByTable;

impl ScopeResolver for ByTable {
    fn resolve<'a>(
        &'a self,
        actor: Option<&'a ActorRef>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Scope, PoolError>> {
        async move {
            assert_eq!(actor, Some(&rita()));
            match key {
                "notes" => Ok(Scope::new().tables(["notes".parse()?])),
                _ => Err("no such scope".into()),
            }
        }
        .boxed()
    }
}

#[test]
fn a_scope_is_resolved_when_the_job_runs_and_without_a_resolver_the_job_fails() {
    let trail = Trail::with_changes(5);
    trail.run("CREATE TABLE secrets (id int PRIMARY KEY)");
    trail.capture("secrets");
    trail.run("INSERT INTO secrets SELECT generate_series(1, 7)");
    let (store, storages) = memory();
    let scoped = |key: &str| enqueue(&trail, &all_changes().scope_key(key));

    let job = scoped("notes");
    run_pending(&trail, &storages);
    let failed = find(&trail, &job);
    assert_eq!(failed.state, JobState::Failed);
    assert_eq!(failed.error_code.as_deref(), Some("no_scope_resolver"));

    let worker = Worker::builder(trail.pool())
        .storages(storages)
        .scope_resolver(ByTable)
        .build();
    let job = scoped("notes");
    let refused = scoped("former-customer");
    block_on(worker.run_pending()).unwrap();
    let result = result(&find(&trail, &job));
    assert_eq!(result.rows, 5);
    assert!(!object(&*store, &result.object).unwrap().contains("secrets"));
    assert_eq!(
        find(&trail, &refused).error_code.as_deref(),
        Some("scope_refused")
    );
}

#[test]
fn a_request_that_cannot_run_fails_without_further_attempts() {
    let trail = Trail::with_changes(1);
    let (_store, storages) = memory();
    let bad = NewJob::new(JobKind::Export, json!({ "filters": { "colour": "red" } }));
    let key = TimelineFilters::from_pairs([("table", "notes"), ("key", "secret-value")]).unwrap();
    for (job, code) in [(bad, "invalid_request"), (request(key), "invalid_key")] {
        let job = enqueue(&trail, &job);
        run_pending(&trail, &storages);
        let failed = find(&trail, &job);
        assert_eq!((failed.state, failed.attempt), (JobState::Failed, 1));
        assert_eq!(failed.error_code.as_deref(), Some(code));
        let place = failed.error_place.unwrap();
        assert!(!place.contains("secret-value"));
    }
}

#[test]
fn the_window_of_a_job_is_fixed_when_it_is_requested() {
    let trail = Trail::with_changes(2);
    let (_store, storages) = memory();
    let filters = TimelineFilters::from_pairs([("from", "-1h")]).unwrap();
    let later = chrono::Utc::now() + chrono::TimeDelta::hours(3);
    let request = ExportRequest::new(filters);
    let job = request
        .new_job(later, threadline_core::instant::Tz::UTC)
        .unwrap();
    let job = enqueue(&trail, &job);
    run_pending(&trail, &storages);
    assert_eq!(result(&find(&trail, &job)).rows, 0);
}

/// A check that reports what it was asked.
struct Echo;

impl JobHandler for Echo {
    fn kind(&self) -> JobKind {
        JobKind::Check
    }

    fn run<'a>(
        &'a self,
        job: &'a Job,
        run: &'a JobRun,
    ) -> BoxFuture<'a, Result<JobOutcome, jobs::JobFailure>> {
        async {
            run.connection().await?;
            Ok(JobOutcome::new(job.request.clone()))
        }
        .boxed()
    }
}

#[test]
fn jobs_run_through_the_handler_of_their_kind_and_others_wait() {
    let trail = Trail::with_changes(1);
    let check = enqueue(&trail, &NewJob::new(JobKind::Check, json!({ "n": 1 })));
    let export = enqueue(&trail, &all_changes());
    let checks = Worker::builder(trail.pool()).handler(Echo).build();
    assert_eq!(block_on(checks.run_pending()).unwrap(), 1);
    let done = find(&trail, &check);
    assert_eq!(done.result, Some(json!({ "n": 1 })));
    assert_eq!(done.expires_at, None);
    assert_eq!(find(&trail, &export).state, JobState::Queued);
}

#[test]
fn two_workers_run_each_job_once() {
    let trail = Trail::with_changes(20);
    let (_store, storages) = memory();
    let jobs: Vec<_> = (0..5).map(|_| enqueue(&trail, &all_changes())).collect();
    let workers = [worker(&trail, &storages), worker(&trail, &storages)];
    let counts: u64 = std::thread::scope(|scope| {
        let running = workers
            .each_ref()
            .map(|worker| scope.spawn(|| block_on(worker.run_pending())));
        running
            .map(|worker| worker.join().unwrap().unwrap())
            .iter()
            .sum()
    });
    assert_eq!(counts, 5);
    for job in jobs {
        let done = find(&trail, &job);
        assert_eq!((done.state, done.attempt), (JobState::Completed, 1));
    }
}
