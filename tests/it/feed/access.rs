//! Rights of workers, PgBouncer, and waking of workers.

use std::time::Duration;

use diesel::connection::CacheSize;
use diesel_async::AsyncConnection;
use threadline::feed::{self, Listener, Start, WakeReason};

use super::{Session, TABLE, Worker, name, shown};
use crate::harness::{block_on, captured};
use crate::pooling::PgBouncer;

#[test]
fn a_worker_needs_select_on_the_trail_and_update_on_consumers() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    Worker::new(&trail, "search");
    let role = trail.query_text("SELECT 'indexer_' || current_database()");
    trail.run(&format!("CREATE ROLE \"{role}\" LOGIN"));
    let mut worker = Worker::at(&trail.url_as(&role), "search");
    let denied = worker.try_lease(1).unwrap_err();
    assert!(denied.to_string().contains("permission denied"), "{denied}");
    trail.run(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO \"{role}\";
         GRANT UPDATE ON threadline.audit_feed_consumers TO \"{role}\""
    ));
    let batch = worker.batch(1);
    assert_eq!(
        trail.query_text("SELECT leased_by FROM threadline.audit_feed_consumers"),
        role
    );
    worker.renew(&batch).unwrap();
    worker.acknowledge(&batch).unwrap();
    assert_eq!(worker.lag().acknowledged_to, batch.items[0].id());
    let behind = feed::consumers_behind(&mut worker.conn, chrono::Utc::now());
    assert_eq!(worker.runtime.block_on(behind).unwrap(), [""; 0]);
    for (denied, what) in [
        (worker.drop_consumer(), "drop"),
        (
            Worker::at(&trail.url_as(&role), "mine").create(Start::Now),
            "create",
        ),
    ] {
        let error = denied.unwrap_err();
        assert!(
            error.to_string().contains("permission denied"),
            "{what}: {error}"
        );
    }
    // An operator role that does not own the trail.
    trail.run(&format!(
        "GRANT INSERT, DELETE ON threadline.audit_feed_consumers TO \"{role}\""
    ));
    let mut operator = Worker::at(&trail.url_as(&role), "mine");
    operator.create(Start::Now).unwrap();
    operator.drop_consumer().unwrap();
    drop((worker, operator));
    trail.run(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[test]
fn an_unprivileged_worker_sees_the_transaction_it_waits_for() {
    let trail = captured(TABLE, &["t"]);
    let elsewhere = captured(TABLE, &["t"]);
    Worker::new(&trail, "search");
    let role = trail.query_text("SELECT 'worker_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN;
         GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO \"{role}\";
         GRANT UPDATE ON threadline.audit_feed_consumers TO \"{role}\""
    ));
    let mut worker = Worker::at(&trail.url_as(&role), "search");
    let mut far = Session::of(&elsewhere);
    far.run("BEGIN; INSERT INTO t VALUES (1)");
    trail.run("INSERT INTO t VALUES (1)");
    assert_eq!(shown(&worker.batch(10)), ["insert 1"]);
    let mut near = Session::of(&trail);
    near.run("BEGIN; INSERT INTO t VALUES (2)");
    let waiting = worker
        .lag()
        .waiting_for
        .expect("a transaction that the consumer waits for");
    assert_eq!(waiting.pid, Some(near.pid()));
    near.run("ROLLBACK");
    drop(worker);
    trail.run(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[test]
fn the_feed_installs_no_functions() {
    let trail = captured(TABLE, &["t"]);
    let functions = trail.query_text(
        "SELECT string_agg(proname, ' ') FROM pg_proc \
         WHERE pronamespace = 'threadline'::regnamespace AND proname ~ 'feed'",
    );
    assert_eq!(functions, "NULL");
}

#[test]
fn a_consumer_works_through_pgbouncer_in_transaction_mode() {
    let trail = captured(TABLE, &["t"]);
    let Some(bouncer) = PgBouncer::start() else {
        eprintln!("skipped: PgBouncer is not installed");
        return;
    };
    trail.run("INSERT INTO t VALUES (1), (2), (3), (4)");
    Worker::new(&trail, "search");
    let url = bouncer.url(&trail.query_text("SELECT current_database()"));
    let mut worker = Worker::at(&url, "search");
    let mut other = Worker::at(&url, "search");
    for worker in [&mut worker, &mut other] {
        worker
            .conn
            .set_prepared_statement_cache_size(CacheSize::Disabled);
    }
    for id in 1..=4 {
        let batch = worker.batch(1);
        assert_eq!(shown(&batch), [format!("insert {id}")]);
        worker.renew(&batch).unwrap();
        worker.acknowledge(&batch).unwrap();
        std::mem::swap(&mut worker, &mut other);
    }
}

#[test]
fn a_listener_wakes_on_notification_or_after_its_interval() {
    let trail = captured(TABLE, &["t"]);
    block_on(async {
        let mut listener = Listener::start(trail.connect().await).await.unwrap();
        let mut conn = trail.connect().await;
        // Two notifications before the wait.
        feed::wake(&mut conn).await.unwrap();
        feed::wake(&mut conn).await.unwrap();
        let long = Duration::from_secs(60);
        assert_eq!(listener.wait(long).await.unwrap(), WakeReason::Writer);
        // A write alone does not wake the listener.
        trail.run("INSERT INTO t VALUES (1)");
        let mut short = Duration::from_millis(20);
        // The second notification may arrive separately.
        while listener.wait(short).await.unwrap() == WakeReason::Writer {
            short /= 2;
        }
        feed::wake(&mut conn).await.unwrap();
        assert_eq!(listener.wait(long).await.unwrap(), WakeReason::Writer);
    });
}

#[test]
fn consumers_are_listed_in_order_of_their_names() {
    let trail = captured(TABLE, &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    Worker::new(&trail, "b");
    let mut worker = Worker::new(&trail, "a");
    worker.drain();
    let list = worker
        .runtime
        .block_on(feed::list(&mut worker.conn))
        .unwrap();
    let names: Vec<&str> = list.iter().map(|lag| lag.consumer.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(list[0], worker.lag());
    assert!(list[0].oldest_at.is_none() && list[1].oldest_at.is_some());
    assert_eq!(name("a").as_str(), "a");
}
