//! Checks that run as background jobs.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, deadpool};
use serde_json::json;
use threadline::evidence::{Basis, Check, EvidencePlan, Outcome, days, find};
use threadline::export::jobs::{self, CheckHandler, Job, JobKind, JobState, NewJob};
use threadline::export::{Notification, Notifier, NotifyError, Worker};

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
    assert_eq!(jobs[2].state, JobState::Completed);
    let result = jobs[2].result.as_ref().unwrap();
    assert_eq!(
        (&result["check"], &result["outcome"]),
        (&json!("policy"), &json!("pass"))
    );
    let order_id = result["order_id"].as_i64().unwrap();
    let evidence = trail
        .run_async(async |conn| find(conn, order_id).await)
        .unwrap()
        .unwrap();
    assert_eq!(evidence.outcome, Outcome::Pass);
    assert_eq!(evidence.actor.unwrap().to_string(), "admin:rita");
    // One and a half times seven days, from just before it was recorded.
    let valid_for = evidence.valid_until.unwrap() - evidence.recorded_at;
    assert_eq!((valid_for + chrono::TimeDelta::minutes(1)).num_hours(), 252);
}

/// Keeps the notifications.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Notification>>>);

impl Notifier for Inbox {
    fn notify<'a>(
        &'a self,
        notification: &'a Notification,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotifyError>> + Send + 'a>> {
        self.0.lock().unwrap().push(notification.clone());
        Box::pin(async { Ok(()) })
    }
}

#[test]
fn a_planned_check_runs_once_when_it_is_due_and_the_notifier_is_told_if_it_does_not_pass() {
    let trail = cards();
    // Without a retention policy the check does not run to its end.
    let plan = EvidencePlan::new(declared(&trail))
        .every(Check::Policy, days(1))
        .every(Check::Retention, days(1));
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(trail.url());
    let inbox = Inbox::default();
    let worker = Worker::builder(deadpool::Pool::builder(manager).build().unwrap())
        .handler(CheckHandler::new(plan))
        .notifier(inbox.clone())
        .build();
    let ran = block_on(async {
        let first = worker.run_pending().await.unwrap();
        (first, worker.run_pending().await.unwrap())
    });
    assert_eq!(ran, (2, 0));
    let newest = newest(&trail);
    assert_eq!(
        (newest.basis, newest.actor.as_ref()),
        (Basis::Checked, None)
    );
    let told = inbox.0.lock().unwrap().clone();
    let [Notification::CheckFailed { check, .. }] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(check, "retention");
}
