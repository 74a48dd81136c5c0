//! The feed: nothing that commits late is skipped, nothing of what is rolled back comes, and every
//! row's changes come in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::blocking::feed;
use threadline::feed::{
    Batch, BatchSize, ConsumerName, FeedError, LeaseTime, Leased, Listener, Start, Woken,
};
use threadline::nonblocking;

use crate::harness::{Trail, binaries, block_on, captured, cluster, start_cluster};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)";

fn connect(url: &str) -> PgConnection {
    PgConnection::establish(url).expect("a connection")
}

fn name(text: &str) -> ConsumerName {
    text.parse().expect("a name")
}

fn size(changes: u32) -> BatchSize {
    BatchSize::new(changes).expect("a size")
}

/// A session that a test speaks SQL in.
struct Session(PgConnection);

impl Session {
    fn of(trail: &Trail) -> Self {
        Self(connect(&trail.url()))
    }

    fn run(&mut self, sql: &str) {
        self.0.batch_execute(sql).expect(sql);
    }

    fn pid(&mut self) -> i32 {
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>(
            "pg_backend_pid()",
        ))
        .get_result(&mut self.0)
        .expect("a pid")
    }
}

/// Somebody who works for a consumer.
struct Worker {
    conn: PgConnection,
    consumer: ConsumerName,
}

impl Worker {
    /// A worker of a new consumer that begins at the beginning.
    fn new(trail: &Trail, consumer: &str) -> Self {
        let mut worker = Self::also(trail, consumer);
        feed::create(&mut worker.conn, &worker.consumer, Start::Beginning).expect("a consumer");
        worker
    }

    /// Another worker of a consumer.
    fn also(trail: &Trail, consumer: &str) -> Self {
        Self::at(&trail.url(), consumer)
    }

    fn at(url: &str, consumer: &str) -> Self {
        Self {
            conn: connect(url),
            consumer: name(consumer),
        }
    }

    /// A lease, at once.
    fn lease(&mut self, changes: u32) -> Leased {
        feed::lease(
            &mut self.conn,
            &self.consumer,
            LeaseTime::default(),
            size(changes),
        )
        .expect("a lease")
    }

    /// A lease, when transactions of other tests are out of the way.
    fn settled_lease(&mut self, changes: u32) -> Leased {
        for _ in 0..10_000 {
            match self.lease(changes) {
                Leased::Waiting => thread::sleep(Duration::from_millis(1)),
                leased => return leased,
            }
        }
        panic!("the consumer waits for ever");
    }

    fn batch(&mut self, changes: u32) -> Batch {
        match self.settled_lease(changes) {
            Leased::Batch(batch) => *batch,
            other => panic!("no batch: {other:?}"),
        }
    }

    fn acknowledge(&mut self, batch: &Batch) -> Result<(), FeedError> {
        feed::acknowledge(&mut self.conn, &batch.token)
    }

    /// Everything there is now, acknowledged, as `op key`.
    fn drain(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Leased::Batch(batch) = self.settled_lease(3) {
            events.extend(shown(&batch));
            self.acknowledge(&batch).expect("the lease stands");
        }
        events
    }
}

fn shown(batch: &Batch) -> Vec<String> {
    batch
        .entries
        .iter()
        .map(|entry| format!("{} {}", entry.change.op, entry.change.shown_key()))
        .collect()
}

/// Lets every lease of a consumer run out.
fn expire(trail: &Trail, consumer: &str) {
    trail.run(&format!(
        "UPDATE threadline.audit_feed_consumers SET leased_until = clock_timestamp() \
         WHERE name = '{consumer}'"
    ));
}

#[test]
fn a_consumer_gets_every_change_in_order_and_then_nothing() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1), (2); UPDATE t SET n = 1 WHERE id = 1");
    let mut worker = Worker::new(&trail, "search");
    assert_eq!(worker.drain(), ["insert 1", "insert 2", "update 1"]);
    assert_eq!(worker.lease(1), Leased::Empty);
    trail.run("DELETE FROM t WHERE id = 2");
    assert_eq!(worker.drain(), ["delete 2"]);
    let lag = feed::lag(&mut worker.conn, &worker.consumer).unwrap();
    assert_eq!((lag.behind_at_most, lag.oldest_at), (0, None));
}

#[test]
fn an_async_consumer_has_the_same_calls() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1), (2)");
    block_on(async {
        use nonblocking::feed;
        let mut conn = trail.connect().await;
        let search = name("search");
        feed::create(&mut conn, &search, Start::Beginning)
            .await
            .unwrap();
        assert!(matches!(
            feed::create(&mut conn, &search, Start::Now).await,
            Err(FeedError::ConsumerExists(_))
        ));
        let leased = loop {
            match feed::lease(&mut conn, &search, LeaseTime::default(), size(10)).await {
                Ok(Leased::Waiting) => {}
                leased => break leased.unwrap(),
            }
        };
        let batch = leased.into_batch().expect("changes");
        assert_eq!(shown(&batch), ["insert 1", "insert 2"]);
        assert!(batch.entries[0].transaction.is_some());
        feed::renew(&mut conn, &batch.token, LeaseTime::default())
            .await
            .unwrap();
        feed::acknowledge(&mut conn, &batch.token).await.unwrap();
        assert!(matches!(
            feed::release(&mut conn, &batch.token).await,
            Err(FeedError::LeaseLost(_))
        ));
        let lag = feed::lag(&mut conn, &search).await.unwrap();
        assert_eq!(feed::list(&mut conn).await.unwrap(), [lag]);
        feed::drop_consumer(&mut conn, &search).await.unwrap();
        assert!(matches!(
            feed::lag(&mut conn, &search).await,
            Err(FeedError::NoSuchConsumer(_))
        ));
    });
}

#[test]
fn a_change_that_commits_late_is_waited_for_and_not_skipped() {
    // H 3.4.32: a greater id commits first.
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let mut slow = Session::of(&trail);
    slow.run("BEGIN; INSERT INTO t VALUES (1)");
    trail.run("INSERT INTO t VALUES (2)");
    assert_eq!(worker.lease(10), Leased::Waiting);
    let lag = feed::lag(&mut worker.conn, &worker.consumer).unwrap();
    let waiting = lag.waiting_for.expect("a transaction is waited for");
    assert_eq!(waiting.pid, Some(slow.pid()));
    assert!(waiting.since.is_some());
    assert_eq!(lag.behind_at_most, 2);
    slow.run("COMMIT");
    assert_eq!(worker.drain(), ["insert 1", "insert 2"]);
    let lag = feed::lag(&mut worker.conn, &worker.consumer).unwrap();
    assert_eq!(lag.waiting_for, None);
}

#[test]
fn only_transactions_older_than_a_mark_hold_it() {
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let (mut first, mut second) = (Session::of(&trail), Session::of(&trail));
    first.run("BEGIN; INSERT INTO t VALUES (1)");
    assert_eq!(worker.lease(10), Leased::Waiting);
    second.run("BEGIN; INSERT INTO t VALUES (2)");
    first.run("COMMIT");
    // A stream of transactions that overlap never stops it.
    assert_eq!(shown(&worker.batch(10)), ["insert 1"]);
    second.run("ROLLBACK");
}

#[test]
fn what_is_rolled_back_does_not_come_and_is_not_waited_for() {
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
fn a_rows_changes_come_in_order_when_xids_and_commits_do_not() {
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
    let events = worker.drain();
    assert_eq!(
        events,
        [
            "update 9", "update 1", "update 2", "update 2", "update 1", "delete 1"
        ]
    );
}

#[test]
fn a_prepared_transaction_is_waited_for_by_name() {
    // H 3.6.49: its commit comes from another session, any time later.
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let gid = trail.ask("SELECT 'feed ' || current_database()");
    let mut session = Session::of(&trail);
    session.run(&format!(
        "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{gid}'"
    ));
    trail.run("INSERT INTO t VALUES (2)");
    assert_eq!(worker.lease(10), Leased::Waiting);
    let lag = feed::lag(&mut worker.conn, &worker.consumer).unwrap();
    let waiting = lag.waiting_for.expect("a transaction is waited for");
    assert_eq!(
        (waiting.prepared.as_deref(), waiting.pid),
        (Some(gid.as_str()), None)
    );
    assert!(waiting.since.is_some());
    Session::of(&trail).run(&format!("COMMIT PREPARED '{gid}'"));
    assert_eq!(worker.drain(), ["insert 1", "insert 2"]);
}

#[test]
fn transactions_of_other_databases_hold_nobody() {
    let trail = captured(TABLE, &["t"]);
    let elsewhere = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let gid = trail.ask("SELECT 'elsewhere ' || current_database()");
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
fn a_transaction_larger_than_a_batch_comes_in_parts() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t SELECT g FROM generate_series(1, 7) AS g");
    let mut worker = Worker::new(&trail, "search");
    let mut sizes = Vec::new();
    let mut ids = Vec::new();
    while let Leased::Batch(batch) = worker.settled_lease(3) {
        sizes.push(batch.entries.len());
        ids.extend(batch.entries.iter().map(|entry| entry.change.id));
        worker.acknowledge(&batch).unwrap();
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert!(ids.is_sorted());
    assert_eq!(ids.len(), 7);
}

#[test]
fn a_lease_keeps_others_out_until_it_runs_out_and_its_token_is_refused_then() {
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
    let renewed = feed::renew(&mut slow.conn, &first.token, LeaseTime::default()).unwrap();
    assert!(renewed > first.leased_until);
    expire(&trail, "search");
    // Refused also where nobody else has come yet.
    assert!(matches!(
        slow.acknowledge(&first),
        Err(FeedError::LeaseLost(_))
    ));
    let second = quick.batch(1);
    assert_eq!((shown(&second), second.attempt), (shown(&first), 2));
    for refused in [
        slow.acknowledge(&first),
        feed::renew(&mut slow.conn, &first.token, LeaseTime::default()).map(|_| ()),
        feed::release(&mut slow.conn, &first.token),
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
fn a_lease_that_is_given_up_is_free_at_once() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    let batch = worker.batch(1);
    feed::release(&mut worker.conn, &batch.token).unwrap();
    let again = worker.batch(1);
    assert_eq!((shown(&again), again.attempt), (shown(&batch), 2));
    assert_ne!(again.token, batch.token);
}

#[test]
fn a_token_of_a_dropped_consumer_is_refused_by_its_namesake() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    let batch = worker.batch(1);
    feed::drop_consumer(&mut worker.conn, &name("search")).unwrap();
    let mut namesake = Worker::new(&trail, "search");
    namesake.batch(1);
    assert!(matches!(
        worker.acknowledge(&batch),
        Err(FeedError::LeaseLost(_))
    ));
}

#[test]
fn what_is_acknowledged_in_a_transaction_is_done_exactly_once() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1); CREATE TABLE copied (id bigint)");
    let mut worker = Worker::new(&trail, "search");
    let copy = |worker: &mut Worker, ends_well: bool| {
        let batch = worker.batch(10);
        worker.conn.transaction(|conn| {
            for entry in &batch.entries {
                conn.batch_execute(&format!("INSERT INTO copied VALUES ({})", entry.change.id))?;
            }
            feed::acknowledge(conn, &batch.token)?;
            if ends_well {
                Ok(())
            } else {
                Err(diesel::result::Error::RollbackTransaction)
            }
        })
    };
    copy(&mut worker, false).unwrap_err();
    expire(&trail, "search");
    copy(&mut worker, true).unwrap();
    assert_eq!(trail.ask("SELECT count(*) FROM copied"), "1");
    assert_eq!(worker.lease(1), Leased::Empty);
}

#[test]
fn a_worker_that_dies_before_its_commit_has_acknowledged_nothing() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut doomed = Worker::new(&trail, "search");
    let mut heir = Worker::also(&trail, "search");
    let batch = doomed.batch(1);
    doomed.conn.batch_execute("BEGIN").unwrap();
    doomed.acknowledge(&batch).unwrap();
    // While it may still commit, nobody else gets in, lease or not.
    assert_eq!(
        heir.lease(1),
        Leased::Held {
            until: Some(batch.leased_until)
        }
    );
    let pid = Session(doomed.conn).pid();
    trail.ask(&format!("SELECT pg_terminate_backend({pid}, 10000)"));
    expire(&trail, "search");
    let again = heir.batch(1);
    assert_eq!((shown(&again), again.attempt), (shown(&batch), 2));
}

#[test]
fn an_uncommitted_acknowledgement_is_not_waited_for() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut slow = Worker::new(&trail, "search");
    let batch = slow.batch(1);
    expire_soon(&trail);
    slow.conn.batch_execute("BEGIN").unwrap();
    slow.acknowledge(&batch).unwrap();
    // The lease runs out while its acknowledgement is under way; it was in time.
    trail.run("SELECT pg_sleep(1.1)");
    let mut other = Worker::also(&trail, "search");
    assert_eq!(other.lease(1), Leased::Held { until: None });
    slow.conn.batch_execute("COMMIT").unwrap();
    assert_eq!(other.settled_lease(1), Leased::Empty);
}

/// Lets the lease run out in a second.
fn expire_soon(trail: &Trail) {
    trail.run(
        "UPDATE threadline.audit_feed_consumers SET leased_until = clock_timestamp() + interval '1 second'",
    );
}

#[test]
fn workers_of_one_consumer_never_change_the_order_of_a_row() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t SELECT g FROM generate_series(0, 3) AS g");
    for round in 1..=30 {
        trail.run(&format!("UPDATE t SET n = {round}"));
    }
    Worker::new(&trail, "search");
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            let (trail, done) = (&trail, &done);
            scope.spawn(move || {
                let mut worker = Worker::also(trail, "search");
                loop {
                    match worker.lease(7) {
                        Leased::Batch(batch) => {
                            let ids = batch.entries.iter().map(|entry| entry.change.id);
                            done.lock().unwrap().extend(ids);
                            worker.acknowledge(&batch).unwrap();
                        }
                        Leased::Empty => return,
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
fn eight_writers_that_also_roll_back_lose_nothing_and_invent_nothing() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t SELECT g FROM generate_series(0, 15) AS g");
    let mut worker = Worker::new(&trail, "search");
    let mut delivered: Vec<(i64, String, i64)> = Vec::new();
    let mut take = |worker: &mut Worker| -> bool {
        let Leased::Batch(batch) = worker.settled_lease(40) else {
            return false;
        };
        for entry in &batch.entries {
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
        .ask("SELECT string_agg(id::text, ' ') FROM threadline.audit_changes")
        .split(' ')
        .map(|id| id.parse().unwrap())
        .collect();
    let ids: Vec<i64> = delivered.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids.len(), 16 + 8 * 40 * 2);
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), recorded);
    // Each row counts up by one, from its insert to what it is now.
    let mut rows: BTreeMap<&str, i64> = BTreeMap::new();
    for (id, key, n) in &delivered {
        let expected = rows.get(key.as_str()).map_or(0, |last| last + 1);
        assert_eq!(*n, expected, "row {key} at change {id}");
        rows.insert(key, *n);
    }
}

#[test]
fn a_consumer_goes_on_in_a_restored_database_whose_xids_begin_again() {
    // H 3.1.1, 3.4.32: a position is no xid.
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t SELECT g FROM generate_series(1, 5) AS g");
    for _ in 0..40 {
        trail.run("UPDATE t SET n = n + 1 WHERE id = 1");
    }
    let mut worker = Worker::new(&trail, "search");
    let mut waiting = Worker::new(&trail, "waiting");
    let first = worker.batch(10);
    worker.acknowledge(&first).unwrap();
    // One consumer is half-way; the mark of another waits for a transaction that the dump does not
    // have.
    let mut running = Session::of(&trail);
    running.run("BEGIN; UPDATE t SET n = -1 WHERE id = 5");
    assert_eq!(waiting.lease(10), Leased::Waiting);
    let Some(dump) = crate::identity::dump(&trail.url()) else {
        eprintln!("pg_dump is not installed; the restore was not tried");
        return;
    };
    running.run("ROLLBACK");
    let fresh = start_cluster();
    let restored = fresh.create_database().expect("a database");
    restored.execute_script(&dump).expect("the dump restores");
    let mark: u64 = number(
        &restored,
        "SELECT mark_xid::text FROM threadline.audit_feed_consumers WHERE name = 'waiting'",
    );
    let now = number(
        &restored,
        "SELECT pg_snapshot_xmax(pg_current_snapshot())::text",
    );
    assert!(
        now < mark,
        "the new cluster's xids begin lower: {now} < {mark}"
    );
    restored
        .execute_script("UPDATE t SET n = 100 WHERE id = 2")
        .expect("a write");

    let all: Vec<String> = {
        let mut worker = Worker::at(&restored.url(), "waiting");
        worker.drain()
    };
    assert_eq!(all.len(), 5 + 40 + 1);
    assert_eq!(all.last().unwrap(), "update 2");
    let rest = Worker::at(&restored.url(), "search").drain();
    assert_eq!(rest, all[10..]);
}

fn number(database: &threadline_testdb::Database, sql: &str) -> u64 {
    let value = database.query_text(sql).expect(sql).expect("a value");
    value.parse().expect("a number")
}

#[test]
fn a_consumer_outlives_a_killed_server_and_the_transaction_it_waited_for() {
    let _ = binaries();
    let cluster = start_cluster();
    let database = cluster.create_database().unwrap();
    let script = |sql: &str| database.execute_script(sql).unwrap();
    script(&threadline::install::up_sql());
    script(TABLE);
    let table = block_on(async {
        use diesel_async::AsyncConnection;
        let mut conn = diesel_async::AsyncPgConnection::establish(&database.url())
            .await
            .unwrap();
        nonblocking::introspect(&mut conn, &"t".parse().unwrap())
            .await
            .unwrap()
    });
    script(threadline::capture::CaptureMigration::new([&table], |_| None).up());
    let mut worker = Worker::at(&database.url(), "search");
    feed::create(&mut worker.conn, &worker.consumer, Start::Beginning).unwrap();
    let mut lost = Session(connect(&database.url()));
    lost.run("BEGIN; INSERT INTO t VALUES (1)");
    script("INSERT INTO t VALUES (2)");
    assert_eq!(worker.lease(10), Leased::Waiting);
    cluster.kill().unwrap();
    cluster.restart().unwrap();
    database.execute_script("INSERT INTO t VALUES (3)").unwrap();
    let events = Worker::at(&database.url(), "search").drain();
    assert_eq!(events, ["insert 2", "insert 3"]);
}

#[test]
fn a_consumer_begins_where_it_is_told_to() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1), (2)");
    let second = trail.ask("SELECT max(id) FROM threadline.audit_changes");
    let mut conn = connect(&trail.url());
    feed::create(&mut conn, &name("now"), Start::Now).unwrap();
    let first = second.parse::<i64>().unwrap() - 1;
    feed::create(&mut conn, &name("after"), Start::After(first)).unwrap();
    for beyond in [-1, first + 2] {
        let error = feed::create(&mut conn, &name("x"), Start::After(beyond)).unwrap_err();
        assert!(
            error.to_string().contains("no change has the id"),
            "{error}"
        );
    }
    trail.run("INSERT INTO t VALUES (3)");
    assert_eq!(Worker::also(&trail, "now").drain(), ["insert 3"]);
    assert_eq!(
        Worker::also(&trail, "after").drain(),
        ["insert 2", "insert 3"]
    );
}

#[test]
fn a_consumer_that_begins_now_knows_when_a_copy_of_the_tables_is_whole() {
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::also(&trail, "copy");
    // The index of the feed is there already; it cannot be made while somebody writes.
    Worker::new(&trail, "first");
    let mut before = Session::of(&trail);
    before.run("BEGIN; INSERT INTO t VALUES (1)");
    feed::create(&mut worker.conn, &worker.consumer, Start::Now).unwrap();
    let settled = |worker: &mut Worker| feed::lag(&mut worker.conn, &name("copy")).unwrap().settled;
    assert_eq!(worker.lease(1), Leased::Waiting);
    assert!(!settled(&mut worker));
    before.run("COMMIT");
    assert_eq!(worker.settled_lease(1), Leased::Empty);
    assert!(settled(&mut worker));
}

#[test]
fn removing_from_the_trail_can_be_held_against_consumers_and_is_told_to_those_it_robs() {
    let trail = captured(TABLE, &["t"]);
    assert_eq!(trail.ask("SELECT threadline.feed_horizon()"), "NULL");
    trail.run("INSERT INTO t SELECT g FROM generate_series(1, 6) AS g");
    let mut done = Worker::new(&trail, "done");
    let mut late = Worker::new(&trail, "late");
    assert_eq!(done.drain().len(), 6);
    let part = late.batch(2);
    late.acknowledge(&part).unwrap();
    let last = part.entries[1].change.id.to_string();
    assert_eq!(trail.ask("SELECT threadline.feed_horizon()"), last);
    let behind = "SELECT string_agg(name, ' ') FROM threadline.feed_consumers_behind(now())";
    assert_eq!(trail.ask(behind), "late");

    trail.run("SELECT threadline.remove_changes(clock_timestamp(), 4, 'expired')");
    trail.run("INSERT INTO t VALUES (7)");
    let robbed = late.batch(10);
    assert_eq!(shown(&robbed), ["insert 5", "insert 6"]);
    assert!(robbed.removed_before.is_some());
    late.acknowledge(&robbed).unwrap();
    // It was captured after the removal, which only the mark behind it tells.
    assert_eq!(late.drain(), ["insert 7"]);
    trail.run("INSERT INTO t VALUES (8)");
    let next = late.batch(10);
    assert_eq!(
        (shown(&next), next.removed_before),
        (vec!["insert 8".into()], None)
    );
}

#[test]
fn all_of_the_trail_can_go_from_under_a_consumer() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    let leased = worker.batch(1);
    trail.run("SELECT threadline.remove_changes(clock_timestamp(), 10, 'expired')");
    worker.acknowledge(&leased).unwrap();
    assert_eq!(worker.lease(1), Leased::Empty);
    trail.run("INSERT INTO t VALUES (2)");
    assert_eq!(worker.drain(), ["insert 2"]);
}

#[test]
fn a_lease_that_could_skip_changes_is_refused() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    let mut refused = |before: &str, after: &str, message: &str| {
        worker.conn.batch_execute(before).unwrap();
        let (time, size) = (LeaseTime::default(), BatchSize::default());
        let error = feed::lease(&mut worker.conn, &name("search"), time, size).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        worker.conn.batch_execute(after).unwrap();
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
    // In a transaction of the right kind it is fine.
    worker.conn.batch_execute("BEGIN").unwrap();
    let batch = worker.batch(1);
    worker.conn.batch_execute("COMMIT").unwrap();
    worker.acknowledge(&batch).unwrap();
    // A trail that was copied without its sequence.
    worker.drain();
    trail.run("INSERT INTO t VALUES (3)");
    worker.drain();
    trail.run("SELECT setval('threadline.audit_changes_id_seq', 1)");
    let (time, size) = (LeaseTime::default(), BatchSize::default());
    let error = feed::lease(&mut worker.conn, &name("search"), time, size).unwrap_err();
    assert!(error.to_string().contains("the consumer is at"), "{error}");
}

#[test]
fn waiting_and_idling_write_nothing() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    worker.drain();
    let row = "SELECT ctid::text || xmin::text FROM threadline.audit_feed_consumers";
    let idle = trail.ask(row);
    assert_eq!(worker.lease(1), Leased::Empty);
    assert_eq!(trail.ask(row), idle);
    let mut slow = Session::of(&trail);
    slow.run("BEGIN; INSERT INTO t VALUES (2)");
    assert_eq!(worker.lease(1), Leased::Waiting);
    let waiting = trail.ask(row);
    assert_ne!(waiting, idle);
    assert_eq!(worker.lease(1), Leased::Waiting);
    assert_eq!(trail.ask(row), waiting);
}

#[test]
fn consumers_are_for_roles_that_were_granted_them() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    Worker::new(&trail, "search");
    let role = trail.ask("SELECT 'indexer_' || current_database()");
    trail.run(&format!("CREATE ROLE \"{role}\" LOGIN"));
    let mut worker = Worker::at(&trail.url_as(&role), "search");
    let (time, size) = (LeaseTime::default(), BatchSize::default());
    let denied = feed::lease(&mut worker.conn, &name("search"), time, size).unwrap_err();
    assert!(denied.to_string().contains("permission denied"), "{denied}");
    trail.run(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO \"{role}\";
         GRANT EXECUTE ON FUNCTION threadline.feed_lease, threadline.feed_acknowledge,
             threadline.feed_renew, threadline.feed_release, threadline.feed_lag TO \"{role}\""
    ));
    let batch = worker.batch(1);
    assert_eq!(
        trail.ask("SELECT leased_by FROM threadline.audit_feed_consumers"),
        role
    );
    worker.acknowledge(&batch).unwrap();
    assert!(feed::lag(&mut worker.conn, &name("search")).is_ok());
    for own in [
        "SELECT threadline.drop_feed_consumer('search')",
        "SELECT threadline.create_feed_consumer('mine', 0)",
        "UPDATE threadline.audit_feed_consumers SET acknowledged_to = 0",
    ] {
        let error = trail.run_as(&role, own).unwrap_err();
        assert!(error.contains("permission denied"), "{own}: {error}");
    }
    drop(worker);
    trail.run(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[test]
fn an_owner_without_special_rights_sees_who_is_waited_for() {
    let trail = captured(TABLE, &["t"]);
    let elsewhere = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let role = trail.ask("SELECT 'owner_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\";
         GRANT USAGE, CREATE ON SCHEMA threadline TO \"{role}\";
         GRANT ALL ON ALL TABLES IN SCHEMA threadline TO \"{role}\";
         GRANT ALL ON ALL SEQUENCES IN SCHEMA threadline TO \"{role}\";
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA threadline TO \"{role}\";
         ALTER FUNCTION threadline.feed_lease OWNER TO \"{role}\";
         ALTER FUNCTION threadline.feed_lag OWNER TO \"{role}\""
    ));
    let mut far = Session::of(&elsewhere);
    far.run("BEGIN; INSERT INTO t VALUES (1)");
    trail.run("INSERT INTO t VALUES (1)");
    assert_eq!(shown(&worker.batch(10)), ["insert 1"]);
    let mut near = Session::of(&trail);
    near.run("BEGIN; INSERT INTO t VALUES (2)");
    let lag = feed::lag(&mut worker.conn, &worker.consumer).unwrap();
    assert_eq!(lag.waiting_for.expect("somebody").pid, Some(near.pid()));
    near.run("ROLLBACK");
    trail.run(&format!(
        "REASSIGN OWNED BY \"{role}\" TO postgres; DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""
    ));
}

#[test]
fn installing_again_keeps_consumers_where_they_are() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    worker.drain();
    trail.run(&threadline::install::up_sql());
    trail.run("INSERT INTO t VALUES (2)");
    assert_eq!(worker.drain(), ["insert 2"]);
}

#[test]
fn the_index_of_the_feed_is_not_made_at_the_cost_of_a_stalled_writer() {
    let trail = captured(TABLE, &["t"]);
    let mut slow = Session::of(&trail);
    slow.run("BEGIN; INSERT INTO t VALUES (1)");
    let mut conn = connect(&trail.url());
    let error = feed::create(&mut conn, &name("search"), Start::Beginning).unwrap_err();
    assert!(
        error.to_string().contains("the index of the feed"),
        "{error}"
    );
    slow.run("COMMIT");
    feed::create(&mut conn, &name("search"), Start::Beginning).unwrap();
}

#[test]
fn partitions_made_later_have_the_index_of_the_feed() {
    let trail = captured(TABLE, &["t"]);
    let indexes = "SELECT count(*) FROM pg_index JOIN pg_class ON oid = indrelid \
         WHERE indnatts = 1 AND indkey[0] = 1 AND relname ~ '^audit_changes_(2|d)' \
           AND (SELECT amname FROM pg_am JOIN pg_class AS i ON i.relam = pg_am.oid WHERE i.oid = indexrelid) \
               = 'btree'";
    // Hosts without a consumer do not pay for it.
    assert_eq!(trail.ask(indexes), "0");
    Worker::new(&trail, "search");
    trail.run("SELECT threadline.create_partitions(now() + interval '5 years', 0)");
    let partitions =
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'threadline.audit_changes'::regclass";
    assert_eq!(trail.ask(indexes), trail.ask(partitions));
}

#[test]
fn a_listener_is_woken_by_who_wants_to_and_otherwise_by_its_interval() {
    let trail = captured(TABLE, &["t"]);
    block_on(async {
        let mut listener = Listener::start(trail.connect().await).await.unwrap();
        let mut conn = trail.connect().await;
        // Before the wait, and more than once.
        nonblocking::feed::wake(&mut conn).await.unwrap();
        nonblocking::feed::wake(&mut conn).await.unwrap();
        let long = Duration::from_mins(1);
        assert_eq!(listener.wait(long).await.unwrap(), Woken::ByWriter);
        // A write wakes nobody by itself.
        trail.run("INSERT INTO t VALUES (1)");
        let mut short = Duration::from_millis(20);
        // A notification may arrive on its own.
        while listener.wait(short).await.unwrap() == Woken::ByWriter {
            short /= 2;
        }
        feed::wake(&mut connect(&trail.url())).unwrap();
        assert_eq!(listener.wait(long).await.unwrap(), Woken::ByWriter);
    });
}

#[test]
fn nothing_of_the_feed_is_there_for_everybody() {
    let _ = cluster();
    let trail = captured(TABLE, &["t"]);
    let public = trail.ask(
        "SELECT string_agg(proname, ' ') FROM pg_proc \
         WHERE pronamespace = 'threadline'::regnamespace AND proname ~ 'feed' \
           AND has_function_privilege('public', oid, 'EXECUTE')",
    );
    assert_eq!(public, "NULL");
}
