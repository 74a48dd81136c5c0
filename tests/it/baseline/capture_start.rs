//! Since when tables are captured, and which of their rows are unknown.

use serde_json::json;
use threadline::baseline::BatchSize;
use threadline::table::AuditedTable;

use super::{capture_start, numbers, recorded, small_baseline};
use crate::harness::{Trail, captured};

#[test]
fn a_row_inserted_during_a_suspension_under_a_deleted_key_is_unknown() {
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
fn rows_whose_keys_were_swapped_are_known() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, n int)",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 10), (2, 20)");
    trail.run("UPDATE t SET id = 3 - id");
    assert_eq!(capture_start(&trail, "t").rows.unwrap().unknown_count, 0);
}

#[test]
fn capture_start_reports_since_when_a_table_is_captured() {
    let trail = numbers(3);
    let before = capture_start(&trail, "t");
    assert!(before.captured && before.has_key && !before.is_unbroken());
    assert_eq!(
        (before.first_recorded_at, before.baseline.as_ref()),
        (None, None)
    );
    let since = before.captured_since.unwrap();
    // Regenerating capture keeps its start; disabling and enabling it starts anew.
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
    let events = trail.query_text(
        "SELECT string_agg(event, ' ' ORDER BY order_id) FROM threadline.audit_enrolments",
    );
    assert_eq!(events, "enabled enabled disabled enabled");
}

#[test]
fn rows_are_unknown_after_capture_was_disabled() {
    let trail = numbers(0);
    trail.run("INSERT INTO t SELECT g, 0 FROM generate_series(1, 4) AS g");
    assert!(capture_start(&trail, "t").is_unbroken());
    trail.run("SELECT threadline.disable_capture('public', 't'); UPDATE t SET n = 1 WHERE id = 1");
    trail.capture(&trail.introspect("t"));
    trail.run("UPDATE t SET n = 2 WHERE id = 2");
    assert_eq!(
        capture_start(&trail, "t").rows.unwrap().unknown_count,
        3,
        "each of them may have changed while capture was off"
    );
    assert_eq!(recorded(&trail, &small_baseline("t")).rows_recorded, 3);
    assert!(capture_start(&trail, "t").is_unbroken());
}

#[test]
fn rows_are_unknown_after_the_key_columns_changed() {
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

/// Table `t` with `column` as its key.
fn keyed_by(trail: &Trail, column: &str) -> AuditedTable {
    let found = trail.introspect("t");
    AuditedTable::builder(found.name().clone())
        .columns(found.columns().to_vec())
        .key([column])
        .build()
        .unwrap()
}

#[test]
fn renaming_the_key_column_keeps_known_rows_known() {
    let trail = numbers(5);
    trail.run("UPDATE t SET n = 1 WHERE id = 2; ALTER TABLE t RENAME id TO nr");
    assert_eq!(capture_start(&trail, "t").rows.unwrap().unknown_count, 4);
    assert_eq!(recorded(&trail, &small_baseline("t")).rows_recorded, 4);
    let first = &trail.changes()[1];
    assert_eq!(first.key, Some(json!({"nr": "1"})));
    assert_eq!(
        first.after,
        Some(json!({"n": 0})),
        "the policy does not classify nr"
    );
}

/// The index entries and the sequentially scanned rows of `audit_changes` that were read so far.
fn entries_and_rows_read(trail: &Trail) -> (i64, i64) {
    let read = trail.query_text(
        "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_all_indexes WHERE relid IN (
                    SELECT relid FROM pg_partition_tree('threadline.audit_changes')))
             || ' ' || (SELECT sum(seq_tup_read) FROM pg_stat_all_tables WHERE relid IN (
                    SELECT relid FROM pg_partition_tree('threadline.audit_changes')))",
    );
    let (entries, rows) = read.split_once(' ').unwrap();
    (entries.parse().unwrap(), rows.parse().unwrap())
}

/// The index entries and rows of `audit_changes` that `work` reads. A session reports its statistics
/// when it ends.
fn entries_and_rows_read_by(trail: &Trail, work: impl FnOnce()) -> (i64, i64) {
    let settle = || {
        let sessions = "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        while trail.query_text(sessions) != "0" {
            std::thread::yield_now();
        }
        entries_and_rows_read(trail)
    };
    let before = settle();
    work();
    let after = settle();
    (after.0 - before.0, after.1 - before.1)
}

#[test]
fn capture_start_and_baseline_read_one_index_entry_per_row() {
    const ROWS: i64 = 2000;
    let trail = numbers(0);
    trail.run(&format!(
        "INSERT INTO t SELECT g, 0 FROM generate_series(1, {ROWS}) AS g"
    ));
    trail.run("UPDATE t SET n = n + 1");
    trail.run("UPDATE t SET n = n + 1");
    trail.run("VACUUM ANALYZE threadline.audit_changes");
    let counted = entries_and_rows_read_by(&trail, || {
        assert!(capture_start(&trail, "t").is_unbroken());
    });
    let recorded = entries_and_rows_read_by(&trail, || {
        let batches = small_baseline("t").batch_size(BatchSize::new(500).unwrap());
        assert_eq!(recorded(&trail, &batches).rows_recorded, 0);
    });
    for (entries, rows) in [counted, recorded] {
        assert_eq!(rows, 0, "rows read by a sequential scan");
        assert!(
            (ROWS..ROWS + 100).contains(&entries),
            "{entries} entries for {ROWS} rows"
        );
    }
}
