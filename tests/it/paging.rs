//! Paging in both directions returns each entry once, and a cursor is accepted only by its own query.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use threadline::prelude::*;
use threadline::query::InvalidCursor;
use threadline::{
    Actions, Cursor, Order, Page, PageSize, ReadError, Scope, TimelineEntry, Transactions, blocking,
};

use crate::harness::{Trail, captured};

/// Changes, many of which share an instant, and actions.
fn busy() -> (Trail, PgConnection) {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    for n in 0..9 {
        trail.run(&format!(
            "INSERT INTO t SELECT g, 0 FROM generate_series({n} * 10, {n} * 10 + {n}) AS g;
             SELECT threadline.record_action(jsonb_build_object('id',
                 '019a0000-0000-7000-8000-00000000000{n}', 'name', 'a'), NULL, '{{}}')"
        ));
    }
    let conn = PgConnection::establish(&trail.url()).unwrap();
    (trail, conn)
}

fn size(entries: u32) -> PageSize {
    PageSize::new(entries).unwrap()
}

/// The query of the page after a cursor, before it, or of the first page.
fn query_at(query: &Timeline, position: Option<(bool, Cursor)>) -> Timeline {
    match position {
        None => query.clone(),
        Some((true, cursor)) => query.clone().after(cursor),
        Some((false, cursor)) => query.clone().before(cursor),
    }
}

/// Pages through a list to its end and back, and returns the keys of both ways in list order. Calls
/// `between` before each further page.
fn page_through_and_back<T, K: Ord + Clone + std::fmt::Debug>(
    mut fetch: impl FnMut(Option<(bool, Cursor)>) -> Page<T>,
    key: impl Fn(&T) -> K,
    mut between: impl FnMut(),
) -> (Vec<K>, Vec<K>) {
    let keys = |page: &Page<T>| page.entries.iter().map(&key).collect::<Vec<_>>();
    let mut page = fetch(None);
    assert!(!page.has_previous(), "the first page has no previous page");
    let mut forward = keys(&page);
    while let Some(next) = page.next {
        between();
        page = fetch(Some((true, next)));
        assert!(page.has_previous());
        forward.extend(keys(&page));
    }
    let mut backward = keys(&page);
    while let Some(previous) = page.previous {
        between();
        page = fetch(Some((false, previous)));
        assert!(page.has_more());
        backward.splice(0..0, keys(&page));
    }
    (forward, backward)
}

#[test]
fn paging_forwards_and_backwards_returns_every_entry_for_any_page_size() {
    let (_trail, mut conn) = busy();
    let everything = size(10_000);
    let changes = blocking::timeline(&mut conn, &Timeline::new().page_size(everything)).unwrap();
    let changes: Vec<_> = changes.entries.iter().map(|e| e.change.id).collect();
    let actions = blocking::actions(&mut conn, &Actions::new().page_size(everything)).unwrap();
    let actions: Vec<_> = actions.entries.iter().map(|a| a.id).collect();
    assert_eq!((changes.len(), actions.len()), (45, 9));
    let mut runner = TestRunner::new(Config {
        cases: 40,
        ..Config::default()
    });
    let conn = std::cell::RefCell::new(conn);
    runner
        .run(&(1_u32..50, any::<bool>()), |(entries, reverse)| {
            let conn = &mut *conn.borrow_mut();
            let order = if reverse {
                Order::OldestFirst
            } else {
                Order::NewestFirst
            };
            let query = Timeline::new().page_size(size(entries)).order(order);
            let fetch = |position: Option<(bool, Cursor)>| {
                let query = match position {
                    None => query.clone(),
                    Some((true, cursor)) => query.clone().after(cursor),
                    Some((false, cursor)) => query.clone().before(cursor),
                };
                blocking::timeline(conn, &query).unwrap()
            };
            let (forward, backward) = page_through_and_back(fetch, |entry| entry.change.id, || {});
            let mut expected = changes.clone();
            if reverse {
                expected.reverse();
            }
            prop_assert_eq!(&forward, &expected);
            prop_assert_eq!(&backward, &expected);

            let query = Actions::new().page_size(size(entries));
            let fetch = |position: Option<(bool, Cursor)>| {
                let query = match position {
                    None => query.clone(),
                    Some((true, cursor)) => query.clone().after(cursor),
                    Some((false, cursor)) => query.clone().before(cursor),
                };
                blocking::actions(conn, &query).unwrap()
            };
            let (forward, backward) = page_through_and_back(fetch, |action| action.id, || {});
            prop_assert_eq!(&forward, &actions);
            prop_assert_eq!(&backward, &actions);
            Ok(())
        })
        .unwrap();
}

#[test]
fn paging_transactions_forwards_and_backwards_returns_every_entry() {
    let (trail, _) = busy();
    for entries in [1, 2, 4, 9, 10] {
        let query = Transactions::new().page_size(size(entries));
        let fetch = |position: Option<(bool, Cursor)>| {
            let query = match position {
                None => query.clone(),
                Some((true, cursor)) => query.clone().after(cursor),
                Some((false, cursor)) => query.clone().before(cursor),
            };
            trail
                .run_async(async |conn| threadline::transactions(conn, &query).await)
                .unwrap()
        };
        let (forward, backward) = page_through_and_back(fetch, |transaction| transaction.id, || {});
        assert_eq!(forward.len(), 9);
        assert_eq!(forward, backward);
    }
}

/// H 3.4.32: transactions commit between two pages.
#[test]
fn paging_returns_each_entry_once_while_writers_run() {
    let (trail, mut conn) = busy();
    let before: BTreeSet<_> = {
        let page = blocking::timeline(&mut conn, &Timeline::new().page_size(size(10_000)));
        page.unwrap().entries.iter().map(|e| e.change.id).collect()
    };
    let url = trail.url();
    let running = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let keep_running = running.clone();
    let writer = std::thread::spawn(move || {
        let mut conn = PgConnection::establish(&url).unwrap();
        while keep_running.load(std::sync::atomic::Ordering::Relaxed) {
            diesel::sql_query("UPDATE t SET v = v + 1 WHERE id < 20")
                .execute(&mut conn)
                .unwrap();
        }
    });
    let query = Timeline::new().page_size(size(4));
    let fetch = |position| blocking::timeline(&mut conn, &query_at(&query, position)).unwrap();
    let mut pages = 0;
    let (forward, backward) = page_through_and_back(
        fetch,
        |entry| entry.change.id,
        || {
            pages += 1;
            if pages > 20 {
                // Stop the writer on the way back, so that the list has an end.
                running.store(false, std::sync::atomic::Ordering::Relaxed);
            }
        },
    );
    running.store(false, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    for read in [&forward, &backward] {
        let distinct: BTreeSet<_> = read.iter().copied().collect();
        assert_eq!(distinct.len(), read.len(), "an entry was read twice");
        assert!(before.is_subset(&distinct), "an entry was left out");
    }
    let sorted = |read: &[i64]| read.windows(2).all(|pair| pair[0] > pair[1]);
    assert!(sorted(&forward));
}

/// The changes of one statement share an instant, and those of a busy actor are read in several steps.
#[test]
fn paging_by_actor_returns_each_change_of_a_large_statement_once() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    let signed = r#"PERFORM set_config('threadline.actor_ref', '{"type":"user","id":"a"}', true)"#;
    trail.run(&format!(
        "DO $$ BEGIN
             FOR i IN 1 .. 1100 LOOP {signed}; INSERT INTO t VALUES (i, 0); COMMIT; END LOOP;
         END $$"
    ));
    trail.run(&format!(
        "DO $$ BEGIN {signed}; INSERT INTO t SELECT g, 1 FROM generate_series(2000, 4999) AS g; END $$"
    ));
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let query = Timeline::new()
        .actor("user:a".parse().unwrap())
        .page_size(size(700));
    let fetch = |position| blocking::timeline(&mut conn, &query_at(&query, position)).unwrap();
    let (forward, backward) = page_through_and_back(fetch, |entry| entry.change.id, || {});
    let distinct: BTreeSet<_> = forward.iter().copied().collect();
    assert_eq!((forward.len(), distinct.len()), (4100, 4100));
    assert_eq!(forward, backward);
}

/// The newest transactions of an actor are read first. An older transaction that is still open may have
/// made later changes: those of the actor belong on the page, those of another actor do not.
#[test]
fn paging_by_actor_includes_late_changes_of_long_transactions_in_order() {
    for many in [30, 1_100] {
        let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
        let sign = |actor: &str| {
            format!(
                "set_config('threadline.actor_ref', '{{\"type\":\"user\",\"id\":\"{actor}\"}}', true)"
            )
        };
        let long = |actor: &str, first_id: i32| {
            let mut conn = PgConnection::establish(&trail.url()).unwrap();
            conn.batch_execute(&format!(
                "BEGIN; SELECT {}; INSERT INTO t VALUES ({first_id}, 0)",
                sign(actor)
            ))
            .unwrap();
            conn
        };
        let (mut theirs, mut strangers) = (long("a", -1), long("b", -2));
        let short_ones = |from: i32, to: i32| {
            trail.run(&format!(
                "DO $$ BEGIN FOR i IN {from} .. {to} LOOP
                     PERFORM {}; INSERT INTO t VALUES (i * 2, 0), (i * 2 + 1, 0); COMMIT;
                 END LOOP; END $$",
                sign("a")
            ));
        };
        short_ones(1, many);
        for (conn, id) in [(&mut theirs, -1), (&mut strangers, -2)] {
            let touch = format!("UPDATE t SET v = 1 WHERE id = {id}");
            conn.batch_execute(&touch).unwrap();
        }
        short_ones(many + 1, many + 10);
        for (mut conn, id) in [(theirs, -1), (strangers, -2)] {
            let touch = format!("UPDATE t SET v = 2 WHERE id = {id}; COMMIT");
            conn.batch_execute(&touch).unwrap();
        }

        let mut conn = PgConnection::establish(&trail.url()).unwrap();
        let of_a = Timeline::new().actor("user:a".parse().unwrap());
        let expected: Vec<TimelineEntry> = of_a.unpaged_query().load(&mut conn).unwrap();
        let mut expected: Vec<_> = expected.iter().map(|entry| entry.change.id).collect();
        expected.reverse();
        assert_eq!(expected.len(), 3 + usize::try_from(many + 10).unwrap() * 2);
        for entries in [3, 10, 15] {
            let query = of_a.clone().page_size(size(entries));
            let fetch =
                |position| blocking::timeline(&mut conn, &query_at(&query, position)).unwrap();
            let (forward, backward) = page_through_and_back(fetch, |entry| entry.change.id, || {});
            assert_eq!(forward, expected, "{entries} on a page, of {many}");
            assert_eq!(
                backward, expected,
                "{entries} on a page, of {many}, and back"
            );
        }
    }
}

#[test]
fn has_previous_and_has_more_are_exact() {
    let (trail, mut conn) = busy();
    let query = Timeline::new().page_size(size(2));
    let first = blocking::timeline(&mut conn, &query).unwrap();
    let second = query.clone().after(first.next.clone().unwrap());
    let second = blocking::timeline(&mut conn, &second).unwrap();
    let back = query.clone().before(second.previous.unwrap());
    let back = blocking::timeline(&mut conn, &back).unwrap();
    assert_eq!(back.entries, first.entries);
    assert!(!back.has_previous() && back.has_more());
    trail.run("UPDATE t SET v = 1 WHERE id IN (20, 21)");
    let again = query.clone().before(first.next.unwrap());
    let again = blocking::timeline(&mut conn, &again).unwrap();
    assert!(again.has_previous(), "newer changes exist now");
    // The last page has a previous page and no next one.
    let oldest = Timeline::new().order(Order::OldestFirst).page_size(size(1));
    let end = blocking::timeline(&mut conn, &oldest).unwrap().entries[0]
        .change
        .id;
    let whole = blocking::timeline(&mut conn, &Timeline::new().page_size(size(45))).unwrap();
    let rest = Timeline::new()
        .page_size(size(45))
        .after(whole.next.unwrap());
    let rest = blocking::timeline(&mut conn, &rest).unwrap();
    assert_eq!(rest.entries.last().unwrap().change.id, end);
    assert!(rest.has_previous() && !rest.has_more());
}

#[test]
fn a_cursor_is_refused_by_every_other_query() {
    let (_trail, mut conn) = busy();
    let query = Timeline::new().page_size(size(1));
    let page = blocking::timeline(&mut conn, &query).unwrap();
    let cursor = page.next.unwrap();
    let table: threadline::table::TableName = "t".parse().unwrap();
    let others = [
        Timeline::new().op(Op::Update),
        Timeline::new().table(table.clone()),
        Timeline::new().order(Order::OldestFirst),
        Timeline::new().scope(&Scope::new().tables([table])),
    ];
    for other in others {
        for other in [
            other.clone().after(cursor.clone()),
            other.before(cursor.clone()),
        ] {
            let refused = blocking::timeline(&mut conn, &other);
            assert!(matches!(
                refused,
                Err(ReadError::Cursor(InvalidCursor::OtherQuery))
            ));
        }
    }
    let refused = blocking::actions(&mut conn, &Actions::new().after(cursor.clone()));
    assert!(matches!(
        refused,
        Err(ReadError::Cursor(InvalidCursor::OtherQuery))
    ));
    // Another page size does not make it another query.
    let larger = Timeline::new().page_size(size(7)).after(cursor);
    assert_eq!(
        blocking::timeline(&mut conn, &larger)
            .unwrap()
            .entries
            .len(),
        7
    );
}
