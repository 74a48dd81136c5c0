//! Since when tables are known, and which of their rows are older.

use serde_json::json;
use threadline::baseline::BatchSize;
use threadline::table::AuditedTable;

use super::{capture_start, numbers, recorded, small_baseline};
use crate::harness::{Trail, captured};

#[test]
fn a_row_whose_history_ends_before_it_is_unknown() {
    let trail = numbers(0);
    trail.run("INSERT INTO t VALUES (1, 0), (2, 0), (3, 0), (4, 0)");
    trail.run("DELETE FROM t WHERE id = 1; UPDATE t SET id = 20 WHERE id = 2");
    trail.run(
        "SELECT threadline.suspend_capture('{t}', 'restore'); INSERT INTO t VALUES (1, 9), (2, 9)",
    );
    assert_eq!(capture_start(&trail, "t").rows.unwrap().unknown_count, 2);
    recorded(&trail, &small_baseline("t"));
    assert_eq!(trail.events()[6..], ["baseline t 1", "baseline t 2"]);
    trail.run("TRUNCATE t");
    trail.run("SELECT threadline.suspend_capture('{t}', 'restore'); INSERT INTO t VALUES (3, 9)");
    assert_eq!(recorded(&trail, &small_baseline("t")).rows_recorded, 1);
}

#[test]
fn swapped_keys_are_no_reason_to_record_a_row() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, n int)",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 10), (2, 20)");
    trail.run("UPDATE t SET id = 3 - id");
    assert_eq!(capture_start(&trail, "t").rows.unwrap().unknown_count, 0);
}

#[test]
fn it_is_known_since_when_a_table_is_known() {
    let trail = numbers(3);
    let before = capture_start(&trail, "t");
    assert!(before.captured && before.has_key && !before.is_unbroken());
    assert_eq!(
        (before.first_recorded_at, before.baseline.as_ref()),
        (None, None)
    );
    let since = before.captured_since.unwrap();
    // Generating again is no new beginning; taking it out and in again is one.
    trail.capture(&trail.introspect("t"));
    assert_eq!(capture_start(&trail, "t").captured_since, Some(since));
    recorded(&trail, &small_baseline("t"));
    let after = capture_start(&trail, "t");
    assert!(after.is_unbroken());
    assert_eq!(after.baselined_rows, 3);
    assert!(after.first_recorded_at.unwrap() > since);
    trail.run("SELECT threadline.disable_capture('public', 't')");
    let gap = capture_start(&trail, "t");
    assert_eq!(
        (gap.captured, gap.captured_since, gap.rows),
        (false, None, None)
    );
    trail.capture(&trail.introspect("t"));
    assert!(capture_start(&trail, "t").captured_since.unwrap() > since);
    let events = trail
        .ask("SELECT string_agg(event, ' ' ORDER BY order_id) FROM threadline.audit_enrolments");
    assert_eq!(events, "enabled enabled disabled enabled");
}

#[test]
fn rows_are_unknown_again_after_capture_was_off() {
    let trail = numbers(0);
    trail.run("INSERT INTO t SELECT g, 0 FROM generate_series(1, 4) AS g");
    assert!(capture_start(&trail, "t").is_unbroken());
    trail.run("SELECT threadline.disable_capture('public', 't'); UPDATE t SET n = 1 WHERE id = 1");
    trail.capture(&trail.introspect("t"));
    trail.run("UPDATE t SET n = 2 WHERE id = 2");
    assert_eq!(
        capture_start(&trail, "t").rows.unwrap().unknown_count,
        3,
        "any of them may have changed unseen"
    );
    assert_eq!(recorded(&trail, &small_baseline("t")).rows_recorded, 3);
    assert!(capture_start(&trail, "t").is_unbroken());
}

#[test]
fn rows_are_unknown_again_where_their_keys_meant_other_columns() {
    let trail = captured(
        "CREATE TABLE t (a int NOT NULL UNIQUE, b int NOT NULL UNIQUE)",
        &[],
    );
    trail.capture(&keyed_by(&trail, "a"));
    trail.run("INSERT INTO t VALUES (1, 2), (2, 1)");
    trail.capture(&keyed_by(&trail, "b"));
    assert_eq!(capture_start(&trail, "t").rows.unwrap().unknown_count, 2);
    recorded(&trail, &small_baseline("t"));
    assert_eq!(trail.events()[2..], ["baseline t 1", "baseline t 2"]);
    assert_eq!(trail.changes()[2].after, Some(json!({"a": 2, "b": 1})));
}

/// Table `t` with a column as its key.
fn keyed_by(trail: &Trail, column: &str) -> AuditedTable {
    let found = trail.introspect("t");
    AuditedTable::builder(found.name().clone())
        .columns(found.columns().to_vec())
        .key([column])
        .build()
        .unwrap()
}

#[test]
fn a_renamed_key_column_is_still_the_key() {
    let trail = numbers(5);
    trail.run("UPDATE t SET n = 1 WHERE id = 2; ALTER TABLE t RENAME id TO nr");
    assert_eq!(capture_start(&trail, "t").rows.unwrap().unknown_count, 4);
    assert_eq!(recorded(&trail, &small_baseline("t")).rows_recorded, 4);
    let first = &trail.changes()[1];
    assert_eq!(first.key, Some(json!({"nr": "1"})));
    assert_eq!(first.after, Some(json!({"n": 0})), "no policy knows nr");
}

/// What was read of the changes so far: entries of indexes, and rows without an index.
fn read_of_changes(trail: &Trail) -> (i64, i64) {
    let read = trail.ask(
        "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_all_indexes WHERE relid IN (
                    SELECT relid FROM pg_partition_tree('threadline.audit_changes')))
             || ' ' || (SELECT sum(seq_tup_read) FROM pg_stat_all_tables WHERE relid IN (
                    SELECT relid FROM pg_partition_tree('threadline.audit_changes')))",
    );
    let (entries, rows) = read.split_once(' ').unwrap();
    (entries.parse().unwrap(), rows.parse().unwrap())
}

/// How much of the changes some work reads. Statistics of a session are there when it has ended.
fn cost_in_changes(trail: &Trail, work: impl FnOnce()) -> (i64, i64) {
    let settle = || {
        let sessions = "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        while trail.ask(sessions) != "0" {
            std::thread::yield_now();
        }
        read_of_changes(trail)
    };
    let before = settle();
    work();
    let after = settle();
    (after.0 - before.0, after.1 - before.1)
}

#[test]
fn each_row_costs_one_entry_of_the_index_by_row() {
    const ROWS: i64 = 2000;
    let trail = numbers(0);
    trail.run(&format!(
        "INSERT INTO t SELECT g, 0 FROM generate_series(1, {ROWS}) AS g"
    ));
    trail.run("UPDATE t SET n = n + 1");
    trail.run("UPDATE t SET n = n + 1");
    trail.run("VACUUM ANALYZE threadline.audit_changes");
    let counted = cost_in_changes(&trail, || {
        assert!(capture_start(&trail, "t").is_unbroken());
    });
    let recorded = cost_in_changes(&trail, || {
        let batches = small_baseline("t").batch_size(BatchSize::new(500).unwrap());
        assert_eq!(recorded(&trail, &batches).rows_recorded, 0);
    });
    for (entries, rows) in [counted, recorded] {
        assert_eq!(rows, 0, "rows read without an index");
        assert!(
            (ROWS..ROWS + 100).contains(&entries),
            "{entries} entries for {ROWS} rows"
        );
    }
}
