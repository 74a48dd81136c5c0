//! The history of a row together with the rows that referred to it.

use threadline::query::HistoryWithChildren;
use threadline::{PageSize, RowKeyText, Scope};

use crate::harness::{Trail, captured};

const SHOP: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, region text, code text UNIQUE);
    CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders ON UPDATE CASCADE ON DELETE CASCADE, qty int);
    CREATE TABLE labels (id int PRIMARY KEY, order_code text REFERENCES orders (code), parent int REFERENCES labels);";

/// The changes on pages of a size, newest first, and the same pages read backwards from the end.
fn pages(trail: &Trail, table: &str, key: &str, size: u32) -> Vec<String> {
    let key = RowKeyText::from_values(vec![key.to_owned()]);
    trail.run_async(async |conn| {
        let query = HistoryWithChildren::resolve(conn, &table.parse().unwrap(), &key)
            .await
            .unwrap()
            .page_size(PageSize::new(size).unwrap());
        let mut all = Vec::new();
        let mut page_query = query.clone();
        loop {
            let page = threadline::history_with_children(conn, &page_query)
                .await
                .unwrap();
            if let Some(cursor) = page.previous.clone() {
                let before = threadline::history_with_children(conn, &query.clone().before(cursor))
                    .await
                    .unwrap();
                let ids: Vec<i64> = before.entries.iter().map(|one| one.change.id).collect();
                let known: Vec<i64> = all.iter().map(|(id, _)| *id).collect();
                assert!(
                    known.ends_with(&ids) && !ids.is_empty(),
                    "{known:?} {ids:?}"
                );
                assert!(before.has_more());
            }
            all.extend(page.entries.into_iter().map(|entry| {
                let change = entry.change;
                let row = format!("{} {} {}", change.op, change.table_name, change.shown_key());
                (change.id, row)
            }));
            match page.next {
                Some(next) => page_query = query.clone().after(next),
                None => break,
            }
        }
        assert!(all.is_sorted_by(|a, b| a.0 > b.0), "{all:?}");
        all.into_iter().map(|(_, row)| row).collect()
    })
}

#[test]
fn changes_of_rows_that_referred_to_the_row_are_listed_in_one_order() {
    let trail = captured(SHOP, &["orders", "lines", "labels"]);
    trail.run("INSERT INTO orders VALUES (1, 'eu', 'a'), (2, 'eu', 'b')");
    trail.run("INSERT INTO lines VALUES (10, 1, 1), (20, 2, 1)");
    trail.run("UPDATE lines SET qty = 2");
    trail.run("INSERT INTO labels VALUES (100, 'a', NULL), (101, 'b', 100)");
    trail.run("UPDATE orders SET id = 3 WHERE id = 1");
    trail.run("UPDATE lines SET order_id = 2 WHERE id = 10");
    trail.run("UPDATE lines SET qty = 9 WHERE id = 10");
    trail.run("INSERT INTO lines VALUES (30, 3, 1)");
    trail.run(
        "DELETE FROM labels WHERE id = 101; DELETE FROM labels; DELETE FROM orders WHERE id = 3",
    );
    trail.run("INSERT INTO lines VALUES (40, 2, 1)");
    let expected = [
        "delete lines 30",
        "delete orders 3",
        "delete labels 100",
        "insert lines 30",
        "update lines 10",
        "update lines 10",
        "update orders 3",
        "insert labels 100",
        "update lines 10",
        "insert lines 10",
        "insert orders 1",
    ];
    for size in [1, 2, 3, 5, 11, 50] {
        assert_eq!(
            pages(&trail, "orders", "3", size),
            expected,
            "pages of {size}"
        );
    }
}

#[test]
fn a_row_that_refers_to_itself_is_listed_once() {
    let trail = captured(
        "CREATE TABLE nodes (id int PRIMARY KEY, parent int REFERENCES nodes)",
        &["nodes"],
    );
    trail.run("INSERT INTO nodes VALUES (1, 1), (2, 1), (3, 2)");
    assert_eq!(
        pages(&trail, "nodes", "1", 2),
        ["insert nodes 2", "insert nodes 1"]
    );
}

#[test]
fn a_scope_hides_the_children_of_a_hidden_row() {
    let trail = captured(SHOP, &["orders", "lines", "labels"]);
    trail.run("INSERT INTO orders VALUES (1, 'eu', 'a'); INSERT INTO lines VALUES (10, 1, 1)");
    let listed = |tables: &[&str]| {
        let scope = Scope::new().tables(tables.iter().map(|table| table.parse().unwrap()));
        let key = RowKeyText::from_values(vec!["1".to_owned()]);
        let page = trail.run_async(async |conn| {
            let query = HistoryWithChildren::resolve(conn, &"orders".parse().unwrap(), &key).await;
            threadline::history_with_children(conn, &query.unwrap().scope(&scope)).await
        });
        let tables = page
            .unwrap()
            .entries
            .into_iter()
            .map(|entry| entry.change.table_name);
        tables.collect::<Vec<_>>()
    };
    assert_eq!(listed(&["orders", "lines"]), ["lines", "orders"]);
    assert_eq!(listed(&["orders"]), ["orders"]);
    assert!(listed(&["lines"]).is_empty());
}
