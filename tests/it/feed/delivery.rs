//! Delivered items and their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use threadline::feed::Leased;

use super::{Session, TABLE, Worker, shown};
use crate::harness::captured;

#[test]
fn a_consumer_receives_each_change_once_in_order() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1), (2); UPDATE t SET n = 1 WHERE id = 1");
    let mut worker = Worker::new(&trail, "search");
    assert_eq!(worker.drain(), ["insert 1", "insert 2", "update 1"]);
    assert_eq!(worker.lease(1), Leased::Empty);
    trail.run("DELETE FROM t WHERE id = 2");
    assert_eq!(worker.drain(), ["delete 2"]);
    let lag = worker.lag();
    assert_eq!((lag.behind_at_most, lag.oldest_at), (0, None));
}

#[test]
fn a_lease_waits_for_a_change_that_commits_late() {
    // H 3.4.32: a change with a greater id commits first.
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    worker.drain();
    let mut slow = Session::of(&trail);
    slow.run("BEGIN; INSERT INTO t VALUES (1)");
    trail.run("INSERT INTO t VALUES (2)");
    assert_eq!(worker.lease(10), Leased::Waiting);
    let lag = worker.lag();
    let waiting = lag
        .waiting_for
        .expect("a transaction that the consumer waits for");
    assert_eq!(waiting.pid, Some(slow.pid()));
    assert!(waiting.since.is_some());
    assert_eq!(lag.behind_at_most, 2);
    slow.run("COMMIT");
    assert_eq!(worker.drain(), ["insert 1", "insert 2"]);
    assert_eq!(worker.lag().waiting_for, None);
}

#[test]
fn a_lease_waits_only_for_transactions_older_than_its_mark() {
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let (mut first, mut second) = (Session::of(&trail), Session::of(&trail));
    first.run("BEGIN; INSERT INTO t VALUES (1)");
    assert_eq!(worker.lease(10), Leased::Waiting);
    second.run("BEGIN; INSERT INTO t VALUES (2)");
    first.run("COMMIT");
    // A stream of overlapping transactions does not block the consumer.
    assert_eq!(shown(&worker.batch(10)), ["insert 1"]);
    second.run("ROLLBACK");
}

#[test]
fn rolled_back_changes_are_not_delivered_and_not_waited_for() {
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let mut session = Session::of(&trail);
    session.run("BEGIN; INSERT INTO t VALUES (1)");
    assert_eq!(worker.lease(10), Leased::Waiting);
    session.run("ROLLBACK");
    session.run(
        "BEGIN; SAVEPOINT s; INSERT INTO t VALUES (2); ROLLBACK TO s; INSERT INTO t VALUES (3); COMMIT",
    );
    assert_eq!(worker.drain(), ["insert 3"]);
}

#[test]
fn changes_of_a_row_are_delivered_in_order_when_xid_and_commit_order_differ() {
    // H 3.4.32: ordering by xid would deliver the second change first.
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1), (9)");
    let mut worker = Worker::new(&trail, "search");
    worker.drain();
    let mut early = Session::of(&trail);
    early.run("BEGIN; UPDATE t SET n = n + 1 WHERE id = 9");
    trail.run("UPDATE t SET n = 1 WHERE id = 1");
    trail.run("UPDATE t SET id = 2 WHERE id = 1");
    early.run("UPDATE t SET n = 2 WHERE id = 2; UPDATE t SET id = 1 WHERE id = 2; COMMIT");
    trail.run("DELETE FROM t WHERE id = 1");
    assert_eq!(
        worker.drain(),
        [
            "update 9", "update 1", "update 2", "update 2", "update 1", "delete 1"
        ]
    );
}

#[test]
fn a_lease_waits_for_a_prepared_transaction_and_lag_names_it() {
    // H 3.6.49: another session commits it, at any later time.
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let gid = trail.query_text("SELECT 'feed ' || current_database()");
    let mut session = Session::of(&trail);
    session.run(&format!(
        "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{gid}'"
    ));
    trail.run("INSERT INTO t VALUES (2)");
    assert_eq!(worker.lease(10), Leased::Waiting);
    let waiting = worker
        .lag()
        .waiting_for
        .expect("a transaction that the consumer waits for");
    assert_eq!(
        (waiting.prepared.as_deref(), waiting.pid),
        (Some(gid.as_str()), None)
    );
    assert!(waiting.since.is_some());
    Session::of(&trail).run(&format!("COMMIT PREPARED '{gid}'"));
    assert_eq!(worker.drain(), ["insert 1", "insert 2"]);
}

#[test]
fn transactions_of_other_databases_are_not_waited_for() {
    let trail = captured(TABLE, &["t"]);
    let elsewhere = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let gid = trail.query_text("SELECT 'elsewhere ' || current_database()");
    let (mut running, mut prepared) = (Session::of(&elsewhere), Session::of(&elsewhere));
    running.run("BEGIN; INSERT INTO t VALUES (1)");
    prepared.run(&format!(
        "BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION '{gid}'"
    ));
    trail.run("INSERT INTO t VALUES (1)");
    assert_eq!(worker.drain(), ["insert 1"]);
    running.run("COMMIT");
    prepared.run(&format!("COMMIT PREPARED '{gid}'"));
}

#[test]
fn a_transaction_larger_than_the_batch_size_is_delivered_in_several_batches() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t SELECT g FROM generate_series(1, 7) AS g");
    let mut worker = Worker::new(&trail, "search");
    let mut sizes = Vec::new();
    let mut ids = Vec::new();
    while let Leased::Batch(batch) = worker.settled_lease(3) {
        sizes.push(batch.items.len());
        ids.extend(batch.changes().map(|entry| entry.change.id));
        worker.acknowledge(&batch).unwrap();
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert!(ids.is_sorted());
    assert_eq!(ids.len(), 7);
}

#[test]
fn long_gaps_in_change_ids_are_skipped() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    trail.run(
        "SELECT setval('threadline.audit_changes_id_seq', \
             (SELECT last_id + 3000000 FROM threadline.audit_feed_end))",
    );
    trail.run("INSERT INTO t VALUES (2), (3)");
    let lag = worker.lag();
    assert!(lag.behind_at_most > 3_000_000);
    assert!(lag.oldest_at.is_some());
    assert_eq!(shown(&worker.batch(10)), ["insert 1"]);
    let first = worker.lease(10);
    assert!(matches!(first, Leased::Held { .. }), "{first:?}");
    super::expire(&trail, "search");
    assert_eq!(worker.drain(), ["insert 1", "insert 2", "insert 3"]);
}

#[test]
fn workers_of_one_consumer_receive_changes_in_order() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t SELECT g FROM generate_series(0, 3) AS g");
    Worker::new(&trail, "search");
    let done = Mutex::new(Vec::new());
    let is_written = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut session = Session::of(&trail);
            for round in 1..=30 {
                session.run(&format!("UPDATE t SET n = {round}"));
            }
            is_written.store(true, Ordering::SeqCst);
        });
        for _ in 0..4 {
            scope.spawn(|| {
                let mut worker = Worker::also(&trail, "search");
                loop {
                    let is_last = is_written.load(Ordering::SeqCst);
                    match worker.lease(7) {
                        Leased::Batch(batch) => {
                            let ids = batch.changes().map(|entry| entry.change.id);
                            done.lock().unwrap().extend(ids);
                            worker.acknowledge(&batch).unwrap();
                        }
                        Leased::Empty if is_last => return,
                        _ => thread::yield_now(),
                    }
                }
            });
        }
    });
    let done = done.into_inner().unwrap();
    assert_eq!(done.len(), 4 + 4 * 30);
    assert!(done.windows(2).all(|pair| pair[0] < pair[1]), "{done:?}");
}

#[test]
fn every_change_of_eight_writers_with_rollbacks_is_delivered_once() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t SELECT g FROM generate_series(0, 15) AS g");
    let mut worker = Worker::new(&trail, "search");
    let mut delivered: Vec<(i64, String, i64)> = Vec::new();
    let mut take = |worker: &mut Worker| -> bool {
        let Leased::Batch(batch) = worker.settled_lease(40) else {
            return false;
        };
        for entry in batch.changes() {
            let image = entry.change.data_after.as_ref().unwrap();
            let n = image.field("n").unwrap().read::<i64>().unwrap();
            delivered.push((entry.change.id, entry.change.shown_key(), n));
        }
        worker.acknowledge(&batch).unwrap();
        true
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..8_usize)
            .map(|writer| {
                let trail = &trail;
                scope.spawn(move || {
                    let mut session = Session::of(trail);
                    for round in 0..40 {
                        let (own, shared) = (writer, 8 + round % 8);
                        session.run(&format!(
                            "BEGIN; UPDATE t SET n = n + 1 WHERE id = {own};
                             SAVEPOINT s; UPDATE t SET n = n + 1000 WHERE id = {own}; ROLLBACK TO s;
                             UPDATE t SET n = n + 1 WHERE id = {shared}; COMMIT;
                             BEGIN; UPDATE t SET n = n + 1000 WHERE id = {shared}; ROLLBACK"
                        ));
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            take(&mut worker);
        }
    });
    while take(&mut worker) {}
    let recorded: BTreeSet<i64> = trail
        .query_text("SELECT string_agg(id::text, ' ') FROM threadline.audit_changes")
        .split(' ')
        .map(|id| id.parse().unwrap())
        .collect();
    let ids: Vec<i64> = delivered.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids.len(), 16 + 8 * 40 * 2);
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), recorded);
    // The value of each row counts up by one from its insert.
    let mut rows: BTreeMap<&str, i64> = BTreeMap::new();
    for (id, key, n) in &delivered {
        let expected = rows.get(key.as_str()).map_or(0, |last| last + 1);
        assert_eq!(*n, expected, "row {key} at change {id}");
        rows.insert(key, *n);
    }
}
