//! Schedules and the files that they give.

use std::collections::BTreeSet;

use diesel_async::SimpleAsyncConnection;
use serde_json::json;
use threadline_core::instant::Tz;
use threadline_diesel::query::TimelineFilters;
use threadline_export::jobs::{self, ExportRequest, Job, JobFilter, JobKind, JobState, Span};
use threadline_export::schedules::{self, NewSchedule, ScheduleError, ScheduleName};
use threadline_export::storage::object_store::memory::InMemory;

use super::{memory, object, result, rita, run_pending, worker};
use crate::harness::{Trail, block_on};

fn hourly() -> ScheduleName {
    "hourly".parse().unwrap()
}

fn schedule(span: Span) -> NewSchedule {
    let mut request = ExportRequest::new(TimelineFilters::default());
    request.span = Some(span);
    NewSchedule::export(
        hourly(),
        "0 * * * *".parse().unwrap(),
        Tz::Europe__Berlin,
        &request,
    )
    .actor(rita())
}

fn add(trail: &Trail, schedule: &NewSchedule) {
    block_on(async { schedules::add(&mut trail.connect().await, schedule).await }).unwrap();
}

/// Makes the schedule due for the last full hour.
fn make_due(trail: &Trail) {
    trail.run(
        "UPDATE threadline.audit_schedules SET next_due_at = date_trunc('hour', clock_timestamp())",
    );
}

fn jobs_of(trail: &Trail) -> Vec<Job> {
    let filter = JobFilter::new().schedule("hourly");
    let page = block_on(async { jobs::list(&mut trail.connect().await, &filter).await });
    page.unwrap().jobs
}

fn run_now(trail: &Trail) -> Job {
    block_on(async { schedules::run_now(&mut trail.connect().await, &hourly()).await }).unwrap()
}

/// The ids of the changes in the file of a job.
fn ids(store: &InMemory, job: &Job) -> BTreeSet<i64> {
    let file = object(store, &result(job).object).unwrap();
    let id = |line: &str| -> i64 {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["id"]
            .as_i64()
            .unwrap()
    };
    file.lines().map(id).collect()
}

#[test]
fn missed_times_give_one_job_with_the_whole_period() {
    let trail = Trail::with_changes(1);
    let (_store, storages) = memory();
    add(&trail, &schedule(Span::PreviousPeriod));
    assert_eq!(run_pending(&trail, &storages), 0, "not due yet");
    trail.run(
        "UPDATE threadline.audit_schedules
         SET next_due_at = date_trunc('hour', clock_timestamp()) - interval '5 hours'",
    );
    assert_eq!(run_pending(&trail, &storages), 1);
    let [job] = &jobs_of(&trail)[..] else {
        panic!("one job");
    };
    assert_eq!(job.state, JobState::Completed);
    assert_eq!(job.actor, Some(rita()));
    let due_at = job.due_at.unwrap();
    let filters: TimelineFilters = serde_json::from_value(job.request["filters"].clone()).unwrap();
    let at = |instant: Option<threadline_core::instant::InstantInput>| {
        instant
            .unwrap()
            .resolve(chrono::Utc::now(), Tz::UTC)
            .unwrap()
    };
    assert_eq!(due_at - at(filters.from), chrono::TimeDelta::hours(6));
    assert_eq!(due_at - at(filters.to), chrono::TimeDelta::microseconds(1));
    let next =
        trail.query("SELECT next_due_at > clock_timestamp() FROM threadline.audit_schedules");
    assert_eq!(next, "t");
}

#[test]
fn two_schedulers_enqueue_one_job_for_a_time() {
    let trail = Trail::with_changes(1);
    let (_store, storages) = memory();
    add(&trail, &schedule(Span::PreviousPeriod));
    for _ in 0..3 {
        make_due(&trail);
        let workers: Vec<_> = (0..4).map(|_| worker(&trail, &storages)).collect();
        std::thread::scope(|scope| {
            for worker in &workers {
                scope.spawn(|| block_on(worker.run_pending()).unwrap());
            }
        });
    }
    assert_eq!(jobs_of(&trail).len(), 1, "also when the time is set back");
}

#[test]
fn files_since_the_last_one_neither_overlap_nor_miss_a_late_commit() {
    let trail = Trail::with_changes(10);
    let (store, storages) = memory();
    add(&trail, &schedule(Span::SinceLast));
    let mut files = Vec::new();
    let mut next_file = || {
        let job = run_now(&trail);
        run_pending(&trail, &storages);
        let done = jobs_of(&trail)
            .into_iter()
            .find(|it| it.id == job.id)
            .unwrap();
        assert_eq!(done.state, JobState::Completed, "{:?}", done.error_code);
        files.push(ids(&store, &done));
    };
    next_file();
    next_file();
    // A transaction takes ids, others commit, and it commits while the worker waits for it.
    block_on(async {
        let mut late = trail.connect().await;
        late.batch_execute("BEGIN; INSERT INTO notes VALUES (100, 'late')")
            .await
            .unwrap();
        trail.run("INSERT INTO notes VALUES (101, 'early')");
        let job = schedules::run_now(&mut trail.connect().await, &hourly())
            .await
            .unwrap();
        let worker = worker(&trail, &storages);
        let commit = async {
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
            let mut conn = trail.connect().await;
            let running = jobs::find(&mut conn, job.id).await.unwrap().unwrap();
            assert_eq!(
                running.state,
                JobState::Running,
                "it waits for the transaction"
            );
            late.batch_execute("COMMIT").await.unwrap();
        };
        let (ran, ()) = tokio::join!(worker.run_pending(), commit);
        assert_eq!(ran.unwrap(), 1);
    });
    let [third, second] = &jobs_of(&trail)[..2] else {
        panic!("three jobs");
    };
    files.push(ids(&store, third));
    assert_eq!(files[0].len(), 10);
    assert_eq!(files[1].len(), 0);
    assert_eq!(files[2].len(), 2);
    let all: BTreeSet<_> = files.iter().flatten().copied().collect();
    assert_eq!(all.len(), 12);
    assert_eq!(
        trail.query("SELECT count(*) FROM threadline.audit_changes"),
        "12"
    );
    assert_eq!(result(third).after_id, result(second).to_id);
}

#[test]
fn two_jobs_of_a_schedule_at_once_do_not_store_the_same_changes() {
    let trail = Trail::with_changes(10);
    let (store, storages) = memory();
    add(&trail, &schedule(Span::SinceLast));
    let first = run_now(&trail);
    assert_eq!(run_now(&trail).id, first.id, "one open job at a time");
    trail.run(
        "INSERT INTO threadline.audit_jobs (id, kind, request, schedule, due_at)
         SELECT gen_random_uuid(), kind, request, schedule, due_at + interval '1 hour' FROM threadline.audit_jobs",
    );
    let jobs = jobs_of(&trail);
    assert_eq!(jobs.len(), 2);
    let workers = [worker(&trail, &storages), worker(&trail, &storages)];
    std::thread::scope(|scope| {
        for worker in &workers {
            scope.spawn(|| block_on(worker.run_pending()).unwrap());
        }
    });
    super::skip_delays(&trail);
    run_pending(&trail, &storages);
    let count = |job: &Job| ids(&store, &super::find(&trail, job)).len();
    assert_eq!(jobs.iter().map(count).sum::<usize>(), 10);
}

#[test]
fn a_failed_job_does_not_move_the_position() {
    let trail = Trail::with_changes(4);
    let (store, storages) = memory();
    add(&trail, &schedule(Span::SinceLast));
    let job = run_now(&trail);
    trail.run("UPDATE threadline.audit_jobs SET request = request || '{\"storage\": \"gone\"}', max_attempts = 1");
    run_pending(&trail, &storages);
    assert_eq!(super::find(&trail, &job).state, JobState::Failed);
    let job = run_now(&trail);
    run_pending(&trail, &storages);
    assert_eq!(ids(&store, &super::find(&trail, &job)).len(), 4);
}

#[test]
fn a_paused_schedule_is_not_due_and_a_resumed_one_is_due_at_its_next_time() {
    let trail = Trail::with_changes(1);
    let (_store, storages) = memory();
    add(&trail, &schedule(Span::PreviousPeriod));
    block_on(async {
        let mut conn = trail.connect().await;
        schedules::pause(&mut conn, &hourly()).await.unwrap();
    });
    make_due(&trail);
    assert_eq!(run_pending(&trail, &storages), 0);
    block_on(async {
        let mut conn = trail.connect().await;
        schedules::resume(&mut conn, &hourly()).await.unwrap();
        let found = schedules::find(&mut conn, &hourly())
            .await
            .unwrap()
            .unwrap();
        assert!(found.paused_at.is_none() && found.next_due_at > chrono::Utc::now());
        assert_eq!(schedules::list(&mut conn).await.unwrap(), [found]);
        schedules::remove(&mut conn, &hourly()).await.unwrap();
        let missing = schedules::pause(&mut conn, &hourly()).await;
        assert!(matches!(missing, Err(ScheduleError::NotFound(_))));
    });
}

#[test]
fn invalid_schedules_are_rejected() {
    let trail = Trail::with_changes(1);
    let rejected = |schedule: &NewSchedule| {
        block_on(async { schedules::add(&mut trail.connect().await, schedule).await }).unwrap_err()
    };
    add(&trail, &schedule(Span::PreviousPeriod));
    assert!(matches!(
        rejected(&schedule(Span::SinceLast)),
        ScheduleError::Exists(_)
    ));
    let window = TimelineFilters::from_pairs([("from", "-1h")]).unwrap();
    let other = |request: &ExportRequest, cron: &str| {
        NewSchedule::export(
            "other".parse().unwrap(),
            cron.parse().unwrap(),
            Tz::UTC,
            request,
        )
    };
    let with_window = other(&ExportRequest::new(window), "0 * * * *");
    assert!(matches!(rejected(&with_window), ScheduleError::HasWindow));
    let never = other(
        &ExportRequest::new(TimelineFilters::default()),
        "0 0 30 2 *",
    );
    assert!(matches!(rejected(&never), ScheduleError::Cron(_)));
    let name: ScheduleName = "bad".parse().unwrap();
    let cron = "@daily".parse().unwrap();
    let bad = NewSchedule::new(name, cron, Tz::UTC, JobKind::Export, json!({ "color": 1 }));
    assert!(matches!(rejected(&bad), ScheduleError::InvalidExport(_)));
}

#[test]
fn a_schedule_that_cannot_be_read_is_paused_and_others_are_due() {
    let trail = Trail::with_changes(1);
    let (_store, storages) = memory();
    add(&trail, &schedule(Span::PreviousPeriod));
    trail.run(
        "INSERT INTO threadline.audit_schedules (name, kind, cron, time_zone, request, next_due_at)
         VALUES ('broken', 'export', 'every day', 'UTC', '{}', '2000-01-01Z')",
    );
    make_due(&trail);
    trail.run(
        "UPDATE threadline.audit_schedules SET next_due_at = '2000-01-01Z' WHERE name = 'broken'",
    );
    assert_eq!(run_pending(&trail, &storages), 1);
    let paused =
        "SELECT paused_at IS NOT NULL FROM threadline.audit_schedules WHERE name = 'broken'";
    assert_eq!(trail.query(paused), "t");
}
