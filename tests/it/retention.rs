//! What is expired goes, and nothing else: by partitions and by batches, also when it is killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use diesel::connection::{CacheSize, Connection, SimpleConnection};
use diesel::pg::PgConnection;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline::retention::{
    BatchSize, Expired, Keep, LastImages, Notice, PurgeOptions, RetentionError, RetentionPolicy,
    RetentionWorker, RunState,
};
use threadline::{blocking, nonblocking};

use crate::harness::{Trail, block_on, captured};

/// A policy that keeps changes for so many days.
fn keep(days: u32) -> RetentionPolicy {
    RetentionPolicy::keep(Keep::days(days).unwrap())
        .enabled()
        .build()
        .unwrap()
}

/// Options that do not rest, in small batches.
fn quick() -> PurgeOptions {
    PurgeOptions::new()
        .pause(Duration::ZERO)
        .batch_size(BatchSize::new(100).unwrap())
}

fn connect(trail: &Trail) -> PgConnection {
    PgConnection::establish(&trail.url()).unwrap()
}

/// An empty trail with a way to record the past: `past(table, first id of rows, how many changes,
/// days ago of the first, days ago of the last, changes a transaction)`. Each row changes once.
fn trail_with_a_past() -> Trail {
    let trail = captured(
        "CREATE TABLE orders (id int PRIMARY KEY, v int); CREATE TABLE sessions (id int PRIMARY KEY)",
        &["orders", "sessions"],
    );
    trail.run("SELECT threadline.create_partitions(now() - interval '400 days', 12)");
    trail.run(
        "CREATE FUNCTION past(of_table text, first_row int, n int, from_days float8, to_days float8, per_tx int)
         RETURNS void LANGUAGE sql AS $$
            WITH step AS (
                SELECT i, now() - make_interval(secs => 86400 * (from_days + (to_days - from_days) * (i + 0.5) / n)) AS at,
                    now() - make_interval(secs => 86400 * (from_days + (to_days - from_days) * (i - i % per_tx + 0.5) / n)) AS began
                FROM generate_series(0, n - 1) AS i
            ), identified AS (
                SELECT *, encode(timestamptz_send(began) || int8send(first_row + i / per_tx), 'hex')::uuid AS transaction_id
                FROM step
            ), transactions AS (
                INSERT INTO threadline.audit_transactions (id, occurred_at, xid, backend_pid, db_user)
                SELECT DISTINCT transaction_id, began, '1'::xid8, 1, 'app' FROM identified
            )
            INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name, row_key, table_pk, data_after)
            SELECT nextval('threadline.audit_changes_id_seq'), at, transaction_id, 'insert', 'public', of_table,
                (first_row + i)::text, jsonb_build_object('id', (first_row + i)::text), jsonb_build_object('id', first_row + i)
            FROM identified ORDER BY i
         $$",
    );
    trail
}

/// What is left of a table: how many changes, and how many that should be gone.
fn left(trail: &Trail, table: &str, days: u32) -> (i64, i64) {
    let count = |condition: String| -> i64 {
        trail
            .ask(&format!(
                "SELECT count(*) FROM threadline.audit_changes WHERE table_name = '{table}' AND {condition}"
            ))
            .parse()
            .unwrap()
    };
    let cutoff = format!("captured_at < now() - interval '{days} days'");
    (count("true".to_owned()), count(cutoff))
}

/// Transactions without a change, and changes without a transaction.
fn unpaired(trail: &Trail) -> (String, String) {
    (
        trail.ask("SELECT count(*) FROM threadline.audit_transactions AS t WHERE NOT EXISTS (SELECT FROM threadline.audit_changes AS c WHERE c.transaction_id = t.id)"),
        trail.ask("SELECT count(*) FROM threadline.audit_changes AS c WHERE NOT EXISTS (SELECT FROM threadline.audit_transactions AS t WHERE c.transaction_id = t.id)"),
    )
}

fn nothing_unpaired() -> (String, String) {
    ("0".to_owned(), "0".to_owned())
}

fn partitions(trail: &Trail, parent: &str) -> i64 {
    trail
        .ask(&format!(
            "SELECT count(*) FROM threadline.trail_partitions() WHERE parent = '{parent}' AND to_instant < now() - interval '40 days'"
        ))
        .parse()
        .unwrap()
}

#[test]
fn keys_that_rows_had_are_kept_no_longer_than_the_changes_that_gave_them() {
    let trail = trail_with_a_past();
    trail.run(
        "INSERT INTO orders VALUES (1, 1); UPDATE orders SET id = 2;
         INSERT INTO sessions VALUES (1); UPDATE sessions SET id = 2;
         INSERT INTO threadline.audit_renames
         SELECT change_id - 1000, captured_at - interval '60 days', transaction_id, table_schema,
             table_name, row_key, previous_key
         FROM threadline.audit_renames",
    );
    let policy = RetentionPolicy::keep(Keep::days(30).unwrap())
        .table("public.sessions".parse().unwrap(), Keep::days(90).unwrap())
        .enabled()
        .build()
        .unwrap();
    blocking::purge(&mut connect(&trail), &policy, &quick()).unwrap();
    let left = "SELECT string_agg(table_name || ' ' || (captured_at < now() - interval '1 day'), ', ' \
                ORDER BY captured_at, table_name) FROM threadline.audit_renames";
    assert_eq!(
        trail.ask(left),
        "sessions true, orders false, sessions false"
    );
}

#[test]
fn expired_months_are_dropped_and_the_rest_goes_by_batches() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 3900, 390, 0, 3)");
    let before = partitions(&trail, "audit_changes");
    let plan = blocking::plan_retention(&mut connect(&trail), &keep(45)).unwrap();
    let outcome = blocking::purge(&mut connect(&trail), &keep(45), &quick()).unwrap();
    let run = &outcome.run;
    assert_eq!(run.state, RunState::Completed);
    assert_eq!(left(&trail, "orders", 45), (450, 0));
    assert_eq!(unpaired(&trail), nothing_unpaired());
    assert_eq!((run.changes, run.transactions), (3450, 1150));
    assert!(run.partitions > 30, "{run:?}");
    assert!(before > 10 && partitions(&trail, "audit_changes") < 2);
    assert!(partitions(&trail, "audit_transactions") < 2);
    // The plan said so, and so do the records of what was removed.
    assert_eq!(
        plan.rows(Expired::PartitionOfChanges) + plan.rows(Expired::Changes),
        3450
    );
    assert_eq!(plan.rows(Expired::Transactions), 1150);
    assert!(plan.rows(Expired::Changes) < 900, "{plan:?}");
    let recorded = trail.ask(
        "SELECT sum(change_count) || ' ' || sum((scope ->> 'transactions')::int) FROM threadline.audit_removals",
    );
    assert_eq!(recorded, "3450 1150");
    // The horizon is honest.
    let horizon = blocking::audit_horizon(&mut connect(&trail), &"orders".parse().unwrap());
    assert_eq!(
        horizon.unwrap(),
        plan.horizons().into_values().next().map(|_| {
            let cutoff =
                trail.ask("SELECT cutoffs ->> 'changes' FROM threadline.audit_retention_runs");
            cutoff.parse().unwrap()
        })
    );
    // A second purge finds next to nothing.
    let again = blocking::purge(&mut connect(&trail), &keep(45), &quick()).unwrap();
    assert!(again.run.changes <= 1, "{again:?}");
    let runs = blocking::retention_runs(&mut connect(&trail), 10).unwrap();
    assert_eq!((runs.len(), runs[1].changes), (2, 3450));
}

#[test]
fn a_table_can_be_kept_longer_or_shorter_than_the_rest() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 390, 390, 0, 2), past('sessions', 10000, 390, 390, 0, 2), past('users', 20000, 390, 390, 0, 2)");
    // One transaction that changed both, long ago: it stays for the change that stays.
    trail.run(
        "INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name)
         SELECT nextval('threadline.audit_changes_id_seq'), captured_at, transaction_id, 'truncate', 'public', 'orders'
         FROM threadline.audit_changes WHERE table_name = 'sessions' ORDER BY id LIMIT 1",
    );
    let policy = RetentionPolicy::keep(Keep::days(100).unwrap())
        .table("orders".parse().unwrap(), Keep::FOREVER)
        .table("sessions".parse().unwrap(), Keep::days(10).unwrap())
        .enabled()
        .build()
        .unwrap();
    let outcome = block_on(async {
        nonblocking::purge(&mut trail.connect().await, &policy, &quick())
            .await
            .unwrap()
    });
    assert_eq!(outcome.run.state, RunState::Completed);
    assert_eq!(left(&trail, "orders", 100).0, 391);
    assert_eq!(left(&trail, "sessions", 10), (10, 0));
    assert_eq!(left(&trail, "users", 100), (100, 0));
    assert_eq!(unpaired(&trail), nothing_unpaired());
}

#[test]
fn transactions_that_went_on_past_a_months_end_stay_as_long_as_their_changes() {
    let trail = trail_with_a_past();
    // A transaction that began at a month's end, with a change in each of two months.
    trail.run(
        "WITH month AS (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '3 months' AS at),
         recorded AS (
            INSERT INTO threadline.audit_transactions (id, occurred_at, xid, backend_pid, db_user)
            SELECT encode(timestamptz_send(at - interval '1 hour') || int8send(n), 'hex')::uuid, at, '1'::xid8, 1, 'app'
            FROM month, generate_series(1, 2) AS n RETURNING id
         )
         INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name)
         SELECT nextval('threadline.audit_changes_id_seq'), CASE WHEN later THEN at + interval '1 hour' ELSE at - interval '30 minutes' END,
            recorded.id, 'truncate', 'public', 'orders'
         FROM month, recorded, (VALUES (false), (true)) AS v (later)
         WHERE NOT later OR recorded.id::text LIKE '%1'",
    );
    // Expired is all of the first month and nothing of the second.
    let hours = trail.ask(
        "SELECT ceil(EXTRACT(EPOCH FROM now() - (date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '3 months')) / 3600) - 1",
    );
    let policy = |hours: u32| {
        RetentionPolicy::keep(Keep::hours(hours).unwrap())
            .enabled()
            .build()
            .unwrap()
    };
    let hours: u32 = hours.parse().unwrap();
    blocking::purge(&mut connect(&trail), &policy(hours), &quick()).unwrap();
    assert_eq!((trail.count(), trail.transactions()), (1, 1));
    assert_eq!(unpaired(&trail), nothing_unpaired());
    blocking::purge(&mut connect(&trail), &policy(hours - 48), &quick()).unwrap();
    assert_eq!((trail.count(), trail.transactions()), (0, 0));
}

#[test]
fn transactions_and_actions_can_be_kept_for_a_time_of_their_own() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 390, 390, 0, 1)");
    trail.run(
        "INSERT INTO threadline.audit_actions (id, transaction_id, recorded_at, name, status)
         SELECT @id@, gen_random_uuid(), at, 'login', 'ok'
         FROM generate_series(now() - interval '389.5 days', now(), interval '1 day') AS at"
            .replace("@id@", "(substr(threadline.action_id_from(at)::text, 1, 13) || substr(gen_random_uuid()::text, 14))::uuid")
            .as_str(),
    );
    let policy = RetentionPolicy::keep(Keep::days(50).unwrap())
        .transactions(Keep::days(200).unwrap())
        .actions(Keep::days(100).unwrap())
        .enabled()
        .build()
        .unwrap();
    let run = blocking::purge(&mut connect(&trail), &policy, &quick())
        .unwrap()
        .run;
    assert_eq!(trail.count(), 50);
    assert_eq!(
        trail.ask("SELECT count(*) FROM threadline.audit_actions"),
        "100"
    );
    assert_eq!(run.actions, 290);
    // Transactions go by whole months of what is expired.
    let transactions = trail.transactions();
    assert!((200..232).contains(&transactions), "{transactions}");
}

#[test]
fn a_purge_that_is_killed_again_and_again_ends_with_exactly_the_right_rows() {
    let trail = trail_with_a_past();
    trail.run(
        "SELECT past('orders', 0, 6000, 390, 0, 3), past('sessions', 100000, 6000, 390, 0, 3)",
    );
    let policy = RetentionPolicy::keep(Keep::days(39).unwrap())
        .table("sessions".parse().unwrap(), Keep::days(195).unwrap())
        .enabled()
        .build()
        .unwrap();
    // A lease that has run out when the next one begins, and more steps than are lived through.
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
        let mut conn = connect(&trail);
        let pid = {
            use diesel::RunQueryDsl;
            diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>(
                "pg_backend_pid()",
            ))
            .get_result::<i32>(&mut conn)
            .unwrap()
        };
        let mut terminator = Some(connect(&trail));
        let mut seen = 0;
        let ended = blocking::purge_watched(&mut conn, &policy, &options, &mut |_| {
            seen += 1;
            if seen > steps
                && let Some(mut terminator) = terminator.take()
            {
                // Somewhere in what follows.
                thread::spawn(move || {
                    terminator
                        .batch_execute(&format!("SELECT pg_terminate_backend({pid})"))
                        .unwrap();
                });
            }
        });
        match ended {
            Ok(outcome) => panic!("it outlived its killers: {outcome:?}"),
            Err(RetentionError::AtWork { .. }) => {} // its step has not noticed yet
            Err(error) => {
                assert!(matches!(error, RetentionError::Database(_)), "{error}");
                killed += 1;
            }
        }
    }
    // Dropped half-way: the future goes, the step it waits for is finished or not by the server.
    block_on(async {
        for millis in [1, 5, 20, 40] {
            let mut conn = trail.connect().await;
            let purge = nonblocking::purge(&mut conn, &policy, &options);
            let _ = tokio::time::timeout(Duration::from_millis(millis), purge).await;
        }
    });
    let outcome = loop {
        match blocking::purge(&mut connect(&trail), &policy, &options) {
            Err(RetentionError::AtWork { .. }) => thread::yield_now(),
            ended => break ended.unwrap(),
        }
    };
    assert_eq!(outcome.run.state, RunState::Completed);
    assert_eq!(left(&trail, "orders", 39), (600, 0));
    assert_eq!(left(&trail, "sessions", 195), (3000, 0));
    assert_eq!(unpaired(&trail), nothing_unpaired());
    // Nothing was counted twice, and those that died are marked.
    let counted = trail.ask("SELECT sum(change_count) FROM threadline.audit_retention_runs");
    assert_eq!(counted, "8400");
    let recorded = trail.ask("SELECT sum(change_count) FROM threadline.audit_removals");
    assert_eq!(recorded, "8400");
    let states = trail.ask("SELECT string_agg(DISTINCT state, ' ' ORDER BY state) FROM threadline.audit_retention_runs");
    assert!(
        states.contains("abandoned") && !states.contains("running"),
        "{states}"
    );
}

#[test]
fn writers_see_no_error_and_never_wait_long_while_months_are_dropped() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 100000, 2000, 390, 41, 2)");
    let is_done = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (trail, is_done) = (&trail, &is_done);
                scope.spawn(move || {
                    let mut conn = connect(trail);
                    // Anything that waits for a lock longer than this fails.
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
        let outcome = blocking::purge(&mut connect(&trail), &keep(41), &options);
        is_done.store(true, Ordering::Relaxed);
        assert_eq!(outcome.unwrap().run.state, RunState::Completed);
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum::<i32>()
    });
    assert!(written > 0);
    assert_eq!(left(&trail, "orders", 41), (i64::from(written) * 2, 0));
    assert_eq!(unpaired(&trail), nothing_unpaired());
}

#[test]
fn a_partition_that_is_in_use_is_left_to_the_next_purge() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 100, 390, 380, 1)");
    let mut reader = connect(&trail);
    reader
        .batch_execute("BEGIN; SELECT count(*) FROM threadline.audit_changes")
        .unwrap();
    let options = quick().lock_attempts(2).lock_wait(Duration::from_millis(5));
    let outcome = blocking::purge(&mut connect(&trail), &keep(30), &options).unwrap();
    assert!(!outcome.run.postponed.is_empty());
    assert_eq!((outcome.run.changes, trail.count()), (0, 100));
    reader.batch_execute("COMMIT").unwrap();
    let outcome = blocking::purge(&mut connect(&trail), &keep(30), &options).unwrap();
    assert_eq!((outcome.run.changes, trail.count()), (100, 0));
    assert_eq!(outcome.run.postponed, Vec::<String>::new());
}

#[test]
fn one_purge_at_a_time_is_at_work() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 500, 390, 300, 1)");
    let url = trail.url();
    let mut refused = None;
    let mut conn = connect(&trail);
    let outcome = blocking::purge_watched(&mut conn, &keep(30), &quick(), &mut |step| {
        if refused.is_none() {
            let mut other = PgConnection::establish(&url).unwrap();
            refused = Some(blocking::purge(&mut other, &keep(30), &quick()));
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
fn a_failure_is_recorded_without_values_and_the_next_purge_goes_on() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 50, 20, 10, 1)");
    trail.run(
        "CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'row secret-value' USING ERRCODE = 'data_corrupted'; END $$;
         CREATE TRIGGER sabotage BEFORE INSERT ON threadline.audit_removals FOR EACH ROW EXECUTE FUNCTION sabotage()",
    );
    let failed = blocking::purge(&mut connect(&trail), &keep(5), &quick());
    let Err(RetentionError::Failed { run, failure }) = failed else {
        panic!("{failed:?}");
    };
    assert!(
        failure.starts_with("XX001 at") && !failure.contains("secret"),
        "{failure}"
    );
    let recorded = trail.ask(&format!(
        "SELECT state || ' ' || change_count || ' ' || (failure = '{failure}') || ' ' || (finished_at IS NOT NULL)
         FROM threadline.audit_retention_runs WHERE id = {run}"
    ));
    assert_eq!(recorded, "failed 0 true true");
    assert_eq!(trail.count(), 50);
    trail.run("DROP TRIGGER sabotage ON threadline.audit_removals");
    blocking::purge(&mut connect(&trail), &keep(5), &quick()).unwrap();
    assert_eq!(trail.count(), 0);
}

#[test]
fn what_is_not_enabled_or_inside_a_transaction_removes_nothing() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 50, 390, 380, 1)");
    let disabled = RetentionPolicy::keep(Keep::days(1).unwrap())
        .build()
        .unwrap();
    let mut conn = connect(&trail);
    let refused = blocking::purge(&mut conn, &disabled, &quick());
    assert!(
        matches!(refused, Err(RetentionError::Disabled)),
        "{refused:?}"
    );
    let plan = blocking::plan_retention(&mut conn, &disabled).unwrap();
    assert!(plan.notices == [Notice::Disabled] && plan.rows(Expired::PartitionOfChanges) == 50);
    let refused = conn.transaction(|conn| blocking::purge(conn, &keep(1), &quick()));
    assert!(
        matches!(refused, Err(RetentionError::InTransaction)),
        "{refused:?}"
    );
    assert!(
        trail
            .refused(
                "SELECT * FROM threadline.begin_purge('{\"changes\": {\"days\": 1}}', '1 minute')"
            )
            .contains("not enabled")
    );
    assert_eq!(trail.count(), 50);
}

#[test]
fn a_stopped_purge_is_gone_on_with() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 1000, 20, 10, 1)");
    let options = quick().max_batches(3.try_into().unwrap());
    let run = blocking::purge(&mut connect(&trail), &keep(5), &options)
        .unwrap()
        .run;
    assert_eq!((run.state, run.steps), (RunState::Stopped, 3));
    assert!(run.changes <= 300, "{run:?}");
    let rest = blocking::purge(&mut connect(&trail), &keep(5), &quick())
        .unwrap()
        .run;
    assert_eq!(run.changes + rest.changes, 1000);
}

#[test]
fn last_images_of_rows_stay_as_baselines() {
    let trail = trail_with_a_past();
    // Rows 0..99 inserted long ago; 0..49 updated later (50..59 in delta form), 60..69 deleted,
    // 70..79 moved to another key, all expired; 0..9 updated again lately.
    trail.run("SELECT past('orders', 0, 100, 300, 299, 1)");
    let change = |days: i32,
                  op: &str,
                  key: &str,
                  previous: &str,
                  after: &str,
                  from: &str,
                  rows: &str| {
        trail.run(&format!(
            "WITH row AS (SELECT i, now() - interval '{days} days' AS at FROM generate_series({rows}) AS i),
             recorded AS (INSERT INTO threadline.audit_transactions (id, occurred_at, xid, backend_pid, db_user)
                SELECT encode(timestamptz_send(at) || int8send(i + 5000 * {days}), 'hex')::uuid, at, '1'::xid8, 1, 'app' FROM row)
             INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name, row_key, previous_key, data_after, changed_from)
             SELECT nextval('threadline.audit_changes_id_seq'), at, encode(timestamptz_send(at) || int8send(i + 5000 * {days}), 'hex')::uuid,
                '{op}', 'public', 'orders', {key}, {previous}, {after}, {from} FROM row"
        ));
    };
    let full = "jsonb_build_object('id', i, 'v', 1)";
    change(
        200,
        "update",
        "i::text",
        "NULL",
        full,
        "'{\"v\": 0}'",
        "0, 49",
    );
    change(
        200,
        "update",
        "i::text",
        "NULL",
        "'{\"v\": 2}'",
        "'{\"v\": 0}'",
        "50, 59",
    );
    change(
        150,
        "update",
        "i::text",
        "NULL",
        "'{\"w\": 3}'",
        "'{\"w\": 0}'",
        "50, 59",
    );
    change(200, "delete", "i::text", "NULL", "NULL", full, "60, 69");
    change(
        200,
        "update",
        "(i + 1000)::text",
        "i::text",
        "jsonb_build_object('id', i + 1000)",
        "jsonb_build_object('id', i)",
        "70, 79",
    );
    change(
        20,
        "update",
        "i::text",
        "NULL",
        "jsonb_build_object('id', i, 'v', 9)",
        "'{\"v\": 1}'",
        "0, 9",
    );
    let policy = RetentionPolicy::keep(Keep::days(100).unwrap())
        .last_images(LastImages::Kept)
        .enabled()
        .build()
        .unwrap();
    let run = blocking::purge(&mut connect(&trail), &policy, &quick())
        .unwrap()
        .run;
    assert_eq!(run.state, RunState::Completed);
    let kept = trail.ask(
        "SELECT string_agg(op || ' ' || n, ', ' ORDER BY op) FROM (SELECT op, count(*) AS n FROM threadline.audit_changes GROUP BY 1) AS c",
    );
    assert_eq!(kept, "baseline 90, update 10");
    let image = |key: &str| {
        trail.ask(&format!(
            "SELECT op || ' ' || data_after FROM threadline.audit_changes WHERE row_key = '{key}' ORDER BY id LIMIT 1"
        ))
    };
    assert_eq!(image("5"), r#"baseline {"v": 1, "id": 5}"#);
    assert_eq!(image("55"), r#"baseline {"v": 2, "w": 3, "id": 55}"#);
    assert_eq!(image("75"), "NULL");
    assert_eq!(image("1075"), r#"baseline {"id": 1075}"#);
    assert_eq!(image("95"), r#"baseline {"id": 95}"#);
    assert_eq!((run.changes, run.baselines), (100, 90));
    assert_eq!(unpaired(&trail), nothing_unpaired());
    // Again, nothing changes.
    let again = blocking::purge(&mut connect(&trail), &policy, &quick())
        .unwrap()
        .run;
    assert_eq!((again.changes, again.baselines), (0, 0));
}

/// A step that made baselines, removed nothing and came to a month to be dropped forgot them.
#[test]
fn baselines_are_counted_where_nothing_was_removed_before_a_month_is_dropped() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 10, 300, 299, 1)");
    trail.run("SELECT past('orders', 10, 10, 200, 199, 1)");
    let policy = RetentionPolicy::keep(Keep::days(100).unwrap())
        .last_images(LastImages::Kept)
        .enabled()
        .build()
        .unwrap();
    let run = blocking::purge(&mut connect(&trail), &policy, &quick())
        .unwrap()
        .run;
    assert!(run.partitions > 0, "{run:?}");
    assert_eq!((run.changes, run.baselines), (0, 20));
}

#[test]
fn a_default_partition_is_emptied_without_anybody_missing_a_row() {
    let trail = captured(
        "CREATE TABLE orders (id int PRIMARY KEY, v int)",
        &["orders"],
    );
    // As if nobody had made partitions for months: everything goes to the default partitions.
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
    let before = trail.ask(everything);
    let is_done = AtomicBool::new(false);
    let (written, done) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut conn = connect(&trail);
            conn.batch_execute("SET lock_timeout = '1s'").unwrap();
            let mut written = 0;
            while !is_done.load(Ordering::Relaxed) {
                conn.batch_execute("UPDATE orders SET v = v + 1 WHERE id = 1")
                    .unwrap();
                written += 1;
            }
            written
        });
        let reader = scope.spawn(|| {
            let mut looked = 0;
            while !is_done.load(Ordering::Relaxed) {
                assert_eq!(
                    trail.ask(everything),
                    before,
                    "a row was missing for a moment"
                );
                looked += 1;
            }
            looked
        });
        let options = PurgeOptions::new()
            .batch_size(BatchSize::new(500).unwrap())
            .pause(Duration::from_millis(1))
            .lock_attempts(1000);
        let done = blocking::maintain_partitions(&mut connect(&trail), &options);
        is_done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
        (writer.join().unwrap(), done.unwrap())
    });
    assert!(
        !done.unfinished && done.moved >= 8000 && done.created > 30,
        "{done:?}"
    );
    assert_eq!(trail.ask(everything), before);
    assert_eq!(trail.count(), 8000 + written);
    for table in ["audit_changes", "audit_transactions", "audit_actions"] {
        let left = trail.ask(&format!("SELECT count(*) FROM threadline.{table}_default"));
        assert_eq!(left, "0", "{table}");
    }
    assert_eq!(
        trail.ask("SELECT count(*) FROM threadline.audit_partition_moves"),
        "0"
    );
    // Guarded as before, and nothing about the partitions is left to say.
    let guards = trail.ask("SELECT count(*) FROM threadline.coverage_findings() WHERE code IN ('guard_missing', 'partition_missing', 'default_partition_used')");
    assert_eq!(guards, "0");
    assert!(
        trail
            .refused("DELETE FROM threadline.audit_changes")
            .contains("append-only")
    );
}

#[test]
fn partitions_are_made_ahead_and_only_once() {
    let trail = captured("CREATE TABLE orders (id int PRIMARY KEY)", &["orders"]);
    let mut conn = connect(&trail);
    let options = PurgeOptions::new().months_ahead(15);
    let done = blocking::maintain_partitions(&mut conn, &options).unwrap();
    assert_eq!((done.created, done.unfinished), (9, false));
    let done = blocking::maintain_partitions(&mut conn, &options).unwrap();
    assert_eq!(done.created, 0);
}

#[test]
fn a_role_without_rights_can_neither_plan_nor_purge() {
    let trail = trail_with_a_past();
    let role = trail.ask("SELECT 'purger_' || current_database()");
    trail.run(&format!("CREATE ROLE \"{role}\" LOGIN"));
    for call in [
        "SELECT * FROM threadline.retention_plan('{}')",
        "SELECT * FROM threadline.begin_purge('{\"enabled\": true, \"changes\": {\"days\": 1}}', '1 minute')",
        "SELECT * FROM threadline.purge_step(1, 1, '1 minute', '1 second', 1)",
        "SELECT threadline.end_purge(1, 'stopped', NULL)",
        "SELECT * FROM threadline.maintain_partitions(1, 1, '1 second')",
        "SELECT threadline.sanction(true)",
    ] {
        let refused = trail.run_as(&role, call).expect_err(call);
        assert!(refused.contains("permission denied"), "{call}: {refused}");
    }
    // The owner, too, cannot rewrite the record of a run.
    trail.run("SELECT past('orders', 0, 5, 20, 10, 1)");
    blocking::purge(&mut connect(&trail), &keep(5), &quick()).unwrap();
    for forgery in [
        "UPDATE threadline.audit_retention_runs SET change_count = 0",
        "DELETE FROM threadline.audit_retention_runs",
        "TRUNCATE threadline.audit_retention_runs",
    ] {
        assert!(trail.refused(forgery).contains("append-only"), "{forgery}");
    }
    // Who was let, can.
    trail.run(&format!(
        "GRANT SELECT ON threadline.audit_retention_runs TO \"{role}\";
         GRANT EXECUTE ON FUNCTION threadline.retention_plan(jsonb), threadline.retention_overtakes_feed(jsonb),
            threadline.begin_purge(jsonb, interval, text), threadline.end_purge(bigint, text, text),
            threadline.purge_step(bigint, integer, interval, interval, integer),
            threadline.maintain_partitions(integer, integer, interval) TO \"{role}\""
    ));
    trail.run("SELECT past('orders', 0, 50, 390, 10, 1)");
    let mut purger = PgConnection::establish(&trail.url_as(&role)).unwrap();
    let plan = blocking::plan_retention(&mut purger, &keep(5)).unwrap();
    assert_eq!(
        plan.rows(Expired::PartitionOfChanges) + plan.rows(Expired::Changes),
        50
    );
    let run = blocking::purge(&mut purger, &keep(5), &quick())
        .unwrap()
        .run;
    assert_eq!((run.changes, run.started_by), (50, role.clone()));
    drop(purger);
    trail.run(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[test]
fn consumers_of_the_change_feed_are_not_overtaken_unasked() {
    use threadline::retention::FeedConsumers;
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 100, 20, 10, 1)");
    let feed_at = |result: &str, value: &str| {
        trail.run(&format!(
            "DROP FUNCTION IF EXISTS threadline.feed_horizon();
             CREATE FUNCTION threadline.feed_horizon() RETURNS {result} LANGUAGE sql STABLE AS $$ SELECT {value} $$"
        ));
    };
    let mut conn = connect(&trail);
    for (result, value) in [
        (
            "bigint",
            "(SELECT min(id) + 50 FROM threadline.audit_changes)",
        ),
        ("timestamptz", "now() - interval '15 days'"),
    ] {
        feed_at(result, value);
        assert_eq!(
            blocking::plan_retention(&mut conn, &keep(5))
                .unwrap()
                .notices,
            [Notice::FeedBehind]
        );
        let refused = blocking::purge(&mut conn, &keep(5), &quick());
        assert!(
            matches!(refused, Err(RetentionError::FeedBehind)),
            "{refused:?}"
        );
    }
    assert_eq!(trail.count(), 100);
    feed_at("bigint", "NULL::bigint");
    assert_eq!(
        blocking::plan_retention(&mut conn, &keep(5))
            .unwrap()
            .notices,
        []
    );
    feed_at("bigint", "0::bigint");
    let options = quick().feed_consumers(FeedConsumers::Overtaken);
    let outcome = blocking::purge(&mut conn, &keep(5), &options).unwrap();
    assert_eq!(outcome.run.changes, 100);
    // Where nothing is expired, nobody is behind.
    let plan = blocking::plan_retention(&mut conn, &keep(5)).unwrap();
    assert!(plan.is_empty() && plan.notices.is_empty(), "{plan:?}");
}

#[test]
fn purges_through_pgbouncer_in_transaction_mode() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 1000, 390, 0, 2)");
    let Some(bouncer) = crate::pooling::PgBouncer::start() else {
        eprintln!("PgBouncer is not installed; transaction pooling was not tried");
        return;
    };
    let url = bouncer.url(&trail.ask("SELECT current_database()"));
    let connect = || {
        let mut conn = PgConnection::establish(&url).unwrap();
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        conn
    };
    // Somebody else shares the one server connection, between any two steps.
    let mut other = connect();
    let outcome = blocking::purge_watched(&mut connect(), &keep(39), &quick(), &mut |_| {
        other.batch_execute("SELECT 1").unwrap();
    });
    assert_eq!(outcome.unwrap().run.state, RunState::Completed);
    assert_eq!(left(&trail, "orders", 39), (100, 0));
    let setting = trail.ask("SELECT current_setting('threadline.sanctioned', true)");
    assert!(setting.is_empty() || setting == "NULL");
}

#[test]
fn workers_of_many_instances_purge_once_and_stop_when_asked() {
    let trail = trail_with_a_past();
    trail.run("SELECT past('orders', 0, 1000, 390, 0, 2)");
    block_on(async {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let url = trail.url();
                RetentionWorker::new(keep(39), move || {
                    let url = url.clone();
                    async move { AsyncPgConnection::establish(&url).await }
                })
                .interval(Duration::from_hours(1))
                .jitter(Duration::ZERO)
                .options(quick())
                .start()
            })
            .collect();
        let is_done = || {
            trail.ask(
                "SELECT count(*) FROM threadline.audit_retention_runs WHERE state = 'completed'",
            ) != "0"
        };
        while !is_done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for worker in workers {
            worker.purge_now();
            worker.stop().await;
        }
    });
    assert_eq!(left(&trail, "orders", 39), (100, 0));
    let changes = trail.ask("SELECT sum(change_count) FROM threadline.audit_retention_runs");
    assert_eq!(changes, "900");
}
