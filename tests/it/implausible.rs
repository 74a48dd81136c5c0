//! What says it is of no plausible time has no month: it is refused where it comes in, and whatever
//! is there all the same stays in the default partitions, where nothing trips over it.

use std::time::Duration;

use threadline::retention::{
    Keep, PurgeOptions, RetentionPolicy, RunState, maintain_partitions, plan_retention, purge,
};

use crate::harness::{Trail, block_on, captured};

fn table() -> Trail {
    captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"])
}

#[test]
fn an_action_whose_id_is_no_version_7_uuid_of_now_is_refused_and_named() {
    let trail = table();
    let v7_of = |instant: &str| {
        trail.ask(&format!(
            "SELECT substr(threadline.action_id_from({instant})::text, 1, 13) || '-7' \
             || substr(gen_random_uuid()::text, 16)"
        ))
    };
    for id in [
        "ffffffff-ffff-4fff-8fff-ffffffffffff".to_owned(),
        trail.ask("SELECT gen_random_uuid()"),
        "00000000-0000-0000-0000-000000000000".to_owned(),
        "ffffffff-ffff-7fff-8fff-ffffffffffff".to_owned(),
        v7_of("now() + interval '2 days'"),
        v7_of("now() - interval '11 years'"),
    ] {
        let call = format!(
            r#"SELECT threadline.record_action('{{"id": "{id}", "name": "x"}}', NULL, '{{}}')"#
        );
        let error = trail.refused(&format!(
            "DO $$ BEGIN PERFORM 1 FROM ({call}) AS c; EXCEPTION
             WHEN invalid_parameter_value THEN RAISE EXCEPTION 'told: %', SQLERRM; END $$"
        ));
        assert!(
            error.contains(&format!(
                "told: id: not a version 7 uuid of the last ten years: {id}"
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
    let error = trail.refused(r#"SELECT threadline.record_action('{"name": "x"}', NULL, '{}')"#);
    assert!(error.contains("id: not a version 7 uuid"), "{error}");
}

/// A trail with rows of all times, most of them impossible, as a clock that was wrong makes them. Those
/// of three months ago are in order.
fn of_all_times() -> Trail {
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

fn all(trail: &Trail) -> Vec<String> {
    ["audit_changes", "audit_transactions", "audit_actions"]
        .map(|table| {
            trail.ask(&format!(
                "SELECT count(*) || ' ' || md5(string_agg(r::text, '' ORDER BY r::text)) FROM threadline.{table} AS r"
            ))
        })
        .to_vec()
}

#[test]
fn maintenance_leaves_what_has_no_plausible_time_in_the_default_partition_and_moves_the_rest() {
    let trail = of_all_times();
    let before = all(&trail);
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
    assert_eq!(all(&trail), before);
    let outside = trail.ask(
        "SELECT count(*) FROM threadline.trail_partitions()
         WHERE from_instant < now() - interval '4 months' OR to_instant > now() + interval '14 months'",
    );
    assert_eq!(outside, "0", "partitions for times that nobody lives in");
    // A month of three months ago, for each; and what is left behind.
    for (table, left) in [
        ("audit_changes", "424"),
        ("audit_transactions", "104"),
        ("audit_actions", "102"),
    ] {
        let found = trail.ask(&format!("SELECT count(*) FROM threadline.{table}_default"));
        assert_eq!(found, left, "{table}");
    }
    let again = maintain();
    assert_eq!(
        (again.moved, again.created, again.unfinished),
        (0, 0, false)
    );
    // It is no hindrance to what comes later.
    trail.run("INSERT INTO t VALUES (2)");
    trail.run("SELECT threadline.create_partitions(now(), 20)");
}

#[test]
fn a_purge_ends_whatever_times_the_trail_tells_of() {
    let trail = of_all_times();
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
    // Before all time, in the year -4700 and three months ago; what is yet to come stays.
    let left = trail.ask("SELECT string_agg(DISTINCT to_char(captured_at, 'YYYY'), ' ') FROM threadline.audit_changes WHERE op = 'truncate'");
    assert!(left.contains("200000") && !left.contains("4700"), "{left}");
}
