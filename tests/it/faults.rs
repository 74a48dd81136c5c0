//! Concurrent writers, and a server crash.

use std::thread;

use crate::harness::{captured, start_cluster};
use threadline::install::CaptureMigration;

/// Rounds of each writer.
const ROUNDS: usize = 25;

#[test]
fn changes_of_eight_writers_are_recorded_once_while_capture_is_regenerated() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)",
        &["t"],
    );
    trail.run("INSERT INTO t SELECT g, 0 FROM generate_series(0, 15) AS g");
    let regenerate = CaptureMigration::new([&trail.introspect("t")], |_| None)
        .up()
        .to_owned();
    thread::scope(|scope| {
        for writer in 0..8_usize {
            let trail = &trail;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let (own, shared) = (writer, 8 + round % 8);
                    trail.run(&format!(
                        "UPDATE t SET n = n + 1 WHERE id = {own}; UPDATE t SET n = n + 1 WHERE id = {shared}"
                    ));
                    trail.run(&format!("BEGIN; UPDATE t SET n = n + 1000 WHERE id = {own}; ROLLBACK"));
                }
            });
        }
        let (trail, regenerate) = (&trail, &regenerate);
        scope.spawn(move || {
            for _ in 0..10 {
                trail.run(regenerate);
            }
        });
    });
    let updates =
        trail.query_text("SELECT count(*) FROM threadline.audit_changes WHERE op = 'update'");
    assert_eq!(updates, (8 * ROUNDS * 2).to_string());
    // The images of each row count up by one, without a gap.
    let wrong = trail.query_text(
        "SELECT count(*) FROM (
            SELECT (data_after ->> 'n')::int - lag((data_after ->> 'n')::int) OVER (PARTITION BY row_key ORDER BY id) AS step
            FROM threadline.audit_changes
         ) AS steps WHERE step <> 1",
    );
    assert_eq!(wrong, "0");
}

#[test]
fn the_trail_matches_the_data_after_a_server_crash() {
    let cluster = start_cluster();
    let database = cluster.create_database().unwrap();
    database
        .execute_script(&threadline::install::up_sql())
        .unwrap();
    database
        .execute_script("CREATE TABLE t (id int PRIMARY KEY, n int)")
        .unwrap();
    let table = crate::harness::block_on(async {
        use diesel_async::AsyncConnection;
        let mut conn = diesel_async::AsyncPgConnection::establish(&database.url())
            .await
            .unwrap();
        threadline::introspect(&mut conn, &"t".parse().unwrap())
            .await
            .unwrap()
    });
    database
        .execute_script(CaptureMigration::new([&table], |_| None).up())
        .unwrap();
    database
        .execute_script("INSERT INTO t SELECT g, 0 FROM generate_series(1, 4) AS g")
        .unwrap();
    thread::scope(|scope| {
        for writer in 1..=4 {
            let database = &database;
            scope.spawn(move || {
                for _ in 0..10_000 {
                    let sql = format!("UPDATE t SET n = n + 1 WHERE id = {writer}");
                    if database.execute_script(&sql).is_err() {
                        return; // the server was killed
                    }
                }
            });
        }
        thread::sleep(std::time::Duration::from_millis(700));
        cluster.kill().unwrap();
    });
    cluster.restart().unwrap();
    let disagreeing = database
        .query_text(
            "SELECT count(*) FROM t WHERE n <> (SELECT count(*) FROM threadline.audit_changes AS c \
             WHERE c.op = 'update' AND c.row_key = t.id::text)",
        )
        .unwrap();
    assert_eq!(disagreeing.as_deref(), Some("0"));
    let written = database
        .query_text("SELECT sum(n) FROM t")
        .unwrap()
        .unwrap();
    assert!(written.parse::<u64>().unwrap() > 0);
}
