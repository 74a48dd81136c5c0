//! Purges beside other sessions, and purges that are killed, stopped, failed or refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel_async::{AnsiTransactionManager, TransactionManager};
use threadline::retention::{
    BatchSize, Expired, Keep, Notice, RetentionError, RetentionPolicy, RunState,
    purge_with_progress,
};

use super::{
    connect, keep, none_unpaired, plan, purge, purge_at, quick, remaining_and_expired,
    trail_with_past_changes, unpaired_counts,
};
use crate::harness::block_on;

#[test]
fn a_purge_killed_repeatedly_removes_exactly_the_expired_rows() {
    let trail = trail_with_past_changes();
    trail.run(
        "SELECT past('orders', 0, 6000, 390, 0, 3), past('sessions', 100000, 6000, 390, 0, 3)",
    );
    let policy = RetentionPolicy::keep(Keep::days(39).unwrap())
        .table("sessions".parse().unwrap(), Keep::days(195).unwrap())
        .enabled()
        .build()
        .unwrap();
    // The lease expires at once, and a run has more steps than it survives.
    let options = quick()
        .batch_size(BatchSize::new(50).unwrap())
        .lease(Duration::ZERO)
        .lock_wait(Duration::from_millis(1));
    let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut killed = 0;
    while killed < 10 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let steps = random % 12;
        let ended = block_on(async {
            let mut conn = trail.connect().await;
            let pid = {
                use diesel_async::RunQueryDsl;
                diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>(
                    "pg_backend_pid()",
                ))
                .get_result::<i32>(&mut conn)
                .await
                .unwrap()
            };
            let mut terminator = Some(connect(&trail));
            let mut seen = 0;
            purge_with_progress(&mut conn, &policy, &options, &mut |_| {
                seen += 1;
                if seen > steps
                    && let Some(mut terminator) = terminator.take()
                {
                    // The backend is terminated at some point of the following steps.
                    thread::spawn(move || {
                        terminator
                            .batch_execute(&format!("SELECT pg_terminate_backend({pid})"))
                            .unwrap();
                    });
                }
            })
            .await
        });
        match ended {
            Ok(outcome) => panic!("the purge ended before it was killed: {outcome:?}"),
            Err(RetentionError::AtWork { .. }) => {} // the killed backend still holds the lease
            Err(error) => {
                assert!(
                    matches!(
                        error,
                        RetentionError::Database(_) | RetentionError::Failed { .. }
                    ),
                    "{error}"
                );
                killed += 1;
            }
        }
    }
    // Cancelled: the future is dropped, and the server may or may not finish the current step.
    block_on(async {
        for millis in [1, 5, 20, 40] {
            let mut conn = trail.connect().await;
            let purge = threadline::retention::purge(&mut conn, &policy, &options);
            let _ = tokio::time::timeout(Duration::from_millis(millis), purge).await;
        }
    });
    let outcome = loop {
        match purge(&trail, &policy, &options) {
            Err(RetentionError::AtWork { .. }) => thread::yield_now(),
            ended => break ended.unwrap(),
        }
    };
    assert_eq!(outcome.run.state, RunState::Completed);
    assert_eq!(remaining_and_expired(&trail, "orders", 39), (600, 0));
    assert_eq!(remaining_and_expired(&trail, "sessions", 195), (3000, 0));
    assert_eq!(unpaired_counts(&trail), none_unpaired());
    // No row is counted twice, and killed runs are marked.
    let counted = trail.query_text("SELECT sum(change_count) FROM threadline.audit_retention_runs");
    assert_eq!(counted, "8400");
    let recorded = trail.query_text("SELECT sum(change_count) FROM threadline.audit_removals");
    assert_eq!(recorded, "8400");
    let states = trail.query_text("SELECT string_agg(DISTINCT state, ' ' ORDER BY state) FROM threadline.audit_retention_runs");
    assert!(
        states.contains("abandoned") && !states.contains("running"),
        "{states}"
    );
}

#[test]
fn dropping_months_does_not_fail_or_block_writers() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 100000, 2000, 390, 41, 2)");
    let is_done = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (trail, is_done) = (&trail, &is_done);
                scope.spawn(move || {
                    let mut conn = connect(trail);
                    // A statement that waits longer for a lock fails.
                    conn.batch_execute("SET lock_timeout = '1s'").unwrap();
                    let mut written = 0;
                    while !is_done.load(Ordering::Relaxed) {
                        let id = writer * 10_000 + written;
                        conn.batch_execute(&format!(
                            "BEGIN; INSERT INTO orders VALUES ({id}, 0); UPDATE orders SET v = 1 WHERE id = {id}; COMMIT"
                        ))
                        .unwrap();
                        written += 1;
                    }
                    written
                })
            })
            .collect();
        let options = quick().lock_attempts(1000);
        let outcome = purge(&trail, &keep(41), &options);
        is_done.store(true, Ordering::Relaxed);
        assert_eq!(outcome.unwrap().run.state, RunState::Completed);
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum::<i32>()
    });
    assert!(written > 0);
    assert_eq!(
        remaining_and_expired(&trail, "orders", 41),
        (i64::from(written) * 2, 0)
    );
    assert_eq!(unpaired_counts(&trail), none_unpaired());
}

#[test]
fn a_partition_locked_by_a_reader_is_left_to_the_next_purge() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 100, 390, 380, 1)");
    let mut reader = connect(&trail);
    reader
        .batch_execute("BEGIN; SELECT count(*) FROM threadline.audit_changes")
        .unwrap();
    let options = quick().lock_attempts(2).lock_wait(Duration::from_millis(5));
    let outcome = purge(&trail, &keep(30), &options).unwrap();
    assert!(!outcome.run.postponed.is_empty());
    assert_eq!((outcome.run.changes, trail.count()), (0, 100));
    reader.batch_execute("COMMIT").unwrap();
    let outcome = purge(&trail, &keep(30), &options).unwrap();
    assert_eq!((outcome.run.changes, trail.count()), (100, 0));
    assert_eq!(outcome.run.postponed, Vec::<String>::new());
}

#[test]
fn a_second_purge_is_refused_while_the_first_holds_the_lease() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 500, 390, 300, 1)");
    let url = trail.url();
    let mut refused = None;
    let outcome = purge_at(&trail.url(), &keep(30), &quick(), &mut |step| {
        if refused.is_none() {
            let other = || purge_at(&url, &keep(30), &quick(), &mut |_| ());
            refused = Some(thread::scope(|scope| scope.spawn(other).join().unwrap()));
            assert!(step.run > 0);
        }
    });
    let first = outcome.unwrap().run;
    match refused.unwrap() {
        Err(RetentionError::AtWork { run, until }) => {
            assert_eq!(run, Some(first.id));
            assert!(until.is_some());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(first.changes, 500);
}

#[test]
fn a_failed_purge_is_recorded_without_values_and_the_next_one_succeeds() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 50, 20, 10, 1)");
    trail.run(
        "CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'row secret-value' USING ERRCODE = 'data_corrupted'; END $$;
         CREATE TRIGGER sabotage BEFORE INSERT ON threadline.audit_removals FOR EACH ROW EXECUTE FUNCTION sabotage()",
    );
    let failed = purge(&trail, &keep(5), &quick());
    let Err(RetentionError::Failed { run, place, error }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(place, "removing changes of public.orders");
    assert!(error.to_string().contains("secret-value"), "{error}");
    let recorded = trail.query_text(&format!(
        "SELECT state || ' ' || change_count || ' ' || (failure = '{place}') || ' ' || (finished_at IS NOT NULL)
         FROM threadline.audit_retention_runs WHERE id = {run}"
    ));
    assert_eq!(recorded, "failed 0 true true");
    assert_eq!(trail.count(), 50);
    trail.run("DROP TRIGGER sabotage ON threadline.audit_removals");
    purge(&trail, &keep(5), &quick()).unwrap();
    assert_eq!(trail.count(), 0);
}

#[test]
fn a_purge_with_a_disabled_policy_or_inside_a_transaction_is_refused() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 50, 390, 380, 1)");
    let disabled = RetentionPolicy::keep(Keep::days(1).unwrap())
        .build()
        .unwrap();
    let refused = purge(&trail, &disabled, &quick());
    assert!(
        matches!(refused, Err(RetentionError::Disabled)),
        "{refused:?}"
    );
    let plan = plan(&trail, &disabled);
    assert!(plan.notices == [Notice::Disabled] && plan.rows(Expired::PartitionOfChanges) == 50);
    let refused = block_on(async {
        let mut conn = trail.connect().await;
        AnsiTransactionManager::begin_transaction(&mut conn)
            .await
            .unwrap();
        purge_with_progress(&mut conn, &keep(1), &quick(), &mut |_| ()).await
    });
    assert!(
        matches!(refused, Err(RetentionError::InTransaction)),
        "{refused:?}"
    );
    assert_eq!(trail.count(), 50);
}

#[test]
fn a_stopped_purge_is_continued_by_the_next_one() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 1000, 20, 10, 1)");
    let options = quick().max_batches(3.try_into().unwrap());
    let run = purge(&trail, &keep(5), &options).unwrap().run;
    assert_eq!((run.state, run.steps), (RunState::Stopped, 3));
    assert!(run.changes <= 300, "{run:?}");
    let rest = purge(&trail, &keep(5), &quick()).unwrap().run;
    assert_eq!(run.changes + rest.changes, 1000);
}
