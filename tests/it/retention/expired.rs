//! Rows that a purge removes, and rows that it keeps.

use threadline::retention::{Expired, Keep, RetentionPolicy, RunState, retention_runs};

use super::{
    keep, none_unpaired, partitions, plan, purge, quick, remaining_and_expired,
    trail_with_past_changes, unpaired_counts,
};
use crate::harness::{block_on, captured};

#[test]
fn key_changes_are_removed_with_their_changes() {
    let trail = trail_with_past_changes();
    trail.run(
        "INSERT INTO orders VALUES (1, 1); UPDATE orders SET id = 2;
         INSERT INTO sessions VALUES (1); UPDATE sessions SET id = 2;
         INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name, row_key, previous_key)
         SELECT change_id - 1000, captured_at - interval '60 days', transaction_id, 'update', table_schema,
             table_name, row_key, previous_key
         FROM threadline.audit_key_changes;
         INSERT INTO threadline.audit_key_changes
         SELECT change_id - 1000, captured_at - interval '60 days', transaction_id, table_schema,
             table_name, row_key, previous_key
         FROM threadline.audit_key_changes",
    );
    let policy = RetentionPolicy::keep(Keep::days(30).unwrap())
        .table("public.sessions".parse().unwrap(), Keep::days(90).unwrap())
        .enabled()
        .build()
        .unwrap();
    purge(&trail, &policy, &quick()).unwrap();
    let left = "SELECT string_agg(table_name || ' ' || (captured_at < now() - interval '1 day'), ', ' \
                ORDER BY captured_at, table_name) FROM threadline.audit_key_changes";
    assert_eq!(
        trail.query_text(left),
        "sessions true, orders false, sessions false"
    );
}

#[test]
fn expired_months_are_dropped_and_other_expired_rows_are_deleted_in_batches() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 3900, 390, 0, 3)");
    let before = partitions(&trail, "audit_changes");
    let plan = plan(&trail, &keep(45));
    let outcome = purge(&trail, &keep(45), &quick()).unwrap();
    let run = &outcome.run;
    assert_eq!(run.state, RunState::Completed);
    assert_eq!(remaining_and_expired(&trail, "orders", 45), (450, 0));
    assert_eq!(unpaired_counts(&trail), none_unpaired());
    assert_eq!((run.changes, run.transactions), (3450, 1150));
    assert!(run.partitions > 30, "{run:?}");
    assert!(before > 10 && partitions(&trail, "audit_changes") < 2);
    assert!(partitions(&trail, "audit_transactions") < 2);
    // The plan and the removal records have the same numbers.
    assert_eq!(
        plan.rows(Expired::PartitionOfChanges) + plan.rows(Expired::Changes),
        3450
    );
    assert_eq!(plan.rows(Expired::Transactions), 1150);
    assert!(plan.rows(Expired::Changes) < 900, "{plan:?}");
    let recorded = trail.query_text(
        "SELECT sum(change_count) || ' ' || sum((scope ->> 'transactions')::int) FROM threadline.audit_removals",
    );
    assert_eq!(recorded, "3450 1150");
    // The horizon of the table and the removal records have the cut-off of the run.
    let horizon = trail.query_text(
        "SELECT purged_before = (cutoffs ->> 'changes')::timestamptz
         FROM threadline.audit_horizons, threadline.audit_retention_runs",
    );
    assert_eq!((horizon.as_str(), plan.horizons().len()), ("t", 1));
    let cutoffs = trail.query_text(
        "SELECT bool_and((scope -> 'cutoffs' ->> 'public.orders')::timestamptz <= purged_before)
             AND max((scope -> 'cutoffs' ->> 'public.orders')::timestamptz) = max(purged_before)
         FROM threadline.audit_removals, threadline.audit_horizons WHERE change_count > 0",
    );
    assert_eq!(cutoffs, "t");
    // A second purge removes almost nothing.
    let again = purge(&trail, &keep(45), &quick()).unwrap();
    assert!(again.run.changes <= 1, "{again:?}");
    let runs = block_on(async {
        retention_runs(&mut trail.connect().await, 10)
            .await
            .unwrap()
    });
    assert_eq!((runs.len(), runs[1].changes), (2, 3450));
}

#[test]
fn a_table_can_have_its_own_retention_period() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 390, 390, 0, 2), past('sessions', 10000, 390, 390, 0, 2), past('users', 20000, 390, 390, 0, 2)");
    // An old transaction that changed both tables is kept with the change that is kept.
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
    let outcome = purge(&trail, &policy, &quick()).unwrap();
    assert_eq!(outcome.run.state, RunState::Completed);
    assert_eq!(remaining_and_expired(&trail, "orders", 100).0, 391);
    assert_eq!(remaining_and_expired(&trail, "sessions", 10), (10, 0));
    assert_eq!(remaining_and_expired(&trail, "users", 100), (100, 0));
    assert_eq!(unpaired_counts(&trail), none_unpaired());
}

#[test]
fn transactions_that_span_two_months_are_kept_as_long_as_their_changes() {
    let trail = trail_with_past_changes();
    // A transaction that began at the end of a month, with a change in each of two months.
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
    // The first month is expired, the second is not.
    let hours = trail.query_text(
        "SELECT ceil(EXTRACT(EPOCH FROM now() - (date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '3 months')) / 3600) - 1",
    );
    let policy = |hours: u32| {
        RetentionPolicy::keep(Keep::hours(hours).unwrap())
            .enabled()
            .build()
            .unwrap()
    };
    let hours: u32 = hours.parse().unwrap();
    purge(&trail, &policy(hours), &quick()).unwrap();
    assert_eq!((trail.count(), trail.transactions()), (1, 1));
    assert_eq!(unpaired_counts(&trail), none_unpaired());
    purge(&trail, &policy(hours - 48), &quick()).unwrap();
    assert_eq!((trail.count(), trail.transactions()), (0, 0));
}

#[test]
fn transactions_and_actions_can_have_their_own_retention_periods() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 390, 390, 0, 1)");
    trail.run(
        "INSERT INTO threadline.audit_actions (id, order_id, transaction_id, recorded_at, name, status)
         SELECT @id@, 1, gen_random_uuid(), at, 'login', 'ok'
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
    let run = purge(&trail, &policy, &quick()).unwrap().run;
    assert_eq!(trail.count(), 50);
    assert_eq!(
        trail.query_text("SELECT count(*) FROM threadline.audit_actions"),
        "100"
    );
    assert_eq!(run.actions, 290);
    // Expired transactions are dropped by whole months.
    let transactions = trail.transactions();
    assert!((200..232).contains(&transactions), "{transactions}");
}

#[test]
fn remove_changes_removes_one_batch_and_records_it() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t SELECT generate_series(1, 25)");
    let removed = "SELECT changes FROM threadline.remove_changes('public', 't',";
    assert_eq!(
        trail.query_text(&format!("{removed} now(), 10, 'expired')")),
        "10"
    );
    assert_eq!(
        trail.query_text(&format!(
            "{removed} now() - interval '1 day', 10, 'expired')"
        )),
        "0"
    );
    assert_eq!(trail.count(), 15);
    let record = trail.query_text(
        "SELECT kind || ' ' || reason || ' ' || change_count || ' ' || removed_by || ' ' ||
             ((scope -> 'cutoffs' ->> 'public.t')::timestamptz = purged_before)
         FROM threadline.audit_removals, threadline.audit_horizons",
    );
    assert_eq!(record, "retention expired 10 postgres true");
    // After the call, deletes are refused again.
    let error = trail.expect_error(&format!(
        "{removed} now(), 1, 'x'); DELETE FROM threadline.audit_changes"
    ));
    assert!(error.contains("append-only"), "{error}");
}
