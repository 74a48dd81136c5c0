//! Creation of partitions ahead of time, and emptying of default partitions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use threadline::retention::PurgeOptions;

use super::{connect, maintain};
use crate::harness::captured;

#[test]
fn readers_see_every_row_while_a_default_partition_is_emptied() {
    let trail = captured(
        "CREATE TABLE orders (id int PRIMARY KEY, v int)",
        &["orders"],
    );
    // Without monthly partitions all rows go to the default partitions.
    trail.run(
        "DO $$ DECLARE part record; BEGIN
            FOR part IN SELECT * FROM threadline.trail_partitions() WHERE from_instant IS NOT NULL LOOP
                EXECUTE 'DROP TABLE ' || part.partition;
            END LOOP; END $$",
    );
    trail.run("INSERT INTO orders SELECT g, 0 FROM generate_series(1, 5000) AS g");
    trail.run(
        "INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name)
         SELECT nextval('threadline.audit_changes_id_seq'), now() - make_interval(days => g % 90), gen_random_uuid(), 'truncate', 'public', 'orders'
         FROM generate_series(1, 3000) AS g",
    );
    let everything = "SELECT md5(string_agg(c::text, '' ORDER BY id)) FROM threadline.audit_changes AS c WHERE id <= 8000";
    let before = trail.query_text(everything);
    let is_done = AtomicBool::new(false);
    let (written, done) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut conn = connect(&trail);
            conn.batch_execute("SET lock_timeout = '3s'").unwrap();
            let mut written = 0;
            while !is_done.load(Ordering::Relaxed) {
                conn.batch_execute("UPDATE orders SET v = v + 1 WHERE id = 1")
                    .unwrap();
                written += 1;
            }
            written
        });
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !is_done.load(Ordering::Relaxed) {
                assert_eq!(
                    trail.query_text(everything),
                    before,
                    "a reader missed a row"
                );
                reads += 1;
            }
            reads
        });
        let options = PurgeOptions::new().lock_attempts(1000);
        let done = maintain(&trail, &options);
        is_done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
        (writer.join().unwrap(), done)
    });
    assert!(
        !done.unfinished && done.moved >= 8000 && done.created >= 14,
        "{done:?}"
    );
    assert_eq!(trail.query_text(everything), before);
    assert_eq!(trail.count(), 8000 + written);
    for table in ["audit_changes", "audit_transactions", "audit_actions"] {
        let left = trail.query_text(&format!("SELECT count(*) FROM threadline.{table}_default"));
        assert_eq!(left, "0", "{table}");
    }
    // The new partitions have the guard triggers.
    let unguarded = trail.query_text(
        "SELECT count(*) FROM threadline.trail_partitions() AS part WHERE NOT EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = part.partition AND tgname = 'guard_truncate')",
    );
    assert_eq!(unguarded, "0");
    assert!(
        trail
            .expect_error("DELETE FROM threadline.audit_changes")
            .contains("append-only")
    );
}

#[test]
fn partitions_are_created_ahead_once() {
    let trail = captured("CREATE TABLE orders (id int PRIMARY KEY)", &["orders"]);
    let empty = "SELECT count(*) FROM threadline.trail_partitions()";
    assert_eq!(trail.query_text(empty), "15");
    let options = PurgeOptions::new().months_ahead(6);
    let done = maintain(&trail, &options);
    assert_eq!((done.created, done.unfinished), (9, false));
    let done = maintain(&trail, &options);
    assert_eq!(done.created, 0);
}

#[test]
fn weekly_and_daily_partitions_follow_monthly_ones_without_a_gap() {
    for (width, form) in [("week", "w[0-9]{2}"), ("day", "[0-9]{2}_[0-9]{2}")] {
        let trail = captured("CREATE TABLE orders (id int PRIMARY KEY)", &["orders"]);
        trail.run(&format!(
            "UPDATE threadline.audit_settings SET partition_width = '{width}'"
        ));
        let done = maintain(&trail, &PurgeOptions::new().months_ahead(5));
        assert!(done.created > 3 * 4 && !done.unfinished, "{done:?}");
        let found = trail.query_text(&format!(
            "SELECT count(*) FILTER (WHERE partition_name ~ '_{form}$') > 4
                 AND count(*) FILTER (WHERE to_instant <> next AND next IS NOT NULL) = 0
                 AND max(to_instant) > now() + interval '5 months'
             FROM (SELECT *, lead(from_instant) OVER (ORDER BY from_instant) AS next
                FROM threadline.trail_partitions() WHERE parent = 'audit_changes' AND to_instant IS NOT NULL) AS part"
        ));
        assert_eq!(found, "t", "{width}");
    }
}

#[test]
fn a_default_partition_in_use_or_over_the_limit_is_left_and_reported() {
    let trail = captured("CREATE TABLE orders (id int PRIMARY KEY)", &["orders"]);
    trail.run(
        "INSERT INTO threadline.audit_changes (captured_at, transaction_id, op, table_schema, table_name)
         SELECT now() - interval '90 days', gen_random_uuid(), 'truncate', 'public', 'orders' FROM generate_series(1, 10)",
    );
    let mut reader = connect(&trail);
    reader
        .batch_execute("BEGIN; SELECT count(*) FROM threadline.audit_changes")
        .unwrap();
    let options = PurgeOptions::new()
        .lock_attempts(2)
        .lock_wait(Duration::from_millis(5));
    let done = maintain(&trail, &options);
    assert_eq!((done.created, done.unfinished), (0, true));
    reader.batch_execute("COMMIT").unwrap();
    assert_eq!(
        trail.query_text("SELECT result FROM threadline.maintain(move_at_most => 9)"),
        "left"
    );
    let done = maintain(&trail, &options);
    assert_eq!((done.created, done.moved, done.unfinished), (1, 10, false));
}
