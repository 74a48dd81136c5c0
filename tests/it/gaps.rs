//! Gaps of the trail: what answers say about times in which changes were not captured.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::baseline::{Baseline, CaptureStart, Selection};
use threadline::models::StoredJson;
use threadline::prelude::*;
use threadline::query::{GapKind, RecordedState, RowQuery};
use threadline::{AsOf, DocumentAsOf, RowAsOf, RowKeyText, TableName, TimeTravel, blocking};

use crate::as_of::now;
use crate::harness::{Trail, block_on, captured};

diesel::table! {
    t (id) {
        id -> Integer,
        v -> Nullable<Text>,
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = t)]
struct Row {
    id: i32,
    v: Option<String>,
}

fn table() -> TableName {
    "t".parse().unwrap()
}

fn key(id: i32) -> RowKeyText {
    RowKeyText::from_values(vec![id.to_string()])
}

/// A table with rows 1 to 3.
fn three_rows() -> Trail {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v text)", &["t"]);
    trail.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    trail
}

fn document(trail: &Trail, id: i32, instant: DateTime<Utc>) -> AsOf<StoredJson> {
    trail.run_async(async |conn| {
        let query = DocumentAsOf::new(table(), &key(id), instant);
        threadline::document_as_of(conn, &query).await.unwrap()
    })
}

/// The state of an answer, and the kinds of its gaps.
fn state(trail: &Trail, id: i32, instant: DateTime<Utc>) -> Value {
    let shown = serde_json::to_value(document(trail, id, instant)).unwrap();
    let gaps = shown["gaps"].as_array().cloned().unwrap_or_default();
    let kinds: Vec<_> = gaps.iter().map(|gap| gap["kind"].clone()).collect();
    json!([shown["state"], kinds])
}

fn suspend(trail: &Trail, work: &str) {
    trail.run(&format!(
        "BEGIN; SELECT threadline.suspend_capture('{{t}}', 'backfill'); {work}; COMMIT"
    ));
}

#[test]
fn a_row_is_uncertain_after_a_suspension_until_its_next_change() {
    let trail = three_rows();
    let before = now(&trail);
    suspend(
        &trail,
        "DELETE FROM t WHERE id = 1; UPDATE t SET v = 'b2' WHERE id = 2; INSERT INTO t VALUES (4, 'd')",
    );
    let after = now(&trail);
    trail.run("UPDATE t SET v = 'b3' WHERE id = 2; UPDATE t SET v = 'd2' WHERE id = 4");
    let last = now(&trail);

    assert_eq!(state(&trail, 1, before), json!(["row", []]));
    assert_eq!(state(&trail, 1, last), json!(["uncertain", ["suspended"]]));
    assert_eq!(state(&trail, 2, after), json!(["uncertain", ["suspended"]]));
    assert_eq!(state(&trail, 2, last), json!(["row", []]));
    // The update of row 4 shows the row before it: since the suspension, not before.
    assert_eq!(
        state(&trail, 4, before),
        json!(["uncertain", ["suspended"]])
    );
    assert_eq!(state(&trail, 4, after), json!(["row", []]));
    // Nothing is recorded of row 5: it may have existed since the suspension.
    assert_eq!(
        state(&trail, 5, last),
        json!(["not_yet_known", ["suspended"]])
    );
    assert_eq!(state(&trail, 5, before), json!(["not_yet_known", []]));

    let AsOf::Uncertain(uncertain) = document(&trail, 1, last) else {
        panic!("the deletion was not captured");
    };
    assert!(matches!(uncertain.recorded, RecordedState::Row(_)));
    let gap = &uncertain.gaps[0];
    assert_eq!(
        (
            gap.kind,
            gap.recorded_by.as_str(),
            gap.reason.as_deref(),
            gap.to
        ),
        (GapKind::Suspended, "postgres", Some("backfill"), None)
    );
}

#[test]
fn a_deleted_row_is_uncertain_after_a_suspension_and_other_tables_are_not() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY)",
        &["t", "other"],
    );
    trail.run("INSERT INTO t VALUES (1, 'a'); DELETE FROM t; INSERT INTO other VALUES (1)");
    trail.run("BEGIN; SELECT threadline.suspend_capture('{other}', 'r'); COMMIT");
    assert_eq!(state(&trail, 1, now(&trail)), json!(["deleted", []]));
    suspend(&trail, "INSERT INTO t VALUES (1, 'again')");
    assert_eq!(
        state(&trail, 1, now(&trail)),
        json!(["uncertain", ["suspended"]])
    );
}

#[test]
fn a_model_is_uncertain_after_a_suspension_also_on_sync_connections() {
    let trail = three_rows();
    suspend(&trail, "DELETE FROM t");
    let query = RowAsOf::<Row>::new(1, now(&trail)).unwrap();
    let row = Row {
        id: 1,
        v: Some("a".into()),
    };
    let answers = [
        trail.run_async(async |conn| threadline::as_of(conn, &query).await.unwrap()),
        blocking::as_of(&mut PgConnection::establish(&trail.url()).unwrap(), &query).unwrap(),
    ];
    for answer in answers {
        let AsOf::Uncertain(uncertain) = answer.clone() else {
            panic!("{answer:?}");
        };
        let RecordedState::Row(known) = uncertain.recorded else {
            panic!("{answer:?}");
        };
        assert_eq!(known.row, row);
        assert_eq!(answer.row(), None);
    }
}

#[test]
fn rows_are_uncertain_while_capture_is_disabled_and_after_it() {
    let trail = three_rows();
    let before = now(&trail);
    trail.run("SELECT threadline.disable_capture('public', 't')");
    trail.run("DELETE FROM t WHERE id = 1");
    let between = now(&trail);
    assert_eq!(
        state(&trail, 1, between),
        json!(["uncertain", ["disabled"]])
    );
    trail.capture(&trail.introspect("t"));
    trail.run("UPDATE t SET v = 'b2' WHERE id = 2");
    let after = now(&trail);

    for id in [1, 2] {
        assert_eq!(state(&trail, id, before), json!(["row", []]));
        assert_eq!(
            state(&trail, id, between),
            json!(["uncertain", ["disabled"]])
        );
    }
    assert_eq!(state(&trail, 1, after), json!(["uncertain", ["disabled"]]));
    assert_eq!(state(&trail, 2, after), json!(["row", []]));
}

#[test]
fn rows_of_a_table_that_was_created_again_are_uncertain_since_its_last_change() {
    let trail = three_rows();
    trail.run("UPDATE t SET v = 'b2' WHERE id = 2");
    let instant_of = |id: i32| {
        let text = trail.query_text(&format!(
            "SELECT to_jsonb(max(captured_at)) #>> '{{}}' FROM threadline.audit_changes WHERE row_key = '{id}'"
        ));
        text.parse::<DateTime<Utc>>().unwrap()
    };
    let (inserted, updated) = (instant_of(1), instant_of(2));
    trail.run("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text)");
    let between = now(&trail);
    trail.capture(&trail.introspect("t"));
    trail.run("INSERT INTO t VALUES (2, 'new')");
    let after = now(&trail);

    for instant in [inserted, updated] {
        assert_eq!(state(&trail, 1, instant), json!(["row", []]));
    }
    for instant in [between, after] {
        assert_eq!(
            state(&trail, 1, instant),
            json!(["uncertain", ["recreated"]])
        );
    }
    assert_eq!(state(&trail, 2, after), json!(["row", []]));
    let gaps = trail.run_async(async |conn| {
        let gaps = threadline::capture_gaps(conn, table()).await;
        gaps.unwrap()
    });
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        (gaps[0].from, gaps[0].table_was_empty),
        (Some(updated), Some(true))
    );
}

#[test]
fn rows_are_uncertain_after_missing_triggers_were_repaired_and_not_after_a_new_policy() {
    let trail = three_rows();
    let table = trail.introspect("t");
    trail.capture(&table.clone().redact([], ["v"]).unwrap());
    assert_eq!(state(&trail, 1, now(&trail)), json!(["row", []]));
    trail.run("DROP TRIGGER \"00_threadline_capture\" ON t; DELETE FROM t");
    trail.capture(&table);
    assert_eq!(
        state(&trail, 1, now(&trail)),
        json!(["uncertain", ["triggers_missing"]])
    );
}

#[test]
fn a_baseline_of_all_rows_after_a_gap_decides_which_rows_exist() {
    let trail = three_rows();
    suspend(
        &trail,
        "DELETE FROM t WHERE id = 1; UPDATE t SET v = 'b2' WHERE id = 2",
    );
    let between = now(&trail);
    trail.run_async(async |conn| {
        let admin = AuditContext::new("admin:rita".parse().unwrap());
        let baseline = Baseline::new(table(), admin).selection(Selection::All);
        threadline::record_baseline(conn, &baseline, |_| ControlFlow::Continue(()))
            .await
            .unwrap();
    });
    let after = now(&trail);
    assert_eq!(
        state(&trail, 1, between),
        json!(["uncertain", ["suspended"]])
    );
    assert_eq!(state(&trail, 1, after), json!(["absent", ["suspended"]]));
    assert_eq!(state(&trail, 2, after), json!(["row", []]));
    suspend(&trail, "INSERT INTO t VALUES (1, 'again')");
    assert_eq!(
        state(&trail, 1, now(&trail)),
        json!(["uncertain", ["suspended", "suspended"]])
    );
}

#[test]
fn time_travel_to_the_unrecorded_absence_of_a_table_is_refused_unless_allowed() {
    let trail = three_rows();
    let before = trail
        .query_text("SELECT to_jsonb(max(captured_at)) #>> '{}' FROM threadline.audit_changes");
    trail.run("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text)");
    let between = now(&trail);
    trail.capture(&trail.introspect("t"));
    let rows = |travel: TimeTravel| {
        trail.run_async(async |conn| {
            threadline::time_travel_first::<_, _, i64>(conn, &travel, t::table.count()).await
        })
    };
    let at = |instant| TimeTravel::at(instant).tables([table()]);
    assert_eq!(rows(at(before.parse().unwrap())).unwrap(), 3);
    let refused = rows(at(between)).unwrap_err().to_string();
    assert!(refused.contains("table public.t"), "{refused}");
    assert!(refused.contains("was created again"), "{refused}");
    assert_eq!(rows(at(between).allow_incomplete()).unwrap(), 3);
    assert_eq!(rows(at(now(&trail))).unwrap(), 0);
}

#[test]
fn continuity_lists_the_gaps_of_a_table() {
    let trail = three_rows();
    suspend(&trail, "DELETE FROM t");
    let tables = trail.run_async(async |conn| {
        let query = CaptureStart::new();
        threadline::capture_start(conn, &query).await.unwrap()
    });
    let shown = tables[0].gaps[0].to_string();
    assert!(shown.starts_with("capture was suspended at "), "{shown}");
    assert!(shown.ends_with(" UTC by postgres: backfill"), "{shown}");
}

#[test]
fn an_erased_value_is_unknown_and_its_row_is_certain() {
    let trail = three_rows();
    trail.run("SELECT threadline.erase_values('public', 't', '1', '{v}', 'request 17')");
    assert_eq!(state(&trail, 1, now(&trail)), json!(["row", []]));
    let notes = |id: i32| {
        trail.run_async(async |conn| {
            let notes = threadline::history_notes(conn, &RowQuery::new(table(), &key(id))).await;
            notes.unwrap().gaps
        })
    };
    let gaps = notes(1);
    assert_eq!(
        (gaps[0].kind, &gaps[0].columns[..]),
        (GapKind::Erased, &["v".to_owned()][..])
    );
    assert!(gaps[0].to_string().ends_with("by postgres: request 17"));
    assert_eq!(notes(2), []);
}

#[test]
fn a_history_lists_the_gaps_since_its_row_was_created() {
    let trail = three_rows();
    suspend(&trail, "INSERT INTO t VALUES (4, 'd')");
    trail.run("INSERT INTO t VALUES (5, 'e'); UPDATE t SET v = 'd2' WHERE id = 4");
    for (id, expected) in [(1, 1), (4, 1), (5, 0)] {
        let notes = block_on(async {
            let conn = &mut trail.connect().await;
            threadline::history_notes(conn, &RowQuery::new(table(), &key(id)))
                .await
                .unwrap()
        });
        assert_eq!(notes.gaps.len(), expected, "row {id}");
    }
}
