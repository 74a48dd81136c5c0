//! Checks that run as background jobs.

use std::time::Duration;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, deadpool};
use serde_json::json;
use threadline::evidence::{Check, EvidencePlan, Outcome, days};
use threadline::export::Worker;
use threadline::export::jobs::{self, CheckHandler, Job, JobKind, JobState, NewJob};

use super::{cards, declared, newest};
use crate::harness::{Trail, block_on};

/// Runs jobs with these requests until all have ended.
fn run_jobs(trail: &Trail, plan: EvidencePlan, requests: Vec<serde_json::Value>) -> Vec<Job> {
    block_on(async {
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(trail.url());
        let pool = deadpool::Pool::builder(manager).build().unwrap();
        let mut conn = trail.connect().await;
        let mut ids = Vec::new();
        for request in requests {
            let job = NewJob::new(JobKind::Check, request).actor("admin:rita".parse().unwrap());
            ids.push(jobs::enqueue(&mut conn, &job).await.unwrap().id);
        }
        let worker = Worker::builder(pool)
            .poll_interval(Duration::from_millis(10))
            .handler(CheckHandler::new(plan))
            .build();
        let mut ended = Vec::new();
        let all_ended = async {
            for id in ids {
                let job = loop {
                    let job = jobs::find(&mut conn, id).await.unwrap().unwrap();
                    if !matches!(job.state, JobState::Queued | JobState::Running) {
                        break job;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                };
                ended.push(job);
            }
        };
        worker.run(all_ended).await;
        ended
    })
}

#[test]
fn a_check_job_records_evidence_and_refuses_requests_without_a_check() {
    let trail = cards();
    let plan = EvidencePlan::new(declared(&trail)).every(Check::Policy, days(7));
    let requests = vec![
        json!({"check": "triggers"}),
        json!({"check": "policy", "table": "cards"}),
        json!({"check": "policy"}),
    ];
    let jobs = run_jobs(&trail, plan, requests);
    for refused in &jobs[..2] {
        assert_eq!(refused.state, JobState::Failed);
        assert_eq!(refused.error_code.as_deref(), Some("invalid_request"));
    }
    let evidence = newest(&trail);
    assert_eq!(jobs[2].state, JobState::Completed);
    assert_eq!(
        jobs[2].result,
        Some(json!({"check": "policy", "outcome": "pass", "order_id": evidence.order_id}))
    );
    assert_eq!(evidence.outcome, Outcome::Pass);
    assert_eq!(evidence.actor.unwrap().to_string(), "admin:rita");
    // One and a half times seven days, from just before it was recorded.
    let valid_for = evidence.valid_until.unwrap() - evidence.recorded_at;
    assert_eq!((valid_for + chrono::TimeDelta::minutes(1)).num_hours(), 252);
}
