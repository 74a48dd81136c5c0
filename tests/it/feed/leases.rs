//! Leases, their tokens, and acknowledgements.

use diesel::result::Error;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use threadline::feed::{self, FeedError, Leased, Start};

use super::{Session, TABLE, Worker, expire, shown};
use crate::harness::captured;

#[test]
fn a_lease_excludes_other_workers_and_its_token_is_refused_after_it_expired() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1), (2)");
    let mut slow = Worker::new(&trail, "search");
    let mut quick = Worker::also(&trail, "search");
    let first = slow.batch(1);
    assert_eq!(first.attempt, 1);
    assert_eq!(
        quick.lease(1),
        Leased::Held {
            until: Some(first.leased_until)
        }
    );
    let renewed = slow.renew(&first).unwrap();
    assert!(renewed > first.leased_until);
    expire(&trail, "search");
    // Refused even if no other worker has leased since.
    assert!(matches!(
        slow.acknowledge(&first),
        Err(FeedError::LeaseLost(_))
    ));
    let second = quick.batch(1);
    assert_eq!((shown(&second), second.attempt), (shown(&first), 2));
    for refused in [
        slow.acknowledge(&first),
        slow.renew(&first).map(|_| ()),
        slow.release(&first),
    ] {
        assert!(matches!(refused, Err(FeedError::LeaseLost(_))));
    }
    quick.acknowledge(&second).unwrap();
    assert!(matches!(
        quick.acknowledge(&second),
        Err(FeedError::LeaseLost(_))
    ));
    let third = quick.batch(1);
    assert_eq!((shown(&third), third.attempt), (vec!["insert 2".into()], 1));
}

#[test]
fn a_released_lease_can_be_taken_immediately() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    let batch = worker.batch(1);
    worker.release(&batch).unwrap();
    let again = worker.batch(1);
    assert_eq!((shown(&again), again.attempt), (shown(&batch), 2));
    assert_ne!(again.token, batch.token);
}

#[test]
fn a_token_of_a_dropped_consumer_is_refused_by_a_new_consumer_of_the_same_name() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    assert!(matches!(
        worker.create(Start::Now),
        Err(FeedError::ConsumerExists(_))
    ));
    let batch = worker.batch(1);
    worker.drop_consumer().unwrap();
    for gone in [
        worker.drop_consumer(),
        worker.try_lease(1).map(|_| ()),
        worker
            .runtime
            .block_on(feed::lag(&mut worker.conn, &worker.consumer))
            .map(|_| ()),
    ] {
        assert!(matches!(gone, Err(FeedError::NoSuchConsumer(_))));
    }
    let mut namesake = Worker::new(&trail, "search");
    namesake.batch(1);
    assert!(matches!(
        worker.acknowledge(&batch),
        Err(FeedError::LeaseLost(_))
    ));
}

#[test]
fn an_acknowledgement_commits_and_rolls_back_with_its_transaction() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1); CREATE TABLE copied (id bigint)");
    let mut worker = Worker::new(&trail, "search");
    let copy = |worker: &mut Worker, commits: bool| {
        let batch = worker.batch(10);
        let ids: Vec<i64> = batch.changes().map(|entry| entry.change.id).collect();
        let work = worker.conn.transaction(async |conn| {
            for id in ids {
                conn.batch_execute(&format!("INSERT INTO copied VALUES ({id})"))
                    .await?;
            }
            feed::acknowledge(conn, &batch.token).await?;
            if commits {
                Ok(())
            } else {
                Err(Error::RollbackTransaction)
            }
        });
        worker.runtime.block_on(work)
    };
    copy(&mut worker, false).unwrap_err();
    expire(&trail, "search");
    copy(&mut worker, true).unwrap();
    assert_eq!(trail.query_text("SELECT count(*) FROM copied"), "1");
    assert_eq!(worker.settled_lease(1), Leased::Empty);
}

#[test]
fn the_acknowledgement_of_a_worker_killed_before_commit_is_rolled_back() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut doomed = Worker::new(&trail, "search");
    let mut heir = Worker::also(&trail, "search");
    let batch = doomed.batch(1);
    doomed.run("BEGIN");
    doomed.acknowledge(&batch).unwrap();
    // While its transaction may still commit, no other worker can lease.
    assert_eq!(
        heir.lease(1),
        Leased::Held {
            until: Some(batch.leased_until)
        }
    );
    trail.query_text(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
         WHERE datname = current_database() AND state = 'idle in transaction'",
    );
    expire(&trail, "search");
    let again = heir.batch(1);
    assert_eq!((shown(&again), again.attempt), (shown(&batch), 2));
}

#[test]
fn a_lease_does_not_block_on_an_uncommitted_acknowledgement() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut slow = Worker::new(&trail, "search");
    let batch = slow.batch(1);
    trail.run(
        "UPDATE threadline.audit_feed_consumers \
         SET leased_until = clock_timestamp() + interval '1 second'",
    );
    slow.run("BEGIN");
    slow.acknowledge(&batch).unwrap();
    // The acknowledgement was in time, but the lease expires before it is committed.
    trail.run("SELECT pg_sleep(1.1)");
    let mut other = Worker::also(&trail, "search");
    assert_eq!(other.lease(1), Leased::Held { until: None });
    slow.run("COMMIT");
    assert_eq!(other.settled_lease(1), Leased::Empty);
}

#[test]
fn repeated_empty_and_waiting_leases_write_nothing() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    worker.drain();
    let row = "SELECT ctid::text || xmin::text FROM threadline.audit_feed_consumers";
    let idle = trail.query_text(row);
    assert_eq!(worker.lease(1), Leased::Empty);
    assert_eq!(trail.query_text(row), idle);
    let mut slow = Session::of(&trail);
    slow.run("BEGIN; INSERT INTO t VALUES (2)");
    assert_eq!(worker.lease(1), Leased::Waiting);
    let waiting = trail.query_text(row);
    assert_ne!(waiting, idle);
    assert_eq!(worker.lease(1), Leased::Waiting);
    assert_eq!(trail.query_text(row), waiting);
}

#[test]
fn a_lease_that_could_skip_changes_is_refused() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    let mut refused = |before: &str, after: &str, message: &str| {
        worker.run(before);
        let error = worker.try_lease(1).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        worker.run(after);
    };
    refused(
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "ROLLBACK",
        "not REPEATABLE READ",
    );
    refused(
        "BEGIN; INSERT INTO t VALUES (2)",
        "ROLLBACK",
        "a transaction that has written nothing",
    );
    refused(
        "ALTER SEQUENCE threadline.audit_changes_id_seq CACHE 10",
        "ALTER SEQUENCE threadline.audit_changes_id_seq CACHE 1",
        "has a cache",
    );
    // A read committed transaction without writes is accepted.
    worker.settled_lease(1).into_batch().expect("a batch");
    expire(&trail, "search");
    worker.run("BEGIN");
    let batch = worker.batch(1);
    worker.run("COMMIT");
    worker.acknowledge(&batch).unwrap();
    // A trail that was copied without the value of its sequence.
    worker.drain();
    trail.run("INSERT INTO t VALUES (3)");
    worker.drain();
    trail.run("SELECT setval('threadline.audit_changes_id_seq', 1)");
    let error = worker.try_lease(1).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the consumer has acknowledged up to"),
        "{error}"
    );
}
