//! Spans that are restored from an archive: purges keep them for their time, and answers know what is still removed.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Integer, Nullable, Text};
use threadline::evidence::{Check, CheckOptions, Outcome, run_check};
use threadline::query::GapKind;
use threadline::retention::{
    Expired, Keep, LastImages, Notice, PurgeOptions, RetentionPolicy, RunState,
};
use threadline::time_travel::{TimeTravel, TimeTravelError};
use threadline::{DocumentAsOf, RowKeyText};

use super::{keep, plan, purge, quick, trail_with_past_changes};
use crate::harness::{Trail, block_on, captured};

/// Marks March 2024 as restored, for an interval from now.
fn mark_restored(trail: &Trail, (first_id, last_id): (i64, i64), keep: &str) {
    trail.run(&format!(
        "INSERT INTO threadline.audit_restored_spans
         VALUES ('2024-03-01T00:00Z', '2024-04-01T00:00Z', {first_id}, {last_id}, now() + interval '{keep}', 'ticket 1')"
    ));
}

/// A trail whose changes older than 45 days are purged, but those of March 2024 are restored.
fn restored_march() -> Trail {
    let trail = trail_with_past_changes();
    trail.run(
        "SELECT past('orders', 0, 390, 390, 0, 2);
         ALTER TABLE threadline.audit_enrolments DISABLE TRIGGER USER;
         UPDATE threadline.audit_enrolments SET recorded_at = '2024-01-01Z';
         ALTER TABLE threadline.audit_enrolments ENABLE TRIGGER USER",
    );
    purge(&trail, &keep(45), &quick()).unwrap();
    trail.run(
        "SELECT threadline.create_partition(parent, '2024-03-10', 0)
         FROM unnest('{audit_changes,audit_transactions,audit_actions}'::text[]) AS parent;
         INSERT INTO threadline.audit_transactions (id, occurred_at, xid, backend_pid, db_user)
         SELECT threadline.transaction_id_from('2024-03-10'), '2024-03-10', '1', 1, 'app';
         INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name, row_key, data_after)
         SELECT n, '2024-03-10', threadline.transaction_id_from('2024-03-10'), 'insert', 'public', 'orders', n::text, '{}'
         FROM generate_series(1, 20) AS n;
         INSERT INTO threadline.audit_key_changes
         VALUES (3, '2024-03-10', threadline.transaction_id_from('2024-03-10'), 'public', 'orders', '3', '2');
         INSERT INTO threadline.audit_actions (id, order_id, transaction_id, recorded_at, name, status)
         SELECT threadline.action_id_from('2024-03-10'), 21, gen_random_uuid(), '2024-03-10', 'login', 'ok'",
    );
    mark_restored(&trail, (1, 20), "1 day");
    trail
}

/// The numbers of records of March 2024: changes, transactions, actions, key changes.
fn records_of_march(trail: &Trail) -> String {
    trail.query_text(
        "SELECT concat_ws(' ',
            (SELECT count(*) FROM threadline.audit_changes WHERE captured_at < '2024-04-01'),
            (SELECT count(*) FROM threadline.audit_transactions WHERE id < threadline.transaction_id_from('2024-04-01')),
            (SELECT count(*) FROM threadline.audit_actions WHERE id < threadline.action_id_from('2024-04-01')),
            (SELECT count(*) FROM threadline.audit_key_changes WHERE captured_at < '2024-04-01'))",
    )
}

fn horizon(trail: &Trail, table: &str) -> String {
    trail.query_text(&format!(
        "SET timezone = 'UTC'; SELECT threadline.audit_horizon('public', '{table}')::date"
    ))
}

#[test]
fn purges_keep_a_restored_span_until_its_time_has_passed() {
    let trail = restored_march();
    let policy = keep(45);
    let expired = |trail: &Trail| {
        let found = plan(trail, &policy);
        let kept = found.notices.contains(&Notice::KeepsRestored);
        (found.rows(Expired::PartitionOfChanges), kept)
    };
    let check = |trail: &Trail| {
        let options = CheckOptions::new().retention(policy.clone());
        let run = trail.run_async(async |conn| run_check(conn, Check::Retention, &options).await);
        run.unwrap().result.outcome()
    };
    let purged_before = trail.query_text("SELECT purged_before FROM threadline.audit_horizons");
    assert_eq!(expired(&trail), (0, true));
    assert_eq!(check(&trail), Outcome::Pass);
    // Also the functions that another purge may call.
    let called = trail.query_text(
        "SELECT concat_ws(' ', removed.changes, threadline.remove_actions(now() - interval '45 days', 100, 'x'))
         FROM threadline.remove_changes('public', 'orders', now() - interval '45 days', 100, 'x') AS removed",
    );
    assert_eq!(called, "0 0");
    let kept = purge(&trail, &policy, &quick()).unwrap().run;
    assert_eq!((kept.state, kept.changes), (RunState::Completed, 0));
    assert_eq!(records_of_march(&trail), "20 1 1 1");
    assert_eq!(horizon(&trail, "orders"), "2024-03-01");

    trail.run("UPDATE threadline.audit_restored_spans SET keep_until = now() - interval '2 days'");
    assert_eq!(expired(&trail), (20, false));
    assert_eq!(check(&trail), Outcome::Fail);
    let run = purge(&trail, &policy, &quick()).unwrap().run;
    assert_eq!((run.state, run.changes), (RunState::Completed, 20));
    assert_eq!(records_of_march(&trail), "0 0 0 0");
    assert_eq!(
        trail.query_text("SELECT count(*) FROM threadline.audit_restored_spans"),
        "0"
    );
    assert_eq!(check(&trail), Outcome::Pass);
    // The horizon is the cut-off of the first purge again.
    assert_eq!(
        trail.query_text("SELECT purged_before FROM threadline.audit_horizons"),
        purged_before
    );
    assert_eq!(
        trail.query_text("SELECT threadline.audit_horizon('public', 'orders')"),
        purged_before
    );
}

#[test]
fn a_purge_that_keeps_last_images_makes_no_baseline_of_a_restored_row() {
    let trail = restored_march();
    trail.run("UPDATE threadline.audit_restored_spans SET keep_until = now()");
    let policy = RetentionPolicy::keep(Keep::days(45).unwrap())
        .last_images(LastImages::Kept)
        .enabled()
        .build()
        .unwrap();
    let run = purge(&trail, &policy, &quick()).unwrap().run;
    assert_eq!((run.changes, run.baselines), (20, 0));
}

#[test]
fn a_purge_of_archived_records_stops_at_the_end_of_the_archive() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 390, 390, 0, 2)");
    let archived_to = trail.query_text("SELECT now() - interval '100 days'");
    let archived: DateTime<Utc> = trail
        .query_json("SELECT to_json(now() - interval '100 days')")
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let planned = block_on(async {
        let conn = &mut trail.connect().await;
        threadline::plan_archived_retention(conn, &keep(45), archived)
            .await
            .unwrap()
    });
    let options: PurgeOptions = quick().archived_to(archived);
    let run = purge(&trail, &keep(45), &options).unwrap().run;
    assert_eq!(
        planned.rows(Expired::PartitionOfChanges) + planned.rows(Expired::Changes),
        run.changes
    );
    let left = trail.query_text(&format!(
        "SELECT count(*) || ' ' || count(*) FILTER (WHERE captured_at < '{archived_to}') FROM threadline.audit_changes"
    ));
    assert_eq!(left, "100 0");
    assert_eq!(
        trail.query_text(
            "SELECT (cutoffs ->> 'archived_to')::timestamptz = (cutoffs ->> 'changes')::timestamptz
             FROM threadline.audit_retention_runs"
        ),
        "t"
    );
}

/// Changes of `t` in March 2024 (restored) and now. All changes between were purged, but those of the last 30 days.
fn with_hole() -> Trail {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v text)", &["t"]);
    trail.run(
        "INSERT INTO t VALUES (1, 'x'), (2, 'b');
         SELECT threadline.allow_trail_delete(true);
         DELETE FROM threadline.audit_changes;
         SELECT threadline.allow_trail_delete(false);
         UPDATE t SET v = 'y' WHERE id = 1;
         ALTER TABLE threadline.audit_enrolments DISABLE TRIGGER USER;
         UPDATE threadline.audit_enrolments SET recorded_at = '2024-01-01Z';
         SELECT threadline.create_partition('audit_changes', '2024-03-10', 0);
         INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name, row_key, table_pk, data_after)
         SELECT first.id + n, '2024-03-10', gen_random_uuid(), 'insert', 'public', 't', n::text,
            jsonb_build_object('id', n::text), jsonb_build_object('id', n, 'v', 'march')
         FROM (SELECT min(id) - 3 AS id FROM threadline.audit_changes) AS first, generate_series(1, 2) AS n;
         INSERT INTO threadline.audit_horizons VALUES ('public', 't', now() - interval '30 days');
         INSERT INTO threadline.audit_removals
         VALUES (nextval('threadline.audit_changes_id_seq'), gen_random_uuid(), now(), 'postgres', 'retention',
            'policy', '{\"cutoffs\": {\"public.t\": \"2026-01-01\"}}', 9)",
    );
    let ids = |of: &str| -> i64 {
        let sql = format!(
            "SELECT {of}(id) FROM threadline.audit_changes WHERE captured_at < '2025-01-01'"
        );
        trail.query_text(&sql).parse().unwrap()
    };
    mark_restored(&trail, (ids("min"), ids("max")), "1 day");
    trail
}

fn at(trail: &Trail, sql: &str) -> DateTime<Utc> {
    let instant = trail.query_json(&format!("SELECT to_json(({sql})::timestamptz)"));
    instant.as_str().unwrap().parse().unwrap()
}

#[derive(Debug, PartialEq, QueryableByName)]
struct Row {
    #[diesel(sql_type = Integer)]
    id: i32,
    #[diesel(sql_type = Nullable<Text>)]
    v: Option<String>,
}

fn rows_at(trail: &Trail, instant: DateTime<Utc>) -> Result<Vec<(i32, String)>, TimeTravelError> {
    let travel = TimeTravel::at(instant).tables(["t".parse().unwrap()]);
    let rows: Result<Vec<Row>, _> = trail.run_async(async |conn| {
        let query = diesel::sql_query("SELECT id, v FROM t ORDER BY id");
        threadline::time_travel(conn, &travel, query).await
    });
    let shown = |row: Row| (row.id, row.v.unwrap_or_default());
    Ok(rows?.into_iter().map(shown).collect())
}

#[test]
fn gaps_are_the_times_before_and_after_a_restored_span() {
    let trail = with_hole();
    assert_eq!(horizon(&trail, "t"), "2024-03-01");
    let gaps = trail.run_async(async |conn| {
        let table: threadline::TableName = "t".parse().unwrap();
        threadline::capture_gaps(conn, table).await.unwrap()
    });
    assert!(gaps.iter().all(|gap| gap.kind == GapKind::Removed));
    let day = |instant: Option<DateTime<Utc>>| instant.map(|one| one.date_naive().to_string());
    let shown: Vec<_> = gaps
        .iter()
        .map(|gap| (day(gap.from), day(gap.to)))
        .collect();
    let cutoff = day(Some(at(&trail, "now() - interval '30 days'")));
    let march = Some("2024-03-01".to_owned());
    assert_eq!(
        shown,
        [(None, march), (Some("2024-04-01".to_owned()), cutoff)]
    );
    // The table had no changes before it was captured.
    trail.run("UPDATE threadline.audit_enrolments SET recorded_at = '2024-03-02Z'");
    let gaps = trail.run_async(async |conn| {
        let table: threadline::TableName = "t".parse().unwrap();
        threadline::capture_gaps(conn, table).await.unwrap()
    });
    assert_eq!(gaps.len(), 1);
    assert!(
        gaps[0]
            .to_string()
            .starts_with("changes captured from 2024-04-01 ")
    );
}

#[test]
fn a_row_is_uncertain_where_changes_after_a_restored_span_are_removed() {
    let trail = with_hole();
    let state = |id: i32, instant: &str| {
        let query = DocumentAsOf::new(
            "t".parse().unwrap(),
            &RowKeyText::from_values(vec![id.to_string()]),
            at(&trail, instant),
        );
        let answer =
            trail.run_async(async |conn| threadline::document_as_of(conn, &query).await.unwrap());
        let shown = serde_json::to_value(answer).unwrap();
        let gaps = shown["gaps"].as_array().map_or(0, Vec::len);
        format!("{} {gaps}", shown["state"].as_str().unwrap())
    };
    for (instant, first, second, unknown) in [
        (
            "'2024-03-05Z'",
            "not_yet_known 0",
            "not_yet_known 0",
            "not_yet_known 0",
        ),
        ("'2024-03-20Z'", "row 0", "row 0", "not_yet_known 0"),
        (
            "'2024-09-01Z'",
            "uncertain 1",
            "uncertain 1",
            "not_yet_known 1",
        ),
        (
            "now() - interval '10 days'",
            "uncertain 1",
            "uncertain 1",
            "not_yet_known 1",
        ),
        ("now()", "row 0", "uncertain 1", "not_yet_known 1"),
    ] {
        let found = [1, 2, 3].map(|id| state(id, instant));
        assert_eq!(found, [first, second, unknown], "{instant}");
    }
}

#[test]
fn time_travel_uses_a_restored_span_only_for_instants_in_it() {
    let trail = with_hole();
    let reason = |instant: &str| {
        rows_at(&trail, at(&trail, instant))
            .unwrap_err()
            .to_string()
    };
    assert!(reason("'2024-02-20Z'").contains("its trail begins at 2024-03-01"));
    // Rows from before the span may be missing.
    assert!(reason("'2024-03-20Z'").contains("its changes before 2024-03-01"));
    assert!(reason("'2024-09-01Z'").contains("its changes from 2024-04-01"));
    // Row 2 may have been deleted since.
    assert_eq!(
        rows_at(&trail, at(&trail, "now()")).unwrap(),
        [(1, "y".to_owned())]
    );
    trail.run("UPDATE threadline.audit_enrolments SET recorded_at = '2024-03-02Z'");
    let march = |id| (id, "march".to_owned());
    assert_eq!(
        rows_at(&trail, at(&trail, "'2024-03-20Z'")).unwrap(),
        [march(1), march(2)]
    );
}
