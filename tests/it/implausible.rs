//! Rows with implausible times: action ids with such a time are refused, and rows that have one stay in
//! the default partitions without disturbing maintenance or purges.

use std::time::Duration;

use threadline::retention::{
    Keep, PurgeOptions, RetentionPolicy, RunState, maintain_partitions, plan_retention, purge,
};

use crate::harness::{Trail, block_on, captured, create_partitions};

fn table() -> Trail {
    captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"])
}

#[test]
fn an_action_id_that_is_not_a_recent_uuid_v7_is_refused() {
    let trail = table();
    let v7_of = |instant: &str| {
        trail.query_text(&format!(
            "SELECT substr(threadline.action_id_from({instant})::text, 1, 13) || '-7' \
             || substr(gen_random_uuid()::text, 16)"
        ))
    };
    for id in [
        "ffffffff-ffff-4fff-8fff-ffffffffffff".to_owned(),
        trail.query_text("SELECT gen_random_uuid()"),
        "00000000-0000-0000-0000-000000000000".to_owned(),
        "ffffffff-ffff-7fff-8fff-ffffffffffff".to_owned(),
        v7_of("now() + interval '2 days'"),
        v7_of("now() - interval '11 years'"),
    ] {
        let call = format!(
            r#"SELECT threadline.record_action('{{"id": "{id}", "name": "x"}}', NULL, '{{}}')"#
        );
        let error = trail.expect_error(&format!(
            "DO $$ BEGIN PERFORM 1 FROM ({call}) AS c; EXCEPTION
             WHEN invalid_parameter_value THEN RAISE EXCEPTION 'caught: %', SQLERRM; END $$"
        ));
        assert!(
            error.contains(&format!(
                "caught: id: not a version 7 uuid of the last ten years: {id}"
            )),
            "{error}"
        );
    }
    for id in [
        v7_of("now()"),
        v7_of("now() + interval '20 hours'"),
        v7_of("now() - interval '2 years'"),
    ] {
        trail.run(&format!(
            r#"SELECT threadline.record_action('{{"id": "{id}", "name": "x"}}', NULL, '{{}}')"#
        ));
    }
    let error =
        trail.expect_error(r#"SELECT threadline.record_action('{"name": "x"}', NULL, '{}')"#);
    assert!(error.contains("id: not a version 7 uuid"), "{error}");
}

/// A trail with rows of implausible times, as a wrong clock produces them, and with plausible rows of
/// three months ago.
fn trail_with_implausible_times() -> Trail {
    let trail = table();
    trail.run(
        "INSERT INTO t VALUES (1);
         INSERT INTO threadline.audit_actions (id, order_id, transaction_id, recorded_at, name, status)
         SELECT odd.id, 1, gen_random_uuid(), now(), 'x', 'ok'
         FROM (SELECT threadline.action_id_from('3000-01-01'::timestamptz + make_interval(years => g)) FROM generate_series(1, 100) AS g
               UNION ALL VALUES ('ffffffff-ffff-4fff-8fff-ffffffffffff'::uuid), ('00000000-0000-0000-0000-000000000000')
               UNION ALL SELECT threadline.action_id_from(now() - interval '3 months')) AS odd (id);
         INSERT INTO threadline.audit_transactions (id, occurred_at, xid, backend_pid, db_user)
         SELECT odd.id, now() - interval '3 months', '1', 1, 'app'
         FROM (SELECT gen_random_uuid() FROM generate_series(1, 100)
               UNION ALL VALUES ('ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid), ('7fffffff-ffff-ffff-ffff-ffffffffffff'),
                   ('80000000-0000-0000-0000-000000000000'), ('00000000-0000-0000-0000-000000000000')
               UNION ALL SELECT threadline.transaction_id_from(now() - interval '3 months')) AS odd (id);
         INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name)
         SELECT nextval('threadline.audit_changes_id_seq'), odd.at, recorded.id, 'truncate', 'public', 't'
         FROM (VALUES (timestamptz '-infinity'), ('infinity'), ('4700-01-01 BC'), ('200000-01-01'), (now() - interval '3 months')) AS odd (at)
         CROSS JOIN threadline.audit_transactions AS recorded",
    );
    trail
}

/// The row count and a digest of the rows of each table of the trail.
fn trail_digests(trail: &Trail) -> Vec<String> {
    ["audit_changes", "audit_transactions", "audit_actions"]
        .map(|table| {
            trail.query_text(&format!(
                "SELECT count(*) || ' ' || md5(string_agg(r::text, '' ORDER BY r::text)) FROM threadline.{table} AS r"
            ))
        })
        .to_vec()
}

#[test]
fn maintenance_leaves_only_rows_with_implausible_times_in_the_default_partition() {
    let trail = trail_with_implausible_times();
    let before = trail_digests(&trail);
    let options = PurgeOptions::new().pause(Duration::ZERO);
    let maintain = || {
        block_on(async {
            maintain_partitions(&mut trail.connect().await, &options)
                .await
                .unwrap()
        })
    };
    let done = maintain();
    assert!(!done.unfinished, "{done:?}");
    assert_eq!(trail_digests(&trail), before);
    let outside = trail.query_text(
        "SELECT count(*) FROM threadline.trail_partitions()
         WHERE from_instant < now() - interval '4 months' OR to_instant > now() + interval '14 months'",
    );
    assert_eq!(outside, "0", "partitions for implausible times");
    // The rows of three months ago were moved; the rows with implausible times were not.
    for (table, left) in [
        ("audit_changes", "424"),
        ("audit_transactions", "104"),
        ("audit_actions", "102"),
    ] {
        let found = trail.query_text(&format!("SELECT count(*) FROM threadline.{table}_default"));
        assert_eq!(found, left, "{table}");
    }
    let again = maintain();
    assert_eq!(
        (again.moved, again.created, again.unfinished),
        (0, 0, false)
    );
    // Later writes and partitions are not affected.
    trail.run("INSERT INTO t VALUES (2)");
    trail.run(&create_partitions("now()", 20));
}

#[test]
fn a_purge_completes_with_implausible_times_in_the_trail() {
    let trail = trail_with_implausible_times();
    let policy = RetentionPolicy::keep(Keep::days(30).unwrap())
        .enabled()
        .build()
        .unwrap();
    let run = block_on(async {
        let mut conn = trail.connect().await;
        plan_retention(&mut conn, &policy).await.unwrap();
        let options = PurgeOptions::new().pause(Duration::ZERO);
        purge(&mut conn, &policy, &options).await.unwrap().run
    });
    assert_eq!(run.state, RunState::Completed, "{run:?}");
    // Removed: -infinity, the year 4700 BC and three months ago. Times in the future stay.
    let left = trail.query_text("SELECT string_agg(DISTINCT to_char(captured_at, 'YYYY'), ' ') FROM threadline.audit_changes WHERE op = 'truncate'");
    assert!(left.contains("200000") && !left.contains("4700"), "{left}");
}
