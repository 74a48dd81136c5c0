//! The query plans of exports: changes are read in order, without sorting the trail.

use diesel::dsl::sql;
use diesel::sql_types::Integer;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use threadline_diesel::Timeline;
use threadline_export::{Export, Order, count};

use crate::harness::{Trail, block_on, server_log};

/// Has the server log the plans of all statements. Returns false if it does not support that.
async fn log_plans(conn: &mut AsyncPgConnection) -> bool {
    let enabled = conn
        .batch_execute(
            "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0;
             SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off",
        )
        .await;
    if enabled.is_err() {
        eprintln!("skipped: this PostgreSQL does not have auto_explain");
    }
    enabled.is_ok()
}

/// The plan of an export's cursor and the number of changes; `None` if plans cannot be logged.
fn plan_of(trail: &Trail, export: &Export) -> Option<(String, u64)> {
    let before = server_log().len();
    let (rows, session) = block_on(async {
        let mut conn = trail.connect().await;
        if !log_plans(&mut conn).await {
            return None;
        }
        let done = export.write_to(&mut conn, &mut Vec::new(), |_| {}).await;
        let session = diesel::select(sql::<Integer>("pg_backend_pid()"))
            .get_result::<i32>(&mut conn)
            .await;
        Some((done.unwrap().summary.row_count, session.unwrap()))
    })?;
    // Concurrent tests write to the same log.
    let log = server_log();
    let prefix = format!("[{session}] LOG:");
    let plan = log[before..]
        .split(&prefix)
        .find(|entry| entry.contains("DECLARE threadline_export"))
        .expect("the plan of the cursor");
    let end = plan.find("] LOG:").unwrap_or(plan.len());
    Some((plan[..end].to_owned(), rows))
}

fn assert_no_sort(trail: &Trail, timeline: &Timeline, rows: u64) {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let export = Export::new(timeline.clone()).order(order);
        let Some((plan, found)) = plan_of(trail, &export) else {
            return;
        };
        assert_eq!(found, rows);
        assert!(!plan.contains("Sort  ("), "{plan}");
        assert!(!plan.contains("Hash Join"), "{plan}");
        assert!(!plan.contains("Seq Scan on audit_changes_2"), "{plan}");
    }
}

#[test]
fn the_whole_trail_is_read_in_order_without_a_sort() {
    assert_no_sort(&Trail::with_60_000_changes(), &Timeline::new(), 60_000);
}

#[test]
fn a_table_is_read_in_order_without_a_sort() {
    let letters = Timeline::new().table("letters".parse().unwrap());
    assert_no_sort(&Trail::with_60_000_changes(), &letters, 30_000);
}

#[test]
fn a_correlation_of_half_the_trail_is_read_in_order_without_a_sort() {
    let bulk = Timeline::new().correlation_id("bulk".parse().unwrap());
    assert_no_sort(&Trail::with_60_000_changes(), &bulk, 30_000);
}

#[test]
fn an_actor_of_half_the_trail_is_read_in_order_without_a_sort() {
    let bulk = Timeline::new().actor("user:bulk".parse().unwrap());
    assert_no_sort(&Trail::with_60_000_changes(), &bulk, 30_000);
}

#[test]
fn a_small_correlation_is_found_by_its_index() {
    let rare = Timeline::new().correlation_id("rare".parse().unwrap());
    let export = Export::new(rare);
    let Some((plan, rows)) = plan_of(&Trail::with_60_000_changes(), &export) else {
        return;
    };
    assert_eq!(rows, 100);
    assert!(plan.contains("Sort  ("), "{plan}");
    assert!(plan.contains("transaction_id_id_idx"), "{plan}");
    assert!(!plan.contains("Rows Removed by Filter: 1000"), "{plan}");
}

#[test]
fn newest_first_reverses_oldest_first() {
    let trail = Trail::with_changes(4_100);
    let lines = |order| -> Vec<String> {
        let (text, manifest) = trail.export(&Export::new(Timeline::new()).order(order));
        assert_eq!(manifest.summary.order, order);
        text.lines().map(str::to_owned).collect()
    };
    let mut reversed = lines(Order::NewestFirst);
    reversed.reverse();
    assert_eq!(lines(Order::OldestFirst), reversed);
}

#[test]
fn every_access_path_finds_the_same_changes() {
    let trail = Trail::with_60_000_changes();
    for (timeline, filter) in [
        (
            Timeline::new().correlation_id("bulk".parse().unwrap()),
            "t.correlation_id = 'bulk'",
        ),
        (
            Timeline::new()
                .actor("user:bulk".parse().unwrap())
                .table("notes".parse().unwrap()),
            "t.correlation_id = 'bulk' AND c.table_name = 'notes'",
        ),
        (
            Timeline::new().row(
                "notes".parse().unwrap(),
                &threadline_core::row_key::RowKeyText::from_values(vec!["2".into()]),
            ),
            "c.table_name = 'notes' AND c.row_key = '2'",
        ),
        (Timeline::new().request_id("none".parse().unwrap()), "false"),
    ] {
        let expected = trail.query(&format!(
            "SELECT COALESCE(string_agg(c.id::text, ',' ORDER BY c.captured_at, c.id), '')
             FROM threadline.audit_changes AS c
             JOIN threadline.audit_transactions AS t ON t.id = c.transaction_id WHERE {filter}"
        ));
        let counted = block_on(async { count(&mut trail.connect().await, &timeline).await });
        let (text, manifest) = trail.export(&Export::new(timeline));
        assert_eq!(counted.unwrap(), manifest.summary.row_count);
        let found: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].to_string())
            .collect();
        assert_eq!(found.join(","), expected);
    }
}
