//! Last images of purged rows that are kept as new baselines.

use threadline::retention::{Keep, LastImages, RetentionPolicy, RunState};

use super::{none_unpaired, purge, quick, trail_with_past_changes, unpaired_counts};

#[test]
fn last_images_of_purged_rows_are_kept_as_baselines() {
    let trail = trail_with_past_changes();
    // Expired: inserts of rows 0..99, updates of 0..49, deletes of 60..69, key changes of 70..79.
    // Not expired: updates of 0..9.
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
    trail.run(
        "INSERT INTO threadline.audit_key_changes
         SELECT id, captured_at, transaction_id, table_schema, table_name, row_key, previous_key
         FROM threadline.audit_changes WHERE previous_key IS NOT NULL",
    );
    let policy = RetentionPolicy::keep(Keep::days(100).unwrap())
        .last_images(LastImages::Kept)
        .enabled()
        .build()
        .unwrap();
    let run = purge(&trail, &policy, &quick()).unwrap().run;
    assert_eq!(run.state, RunState::Completed);
    let kept = trail.query_text(
        "SELECT string_agg(op || ' ' || n, ', ' ORDER BY op) FROM (SELECT op, count(*) AS n FROM threadline.audit_changes GROUP BY 1) AS c",
    );
    assert_eq!(kept, "baseline 80, update 10");
    let image = |key: &str| {
        trail.query_text(&format!(
            "SELECT op || ' ' || data_after FROM threadline.audit_changes WHERE row_key = '{key}' ORDER BY id LIMIT 1"
        ))
    };
    // A row with a change that is not expired needs no baseline: the change has the old values.
    assert_eq!(image("5"), r#"update {"v": 9, "id": 5}"#);
    assert_eq!(image("25"), r#"baseline {"v": 1, "id": 25}"#);
    assert_eq!(image("55"), r#"baseline {"id": 55}"#);
    assert_eq!(image("65"), "NULL");
    assert_eq!(image("75"), "NULL");
    assert_eq!(image("1075"), r#"baseline {"id": 1075}"#);
    assert_eq!(image("95"), r#"baseline {"id": 95}"#);
    let old = trail.query_text("SELECT count(*) FROM threadline.audit_changes WHERE op = 'baseline' AND (captured_at < now() - interval '1 hour' OR actor IS NOT NULL)");
    assert_eq!(old, "0");
    assert_eq!((run.changes, run.baselines), (170, 80));
    assert_eq!(unpaired_counts(&trail), none_unpaired());
    // A second purge changes nothing.
    let again = purge(&trail, &policy, &quick()).unwrap().run;
    assert_eq!((again.changes, again.baselines), (0, 0));
}

#[test]
fn months_are_dropped_after_their_last_images_were_kept() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 10, 300, 299, 1)");
    trail.run("SELECT past('orders', 10, 10, 200, 199, 1)");
    let policy = RetentionPolicy::keep(Keep::days(100).unwrap())
        .last_images(LastImages::Kept)
        .enabled()
        .build()
        .unwrap();
    let run = purge(&trail, &policy, &quick()).unwrap().run;
    assert!(run.partitions > 0, "{run:?}");
    assert_eq!((run.changes, run.baselines), (20, 20));
}

#[test]
fn truncated_or_no_longer_captured_rows_get_no_baseline() {
    let policy = RetentionPolicy::keep(Keep::days(100).unwrap())
        .last_images(LastImages::Kept)
        .enabled()
        .build()
        .unwrap();
    for end in [
        "TRUNCATE orders",
        "SELECT threadline.disable_capture('public', 'orders')",
    ] {
        let trail = trail_with_past_changes();
        trail.run("SELECT past('orders', 0, 10, 300, 299, 1)");
        trail.run(end);
        let run = purge(&trail, &policy, &quick()).unwrap().run;
        assert_eq!((run.changes, run.baselines), (10, 0), "{end}");
    }
}
