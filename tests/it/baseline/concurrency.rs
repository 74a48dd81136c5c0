//! Baselines beside writers, and baselines that are killed, stopped or taken over.

use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use diesel_async::{AsyncPgConnection, RunQueryDsl};
use threadline::baseline::{BatchSize, RunState};

use super::{assert_trail_matches_table, capture_start, numbers, record, recorded, small_baseline};
use crate::harness::{Trail, block_on};

#[test]
fn the_trail_matches_the_table_after_a_baseline_beside_four_writers() {
    const ROWS: usize = 600;
    const OPERATIONS: usize = 120;
    let trail = numbers(ROWS);
    let outcome = thread::scope(|scope| {
        for writer in 0..4_usize {
            let trail = &trail;
            scope.spawn(move || {
                for step in 0..OPERATIONS {
                    // Not random, but covers every row and every operation.
                    let key = (step * 37 + writer * 151) % ROWS + 1;
                    let other = (step * 53 + writer * 211) % ROWS + 1;
                    let sql = match (step + writer) % 7 {
                        0 => format!("DELETE FROM t WHERE id = {key}"),
                        1 => format!(
                            "UPDATE t SET id = {} WHERE id = {key}",
                            10_000 + writer * 1000 + step
                        ),
                        2 => format!("INSERT INTO t VALUES ({key}, -1) ON CONFLICT DO NOTHING"),
                        3 => format!("BEGIN; UPDATE t SET n = n + 1000 WHERE id = {key}; ROLLBACK"),
                        4 => format!("UPDATE t SET n = n WHERE id = {key}"),
                        5 => format!("UPDATE t SET n = n + 1 WHERE id IN ({})", key.min(other)),
                        _ => format!(
                            "BEGIN; UPDATE t SET n = n + 1 WHERE id = {}; SELECT pg_sleep(0.005);
                             UPDATE t SET n = n + 1 WHERE id = {}; COMMIT",
                            key.min(other),
                            key.max(other)
                        ),
                    };
                    trail.run(&sql);
                }
            });
        }
        let patient = small_baseline("t").lock_timeout(Duration::from_secs(30));
        recorded(&trail, &patient)
    });
    assert_eq!((outcome.state, outcome.rows_left), (RunState::Finished, 0));
    assert_eq!(capture_start(&trail, "t").rows.unwrap().unknown_count, 0);
    assert_trail_matches_table(&trail, "t");
}

/// Terminates the other sessions of the database that meet a condition.
fn kill_sessions(trail: &Trail, condition: &str) {
    trail.run(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
    ));
}

#[test]
fn a_baseline_killed_between_batches_is_resumed() {
    let trail = numbers(20);
    let mut batches = 0;
    let killed = record(&trail, &small_baseline("t"), |_| {
        batches += 1;
        if batches == 3 {
            kill_sessions(&trail, "true");
        }
        ControlFlow::Continue(())
    });
    assert!(killed.is_err());
    assert_eq!(trail.count(), 9);
    assert_eq!(
        capture_start(&trail, "t").baseline.unwrap().state,
        RunState::Running
    );
    trail.run("UPDATE t SET n = n + 1 WHERE id % 2 = 0");
    let outcome = recorded(&trail, &small_baseline("t"));
    assert_eq!(
        (outcome.continues, outcome.state),
        (Some(1), RunState::Finished)
    );
    assert_eq!(
        outcome.rows_seen, 11,
        "the run continues after the last committed batch"
    );
    let state = trail.query_text("SELECT state FROM threadline.audit_baseline_runs WHERE id = 1");
    assert_eq!(state, "interrupted");
    assert_eq!(capture_start(&trail, "t").rows.unwrap().unknown_count, 0);
    assert_trail_matches_table(&trail, "t");
}

#[test]
fn a_baseline_killed_inside_a_batch_rolls_the_batch_back() {
    let trail = numbers(10);
    block_on(async {
        let mut holder = trail.connect().await;
        diesel::sql_query("BEGIN")
            .execute(&mut holder)
            .await
            .unwrap();
        diesel::sql_query("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            .execute(&mut holder)
            .await
            .unwrap();
        thread::scope(|scope| {
            let running =
                scope.spawn(|| record(&trail, &small_baseline("t"), |_| ControlFlow::Continue(())));
            let waiting = "wait_event_type = 'Lock' AND query LIKE 'WITH page AS MATERIALIZED%'";
            let waits = format!(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND {waiting}"
            );
            while trail.query_text(&waits) == "0" {
                thread::yield_now();
            }
            kill_sessions(&trail, waiting);
            assert!(running.join().unwrap().is_err());
        });
    });
    assert_eq!(trail.count(), 0);
    let outcome = recorded(&trail, &small_baseline("t"));
    assert_eq!((outcome.continues, outcome.rows_recorded), (Some(1), 10));
    assert_trail_matches_table(&trail, "t");
}

#[test]
fn a_baseline_stopped_by_its_callback_is_resumed_after_the_last_batch() {
    let trail = numbers(10);
    let outcome = record(&trail, &small_baseline("t"), |_| ControlFlow::Break(())).unwrap();
    assert_eq!(
        (outcome.state, outcome.rows_recorded),
        (RunState::Stopped, 3)
    );
    let outcome = recorded(&trail, &small_baseline("t"));
    assert_eq!((outcome.state, outcome.rows_seen), (RunState::Finished, 7));
    assert_eq!(trail.count(), 10);
}

#[test]
fn a_resumed_baseline_starts_over_after_a_suspension() {
    let trail = numbers(10);
    record(&trail, &small_baseline("t"), |_| ControlFlow::Break(())).unwrap();
    trail.run("SELECT threadline.suspend_capture('{t}', 'restore'); INSERT INTO t VALUES (0, 9)");
    let outcome = recorded(&trail, &small_baseline("t"));
    assert_eq!((outcome.continues, outcome.rows_recorded), (Some(1), 8));
    assert!(capture_start(&trail, "t").is_unbroken());
}

/// A session with an open transaction that ran `sql`.
async fn session_in(trail: &Trail, sql: &str) -> AsyncPgConnection {
    let mut conn = trail.connect().await;
    diesel::sql_query("BEGIN").execute(&mut conn).await.unwrap();
    diesel::sql_query(sql).execute(&mut conn).await.unwrap();
    conn
}

#[test]
fn locked_rows_are_skipped_and_recorded_by_the_next_run() {
    let trail = numbers(10);
    block_on(async {
        let mut holder = session_in(&trail, "SELECT FROM t WHERE id = 5 FOR UPDATE").await;
        let outcome = recorded(&trail, &small_baseline("t"));
        assert_eq!(
            (outcome.state, outcome.rows_recorded, outcome.rows_left),
            (RunState::Stopped, 9, 1)
        );
        diesel::sql_query("COMMIT")
            .execute(&mut holder)
            .await
            .unwrap();
    });
    let outcome = recorded(&trail, &small_baseline("t"));
    assert_eq!(
        (outcome.state, outcome.rows_recorded),
        (RunState::Finished, 1)
    );
    assert_trail_matches_table(&trail, "t");
}

#[test]
fn a_concurrently_changed_row_is_captured_or_recorded_as_baseline_but_not_both() {
    for (ending, expected) in [
        (
            "COMMIT",
            ["update t 2", "delete t 5", "update t 100"].as_slice(),
        ),
        ("ROLLBACK", [].as_slice()),
    ] {
        let trail = numbers(9);
        block_on(async {
            let mut writer = session_in(&trail, "UPDATE t SET n = 7 WHERE id = 2").await;
            for sql in [
                "DELETE FROM t WHERE id = 5",
                "UPDATE t SET id = 100 WHERE id = 8",
            ] {
                diesel::sql_query(sql).execute(&mut writer).await.unwrap();
            }
            let mut conn = trail.connect().await;
            let baseline = small_baseline("t").lock_timeout(Duration::from_secs(30));
            let (done, finish) = (
                std::cell::Cell::new(false),
                std::cell::Cell::new(Some(writer)),
            );
            let outcome = threadline::record_baseline(&mut conn, &baseline, |progress| {
                // The other rows are done. The writer ends its transaction while the baseline waits for the
                // locked rows.
                if progress.rows_seen == 9 && !done.replace(true) {
                    let mut writer = finish.take().unwrap();
                    let ending = ending.to_owned();
                    thread::spawn(move || {
                        block_on(async move {
                            diesel::sql_query(ending)
                                .execute(&mut writer)
                                .await
                                .unwrap();
                        });
                    });
                }
                ControlFlow::Continue(())
            })
            .await
            .unwrap();
            assert_eq!(
                (outcome.state, outcome.rows_left),
                (RunState::Finished, 0),
                "{ending}"
            );
        });
        let captured: Vec<_> = trail
            .events()
            .into_iter()
            .filter(|event| !event.starts_with("baseline"))
            .collect();
        assert_eq!(captured, expected);
        let baselines =
            trail.query_text("SELECT count(*) FROM threadline.audit_changes WHERE op = 'baseline'");
        assert_eq!(baselines, if ending == "COMMIT" { "6" } else { "9" });
        assert_trail_matches_table(&trail, "t");
    }
}

#[test]
fn a_baseline_does_not_deadlock_with_a_writer() {
    // The writer and the baseline lock two rows in opposite order. If the baseline held its lock
    // while it waited, this would be a deadlock.
    let trail = numbers(4);
    block_on(async {
        let mut writer = session_in(&trail, "UPDATE t SET n = 1 WHERE id = 4").await;
        recorded(
            &trail,
            &small_baseline("t").batch_size(BatchSize::new(4).unwrap()),
        );
        diesel::sql_query("UPDATE t SET n = 1 WHERE id = 1")
            .execute(&mut writer)
            .await
            .unwrap();
        diesel::sql_query("COMMIT")
            .execute(&mut writer)
            .await
            .unwrap();
    });
    assert_eq!(
        recorded(&trail, &small_baseline("t")).state,
        RunState::Finished
    );
    assert_trail_matches_table(&trail, "t");
}

#[test]
fn a_run_taken_over_by_another_run_fails() {
    let trail = numbers(10);
    let mut begun = false;
    let first = record(&trail, &small_baseline("t"), |_| {
        if !std::mem::replace(&mut begun, true) {
            recorded(&trail, &small_baseline("t"));
        }
        ControlFlow::Continue(())
    });
    let error = first.unwrap_err().to_string();
    assert!(
        error.contains("baseline run 1 is not running: it is interrupted"),
        "{error}"
    );
    assert_eq!(trail.count(), 10);
    assert_trail_matches_table(&trail, "t");
}
