//! Timelines and histories.

use diesel::prelude::*;
use threadline::prelude::*;
use threadline::query::{Attribution, InvalidCursor};
use threadline::schema::audit_changes;
use threadline::{Cursor, PageSize, ReadError};

use crate::harness::{Trail, block_on, captured};

fn two_tables() -> Trail {
    let trail = captured(
        "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)",
        &["a", "b"],
    );
    for n in 1..=5 {
        trail.run(&format!(
            "SELECT set_config('threadline.actor_ref', '{{\"type\":\"user\",\"id\":\"{n}\"}}', true),
                    set_config('threadline.context', '{{\"correlation_id\":\"c{}\"}}', true);
             INSERT INTO a VALUES ({n}, 0); INSERT INTO b VALUES ({n}, 0)",
            n % 2
        ));
    }
    trail.run("UPDATE a SET v = 1");
    trail
}

fn load(trail: &Trail, query: &Timeline) -> Vec<String> {
    block_on(async {
        let page = threadline::timeline(&mut trail.connect().await, query)
            .await
            .unwrap();
        page.entries
            .iter()
            .map(|e| {
                format!(
                    "{} {} {}",
                    e.change.op,
                    e.change.table_name,
                    e.change.shown_key()
                )
            })
            .collect()
    })
}

#[test]
fn a_timeline_is_newest_first_and_filters_compose() {
    let trail = two_tables();
    assert_eq!(load(&trail, &Timeline::new()).len(), 15);
    let query = Timeline::new().table("b".parse().unwrap()).op(Op::Insert);
    assert_eq!(
        load(&trail, &query),
        [
            "insert b 5",
            "insert b 4",
            "insert b 3",
            "insert b 2",
            "insert b 1"
        ]
    );
    let by = Timeline::new().actor("user:3".parse().unwrap());
    assert_eq!(load(&trail, &by), ["insert b 3", "insert a 3"]);
    let correlated = Timeline::new()
        .correlation_id("c0".parse().unwrap())
        .table("a".parse().unwrap());
    assert_eq!(load(&trail, &correlated), ["insert a 4", "insert a 2"]);
    let unattributed = Timeline::new().attribution(Attribution::Unattributed);
    assert_eq!(load(&trail, &unattributed).len(), 5);
    let attributed = Timeline::new().attribution(Attribution::Attributed);
    assert_eq!(load(&trail, &attributed).len(), 10);
}

#[test]
fn the_actor_filter_uses_the_actor_of_the_change_not_of_the_transaction() {
    let trail = captured("CREATE TABLE a (id int PRIMARY KEY)", &["a"]);
    trail.run(
        "SELECT set_config('threadline.actor_ref', '{\"type\":\"user\",\"id\":\"x\"}', true); INSERT INTO a VALUES (1);
         SELECT set_config('threadline.actor_ref', '{\"type\":\"user\",\"id\":\"y\"}', true); INSERT INTO a VALUES (2)",
    );
    assert_eq!(
        load(&trail, &Timeline::new().actor("user:x".parse().unwrap())),
        ["insert a 1"]
    );
    assert_eq!(
        load(&trail, &Timeline::new().actor("user:y".parse().unwrap())),
        ["insert a 2"]
    );
    assert!(load(&trail, &Timeline::new().actor("admin:x".parse().unwrap())).is_empty());
}

#[test]
fn paging_returns_each_change_once_while_writers_run() {
    let trail = two_tables();
    let mut query = Timeline::new().page_size(PageSize::new(4).unwrap());
    let mut seen = Vec::new();
    block_on(async {
        let mut conn = trail.connect().await;
        loop {
            let page = threadline::timeline(&mut conn, &query).await.unwrap();
            seen.extend(page.entries.iter().map(|entry| entry.change.id));
            trail.run("UPDATE b SET v = v + 1 WHERE id = 1");
            match page.next {
                Some(next) => query = query.after(Cursor::from_text(next.as_str())),
                None => break,
            }
        }
    });
    let mut sorted = seen.clone();
    sorted.sort_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert_eq!((seen.len(), &seen), (15, &sorted));
}

#[test]
fn a_cursor_is_refused_by_a_different_query() {
    let trail = two_tables();
    block_on(async {
        let mut conn = trail.connect().await;
        let small = PageSize::new(1).unwrap();
        let page = threadline::timeline(&mut conn, &Timeline::new().page_size(small))
            .await
            .unwrap();
        let other = Timeline::new().op(Op::Update).after(page.next.unwrap());
        let refused = threadline::timeline(&mut conn, &other).await;
        assert!(matches!(
            refused,
            Err(ReadError::Cursor(InvalidCursor::OtherQuery))
        ));
    });
}

#[test]
fn a_host_filter_composes_with_a_timeline_query() {
    let trail = two_tables();
    block_on(async {
        let mut conn = trail.connect().await;
        let query = Timeline::new()
            .query()
            .unwrap()
            .filter(audit_changes::row_key.eq("2"));
        let rows: Vec<threadline::models::TimelineEntry> =
            diesel_async::RunQueryDsl::load(query, &mut conn)
                .await
                .unwrap();
        assert_eq!(rows.len(), 3);
    });
}

struct A;

impl threadline::Audited for A {
    fn audited_table() -> Result<threadline::table::AuditedTable, threadline::table::InvalidTable> {
        use threadline::table::*;
        AuditedTable::builder(TableName::new("public", "a"))
            .columns(["id", "v"].map(|name| Column::new(name, ColumnType::builtin("int4"))))
            .key(["id"])
            .build()
    }
}

#[test]
fn history_of_a_model_checks_the_shape_of_the_key() {
    let trail = two_tables();
    trail.run("UPDATE a SET id = 10 WHERE id = 2");
    block_on(async {
        let mut conn = trail.connect().await;
        let query = History::<A>::new(10).unwrap();
        let page = threadline::history(&mut conn, &query).await.unwrap();
        let ops: Vec<_> = page.entries.iter().map(|e| e.change.op).collect();
        assert_eq!(ops, [Op::Update, Op::Update, Op::Insert]);
        assert!(History::<A>::new((1, 2)).is_err());
    });
}

fn history_of(trail: &Trail, key: i32) -> Vec<String> {
    block_on(async {
        let query = History::<A>::new(key).unwrap();
        let page = threadline::history(&mut trail.connect().await, &query)
            .await
            .unwrap();
        page.entries
            .iter()
            .rev()
            .map(|e| format!("{} {}", e.change.op, e.change.shown_key()))
            .collect()
    })
}

#[test]
fn history_follows_key_changes_in_both_directions() {
    let trail = captured("CREATE TABLE a (id int PRIMARY KEY, v int)", &["a"]);
    trail.run("INSERT INTO a VALUES (1, 0)");
    trail.run("UPDATE a SET id = 2");
    trail.run("UPDATE a SET v = 1");
    trail.run("UPDATE a SET id = 3");
    // Another row takes the first key afterwards.
    trail.run("INSERT INTO a VALUES (1, 100)");
    let life = ["insert 1", "update 2", "update 2", "update 3"];
    assert_eq!(history_of(&trail, 3), life);
    assert_eq!(
        history_of(&trail, 2),
        life,
        "a former key finds the row that had it"
    );
    assert_eq!(
        history_of(&trail, 1),
        ["insert 1"],
        "a reused key finds the row that has it now"
    );
}

#[test]
fn rows_with_swapped_keys_have_separate_histories() {
    let trail = captured(
        "CREATE TABLE a (id int PRIMARY KEY DEFERRABLE, v int)",
        &["a"],
    );
    trail.run("INSERT INTO a VALUES (1, 10), (2, 20)");
    trail.run("UPDATE a SET v = v + 1");
    trail.run("UPDATE a SET id = 3 - id");
    trail.run("UPDATE a SET v = v + 1 WHERE id = 1");
    assert_eq!(
        history_of(&trail, 1),
        ["insert 2", "update 2", "update 1", "update 1"]
    );
    assert_eq!(history_of(&trail, 2), ["insert 1", "update 1", "update 2"]);
}

#[test]
fn a_key_deleted_and_inserted_again_has_one_history() {
    let trail = captured("CREATE TABLE a (id int PRIMARY KEY, v int)", &["a"]);
    trail.run("INSERT INTO a VALUES (1, 0)");
    trail.run("DELETE FROM a");
    trail.run("INSERT INTO a VALUES (1, 1)");
    assert_eq!(history_of(&trail, 1), ["insert 1", "delete 1", "insert 1"]);
}
