//! `timeline --follow` ends at the first Ctrl-C.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// A follower of `orders` that has printed a line.
struct Follower {
    process: Child,
    /// Open, so that the follower does not end because its pipe is closed.
    unread: BufReader<ChildStdout>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Follower {
    fn start(database: &Database) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_threadline"))
            .args(["timeline", "--follow", "--ndjson"])
            .env("DATABASE_URL", database.url())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let unread = BufReader::new(process.stdout.take().unwrap());
        let mut follower = Self { process, unread };
        let (stop, stopped) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            // A change before the start of the follower is not printed.
            scope.spawn(move || {
                while stopped.recv_timeout(Duration::from_millis(100)).is_err() {
                    let next = "INSERT INTO orders SELECT COALESCE(max(id), 0) + 1 FROM orders";
                    database.execute_script(next).unwrap();
                }
            });
            let mut line = String::new();
            follower.unread.read_line(&mut line).unwrap();
            assert!(line.contains("insert"), "{line}");
            stop.send(()).unwrap();
        });
        follower
    }

    fn ends_at_ctrl_c(mut self) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(sent.success());
        let deadline = Instant::now() + Duration::from_secs(10);
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it ignores Ctrl-C");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0));
    }
}

fn captured_orders() -> Database {
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    let print = ["gen-triggers", "--tables", "orders", "--print"];
    let sql = out(&threadline(folder.path(), Some(&database), &print));
    database.execute_script(&sql).unwrap();
    database
}

#[test]
fn timeline_follow_ends_at_ctrl_c_while_it_waits() {
    let database = captured_orders();
    let follower = Follower::start(&database);
    std::thread::sleep(Duration::from_millis(300));
    follower.ends_at_ctrl_c();
}

#[test]
fn timeline_follow_ends_at_ctrl_c_during_a_query() {
    let database = captured_orders();
    let follower = Follower::start(&database);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lock = "BEGIN; LOCK TABLE threadline.audit_changes; SELECT pg_sleep(4); COMMIT";
            database.execute_script(lock).unwrap();
        });
        std::thread::sleep(Duration::from_secs(2));
        let waiting = "SELECT count(*)::text FROM pg_stat_activity \
            WHERE wait_event_type = 'Lock' AND datname = current_database()";
        assert_eq!(database.query_text(waiting).unwrap().unwrap(), "1");
        follower.ends_at_ctrl_c();
    });
}

#[test]
fn timeline_follow_ends_at_ctrl_c_while_its_pipe_is_full() {
    let database = captured_orders();
    let follower = Follower::start(&database);
    database
        .execute_script("INSERT INTO orders SELECT n, 'new' FROM generate_series(1000, 2000) AS n")
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    follower.ends_at_ctrl_c();
}
