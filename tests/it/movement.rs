//! Rows that an update moves to another partition: stored as a delete and an insert, shown as a move.
use threadline::query::RowQuery;
use threadline::{RowKeyText, TableName, Timeline};

use crate::as_of::now;
use crate::harness::{Trail, block_on, captured};

/// A partitioned table `p`, with all rows in `p_eu`.
fn places() -> Trail {
    let trail = captured(
        "CREATE TABLE p (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu');
         CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us');
         CREATE TABLE p_af PARTITION OF p FOR VALUES IN ('af')",
        &["p"],
    );
    trail.run("INSERT INTO p VALUES (1, 'eu', 1), (2, 'eu', 2), (3, 'eu', 3)");
    trail
}

/// Runs a script and returns the changes it records, as `op key`.
fn recorded(trail: &Trail, script: &str) -> Vec<String> {
    let before = trail.count();
    trail.run(script);
    trail.changes()[before..]
        .iter()
        .map(|change| format!("{} {}", change.op, change.row_key.as_deref().unwrap_or("-")))
        .collect()
}

fn key(id: i32, region: &str) -> RowKeyText {
    RowKeyText::from_values(vec![id.to_string(), region.to_owned()])
}

/// The history of a row by its key, oldest first, as `op key`. The delete and the insert of a move are
/// one entry, `moved`.
fn history(trail: &Trail, id: i32, region: &str) -> Vec<String> {
    block_on(async {
        let mut conn = trail.connect().await;
        let table: TableName = "p".parse().unwrap();
        let query = Timeline::new().row(table.clone(), &key(id, region));
        let page = threadline::timeline(&mut conn, &query).await.unwrap();
        let notes = threadline::history_notes(&mut conn, &RowQuery::new(table, &key(id, region)))
            .await
            .unwrap();
        let mut shown: Vec<_> = page
            .entries
            .iter()
            .filter(|entry| !notes.moves.iter().any(|one| one.left_id == entry.change.id))
            .map(|entry| {
                let moved = notes
                    .moves
                    .iter()
                    .any(|one| one.arrived_id == entry.change.id);
                let op = if moved {
                    "moved"
                } else {
                    entry.change.op.as_str()
                };
                format!("{op} {}", entry.change.shown_key())
            })
            .collect();
        shown.reverse();
        shown
    })
}

#[test]
fn a_partition_move_is_stored_as_delete_and_insert_and_shown_as_moved() {
    let trail = places();
    assert_eq!(
        recorded(&trail, "UPDATE p SET region = 'us', v = 10 WHERE id = 1"),
        [r#"delete ["1", "eu"]"#, r#"insert ["1", "us"]"#]
    );
    trail.run("UPDATE p SET v = 11 WHERE id = 1");
    assert_eq!(
        history(&trail, 1, "us"),
        [
            "insert id=1,region=eu",
            "moved id=1,region=us",
            "update id=1,region=us"
        ]
    );
    assert_eq!(history(&trail, 1, "eu"), history(&trail, 1, "us"));
}

#[test]
fn a_row_moved_away_and_back_has_one_history() {
    let trail = places();
    trail.run(
        "BEGIN; UPDATE p SET region = 'us' WHERE id = 1; UPDATE p SET region = 'af' WHERE id = 1;
         UPDATE p SET region = 'eu' WHERE id = 1; COMMIT",
    );
    assert_eq!(
        history(&trail, 1, "eu"),
        [
            "insert id=1,region=eu",
            "moved id=1,region=us",
            "moved id=1,region=af",
            "moved id=1,region=eu"
        ]
    );
}

#[test]
fn rows_moved_by_one_statement_have_separate_histories() {
    let trail = places();
    trail.run("UPDATE p SET region = CASE id WHEN 1 THEN 'us' ELSE 'af' END");
    assert_eq!(
        history(&trail, 1, "us"),
        ["insert id=1,region=eu", "moved id=1,region=us"]
    );
    assert_eq!(
        history(&trail, 3, "af"),
        ["insert id=3,region=eu", "moved id=3,region=af"]
    );
}

#[test]
fn a_delete_and_insert_with_other_keys_or_in_two_transactions_is_not_a_move() {
    let trail = places();
    trail.run("BEGIN; DELETE FROM p WHERE id = 2; INSERT INTO p VALUES (4, 'us', 2); COMMIT");
    assert_eq!(history(&trail, 4, "us"), ["insert id=4,region=us"]);
    trail.run("DELETE FROM p WHERE id = 3");
    trail.run("INSERT INTO p VALUES (3, 'us', 3)");
    assert_eq!(
        history(&trail, 3, "us"),
        ["insert id=3,region=us"],
        "another transaction"
    );
}

#[test]
fn a_key_reused_after_a_move_has_the_history_of_the_new_row() {
    let trail = places();
    trail.run("UPDATE p SET region = 'us' WHERE id = 1");
    trail.run("INSERT INTO p VALUES (1, 'eu', 100)");
    assert_eq!(history(&trail, 1, "eu"), ["insert id=1,region=eu"]);
    assert_eq!(
        history(&trail, 1, "us"),
        ["insert id=1,region=eu", "moved id=1,region=us"]
    );
    let holders = block_on(async {
        threadline::history_notes(
            &mut trail.connect().await,
            &RowQuery::new("p".parse().unwrap(), &key(1, "eu")),
        )
        .await
        .unwrap()
        .earlier_holders
    });
    assert_eq!(holders[0].next_key, r#"["1", "us"]"#);
}

#[test]
fn erasure_covers_images_from_before_a_move() {
    let trail = places();
    trail.run("UPDATE p SET region = 'us', v = 10 WHERE id = 1");
    let erased = trail.query_text(
        r#"SELECT threadline.erase_values('public', 'p', '["1", "us"]', '{v}', 'asked for')"#,
    );
    assert_eq!(erased, "3");
    assert_eq!(
        trail.query_text("SELECT count(*) FROM threadline.audit_changes WHERE '[ERASED]' IN (data_after ->> 'v', changed_from ->> 'v')"),
        "3"
    );
}

#[test]
fn time_travel_returns_a_moved_row_once() {
    use threadline::time_travel::TimeTravel;

    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        shown: String,
    }
    let trail = places();
    let before = now(&trail);
    trail.run("UPDATE p SET region = 'us', v = 10 WHERE id = 1");
    let after = now(&trail);
    for (instant, expected) in [
        (before, ["1 eu 1", "2 eu 2", "3 eu 3"]),
        (after, ["1 us 10", "2 eu 2", "3 eu 3"]),
    ] {
        let rows: Vec<Row> = block_on(async {
            let travel = TimeTravel::at(instant).tables(["p".parse().unwrap()]);
            let query = diesel::sql_query(
                "SELECT concat_ws(' ', id, region, v) AS shown FROM p ORDER BY id",
            );
            threadline::time_travel(&mut trail.connect().await, &travel, query)
                .await
                .unwrap()
        });
        let rows: Vec<_> = rows.into_iter().map(|row| row.shown).collect();
        assert_eq!(rows, expected);
    }
}
