//! A follower returns each change once, whenever its transaction commits.

use diesel_async::SimpleAsyncConnection;
use threadline::follow::{Follow, changes_since, follow_start};
use threadline::prelude::*;

use crate::harness::{block_on, captured};

async fn read_keys(follow: &mut Follow, conn: &mut diesel_async::AsyncPgConnection) -> Vec<String> {
    let entries = follow.read_new(conn).await.unwrap();
    entries
        .iter()
        .map(|entry| entry.change.shown_key())
        .collect()
}

#[test]
fn a_change_that_commits_late_is_returned_once() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    block_on(async {
        let conn = &mut trail.connect().await;
        let mut late = trail.connect().await;
        late.batch_execute("BEGIN; INSERT INTO t VALUES (2)")
            .await
            .unwrap();
        let mut follow = Follow::start(conn, Timeline::new()).await.unwrap();
        assert!(follow.sees_all_transactions());
        let none: [&str; 0] = [];
        assert_eq!(read_keys(&mut follow, conn).await, none);
        trail.run("INSERT INTO t VALUES (3)");
        assert_eq!(read_keys(&mut follow, conn).await, ["3"]);
        late.batch_execute("COMMIT").await.unwrap();
        assert_eq!(read_keys(&mut follow, conn).await, ["2"]);
        assert_eq!(read_keys(&mut follow, conn).await, none);
    });
}

#[test]
fn steps_without_state_lose_no_late_commit() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    block_on(async {
        let conn = &mut trail.connect().await;
        let mut late = trail.connect().await;
        late.batch_execute("BEGIN; INSERT INTO t VALUES (2)")
            .await
            .unwrap();
        let query = Timeline::new();
        let mut from = follow_start(conn).await.unwrap();
        let page = threadline::timeline(conn, &query).await.unwrap();
        let mut seen: Vec<_> = page.entries.iter().map(|entry| entry.change.id).collect();
        let mut received = Vec::new();
        for sql in ["INSERT INTO t VALUES (3)", "INSERT INTO t VALUES (4)", ""] {
            trail.run(sql);
            if sql.is_empty() {
                late.batch_execute("COMMIT").await.unwrap();
            }
            let step = changes_since(conn, &query, from).await.unwrap();
            assert!(step.sees_all);
            assert!(step.next_from >= from);
            from = step.next_from;
            for entry in step.entries {
                if !seen.contains(&entry.change.id) {
                    seen.push(entry.change.id);
                    received.push(entry.change.shown_key());
                }
            }
        }
        assert_eq!(received, ["3", "4", "2"]);
    });
}

#[test]
fn a_transaction_that_takes_its_xid_late_repeats_no_changes() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    block_on(async {
        let conn = &mut trail.connect().await;
        let mut late = trail.connect().await;
        late.batch_execute("BEGIN; SELECT 1").await.unwrap();
        trail.run("INSERT INTO t VALUES (1)");
        let mut follow = Follow::start(conn, Timeline::new()).await.unwrap();
        let none: [&str; 0] = [];
        assert_eq!(read_keys(&mut follow, conn).await, none);
        late.batch_execute("INSERT INTO t VALUES (2)")
            .await
            .unwrap();
        assert_eq!(read_keys(&mut follow, conn).await, none);
        assert_eq!(read_keys(&mut follow, conn).await, none);
        late.batch_execute("COMMIT").await.unwrap();
        assert_eq!(read_keys(&mut follow, conn).await, ["2"]);
    });
}

#[test]
fn a_follower_without_pg_read_all_stats_reports_that_it_may_miss_changes() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    let role = format!(
        "follower_{}",
        trail.query_text("SELECT current_database()::text")
    );
    trail.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA threadline TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO {role}"
    ));
    block_on(async {
        use diesel_async::AsyncConnection;

        let url = trail.url_as(&role);
        let conn = &mut diesel_async::AsyncPgConnection::establish(&url)
            .await
            .unwrap();
        let mut follow = Follow::start(conn, Timeline::new()).await.unwrap();
        assert!(!follow.sees_all_transactions());
        trail.run("INSERT INTO t VALUES (1)");
        assert_eq!(read_keys(&mut follow, conn).await, ["1"]);
    });
    trail.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
