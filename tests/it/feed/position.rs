//! Start positions of consumers, and positions after removals, restores and crashes.

use threadline::feed::{FeedError, Leased, Start};

use super::{Session, TABLE, Worker, expire, shown};
use crate::harness::{binaries, captured, start_cluster};

#[test]
fn a_consumer_starts_at_its_start_position() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1), (2)");
    let second: i64 = trail
        .query_text("SELECT max(id) FROM threadline.audit_changes")
        .parse()
        .unwrap();
    Worker::also(&trail, "now").create(Start::Now).unwrap();
    Worker::also(&trail, "after")
        .create(Start::After(second - 1))
        .unwrap();
    for beyond in [-1, second + 1] {
        let error = Worker::also(&trail, "x")
            .create(Start::After(beyond))
            .unwrap_err();
        assert!(matches!(error, FeedError::NoSuchPlace { .. }), "{error}");
    }
    trail.run("INSERT INTO t VALUES (3)");
    assert_eq!(Worker::also(&trail, "now").drain(), ["insert 3"]);
    assert_eq!(
        Worker::also(&trail, "after").drain(),
        ["insert 2", "insert 3"]
    );
}

#[test]
fn a_consumer_started_now_is_settled_once_earlier_transactions_have_ended() {
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::also(&trail, "copy");
    let mut before = Session::of(&trail);
    before.run("BEGIN; INSERT INTO t VALUES (1)");
    worker.create(Start::Now).unwrap();
    assert_eq!(worker.lease(1), Leased::Waiting);
    assert!(!worker.lag().settled);
    before.run("COMMIT");
    assert_eq!(worker.settled_lease(1), Leased::Empty);
    assert!(worker.lag().settled);
}

#[test]
fn consumers_behind_a_removal_are_listed_before_it_and_warned_after_it() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t SELECT g FROM generate_series(1, 6) AS g");
    let mut done = Worker::new(&trail, "done");
    let mut late = Worker::new(&trail, "late");
    assert_eq!(done.drain().len(), 6);
    let part = late.batch(2);
    late.acknowledge(&part).unwrap();
    let behind = late
        .runtime
        .block_on(threadline::feed::consumers_behind(
            &mut late.conn,
            chrono::Utc::now(),
        ))
        .unwrap();
    assert_eq!(behind, ["late"]);

    trail.run("SELECT threadline.remove_changes('public', 't', clock_timestamp(), 4, 'expired')");
    trail.run("INSERT INTO t VALUES (7)");
    let after_removal = late.batch(10);
    assert_eq!(shown(&after_removal), ["insert 5", "insert 6"]);
    assert!(after_removal.removed_before.is_some());
    late.acknowledge(&after_removal).unwrap();
    // Change 7 was captured after the removal.
    assert_eq!(late.drain(), ["insert 7"]);
    trail.run("INSERT INTO t VALUES (8)");
    let next = late.batch(10);
    assert_eq!(
        (shown(&next), next.removed_before),
        (vec!["insert 8".into()], None)
    );
}

#[test]
fn a_consumer_continues_after_all_changes_were_removed() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    let leased = worker.batch(1);
    trail.run("SELECT threadline.remove_changes('public', 't', clock_timestamp(), 10, 'expired')");
    worker.acknowledge(&leased).unwrap();
    assert_eq!(worker.settled_lease(1), Leased::Empty);
    trail.run("INSERT INTO t VALUES (2)");
    assert_eq!(worker.drain(), ["insert 2"]);
}

#[test]
fn a_removal_record_with_an_invalid_scope_does_not_stop_a_consumer() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut worker = Worker::new(&trail, "search");
    trail.run(
        "INSERT INTO threadline.audit_removals \
             (order_id, transaction_id, removed_at, removed_by, kind, reason, scope, change_count)
         SELECT nextval('threadline.audit_changes_id_seq'), gen_random_uuid(), clock_timestamp(), \
             'x', 'retention', 'x', scope::jsonb, 1
         FROM unnest(ARRAY['{\"cutoffs\": {\"a.b\": \"soon\", \"c.d\": 7}}', '{\"cutoffs\": []}', '5']) AS scope",
    );
    let batch = worker.batch(10);
    assert_eq!(
        (shown(&batch), batch.removed_before),
        (vec!["insert 1".into()], None)
    );
}

#[test]
fn a_consumer_continues_in_a_restored_database_with_lower_xids() {
    // H 3.1.1, 3.4.32: a position is not an xid.
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t SELECT g FROM generate_series(1, 5) AS g");
    for _ in 0..40 {
        trail.run("UPDATE t SET n = n + 1 WHERE id = 1");
    }
    let mut waiting = Worker::new(&trail, "waiting");
    let mut worker = Worker::new(&trail, "search");
    let first = worker.batch(10);
    worker.acknowledge(&first).unwrap();
    // One consumer has acknowledged a part. The mark of the other waits for a transaction that is not
    // in the dump.
    let mut running = Session::of(&trail);
    running.run("BEGIN; UPDATE t SET n = -1 WHERE id = 5");
    assert_eq!(waiting.lease(10), Leased::Waiting);
    let Some(dump) = crate::identity::dump(&trail.url()) else {
        eprintln!("skipped: pg_dump is not installed");
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
        "the xids of the new cluster must be lower: {now} < {mark}"
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
fn a_consumer_continues_after_a_server_crash_ended_the_transaction_it_waited_for() {
    let _ = binaries();
    let cluster = start_cluster();
    let database = cluster.create_database().unwrap();
    let script = |sql: &str| database.execute_script(sql).unwrap();
    script(&threadline::install::up_sql());
    script(TABLE);
    let table = crate::harness::block_on(async {
        use diesel_async::AsyncConnection;
        let mut conn = diesel_async::AsyncPgConnection::establish(&database.url())
            .await
            .unwrap();
        threadline::introspect(&mut conn, &"t".parse().unwrap())
            .await
            .unwrap()
    });
    script(threadline::install::CaptureMigration::new([&table], |_| None).up());
    let mut worker = Worker::at(&database.url(), "search");
    worker.create(Start::Beginning).unwrap();
    let mut lost = Session::at(&database.url());
    lost.run("BEGIN; INSERT INTO t VALUES (1)");
    script("INSERT INTO t VALUES (2)");
    assert_eq!(worker.lease(1), Leased::Waiting);
    cluster.kill().unwrap();
    cluster.restart().unwrap();
    database.execute_script("INSERT INTO t VALUES (3)").unwrap();
    let events = Worker::at(&database.url(), "search").drain();
    assert_eq!(events, ["insert 2", "insert 3"]);
}

#[test]
fn the_batch_of_a_killed_worker_is_leased_again_after_the_lease_expired() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let mut killed = Worker::new(&trail, "search");
    let batch = killed.batch(1);
    drop(killed);
    let mut next = Worker::also(&trail, "search");
    assert!(matches!(next.lease(1), Leased::Held { .. }));
    expire(&trail, "search");
    let again = next.batch(1);
    assert_eq!((shown(&again), again.attempt), (shown(&batch), 2));
}
