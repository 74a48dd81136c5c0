//! Answers that would miss rows: the audit horizon, gaps of capture, tables without a key.

use threadline::time_travel::{TimeTravel, TimeTravelError};

use super::{Counted, Order, TABLES, orders, orders_at, query_as_of};
use crate::as_of::now;
use crate::harness::{block_on, empty_trail};

#[test]
fn an_instant_before_the_audit_horizon_is_refused() {
    let trail = empty_trail();
    let before = now(&trail);
    trail.run(TABLES);
    let travel = |instant| TimeTravel::at(instant).table::<Order>().unwrap();
    let refused = orders(&trail, &travel(now(&trail)));
    assert!(matches!(
        refused,
        Err(TimeTravelError::BeforeHorizon { horizon: None, .. })
    ));
    trail.capture(&trail.introspect("tt_orders"));
    assert_eq!(orders(&trail, &travel(now(&trail))).unwrap(), []);
    trail.run("INSERT INTO tt_orders VALUES (1, 1, 5)");
    let first = now(&trail);
    let refused = orders(&trail, &travel(before));
    assert!(matches!(
        refused,
        Err(TimeTravelError::BeforeHorizon {
            horizon: Some(_),
            ..
        })
    ));
    assert_eq!(orders(&trail, &travel(first)).unwrap(), [(1, 5)]);
    let gone = TimeTravel::at(now(&trail)).tables(["gone".parse().unwrap()]);
    let query = diesel::sql_query("SELECT 1::bigint AS n FROM gone");
    let refused: Result<Vec<Counted>, _> = query_as_of!(trail, gone, query);
    assert!(matches!(refused, Err(TimeTravelError::NoSuchTable(_))));
    assert_eq!(
        orders(&trail, &travel(first).tables(["gone".parse().unwrap()])).unwrap(),
        [(1, 5)],
        "a table that the query does not name is ignored"
    );
}

#[test]
fn incomplete_answers_are_refused_unless_allowed() {
    let rows = "INSERT INTO tt_orders VALUES (1, 1, 10), (2, 1, 20), (3, 1, 30), (4, 1, 40)";
    let reasons = [
        ("had rows when capture was enabled", ""),
        (
            "capture was suspended",
            "BEGIN; SELECT threadline.suspend_capture('{tt_orders}', 'bulk'); UPDATE tt_orders SET total = 0 WHERE id = 4; COMMIT",
        ),
        (
            "capture was disabled",
            "SELECT threadline.disable_capture('public', 'tt_orders')",
        ),
    ];
    for (reason, gap) in reasons {
        let trail = empty_trail();
        trail.run(TABLES);
        if gap.is_empty() {
            trail.run(rows);
        }
        trail.capture(&trail.introspect("tt_orders"));
        if !gap.is_empty() {
            trail.run(rows);
            let before = now(&trail);
            trail.run(gap);
            assert_eq!(
                orders_at(&trail, before),
                [(1, 10), (2, 20), (3, 30), (4, 40)],
                "{reason}"
            );
        }
        let instant = now(&trail);
        trail.run("UPDATE tt_orders SET total = 11 WHERE id = 1; UPDATE tt_orders SET id = 22 WHERE id = 2");
        trail.run("DELETE FROM tt_orders WHERE id = 3");
        let travel = TimeTravel::at(instant).table::<Order>().unwrap();
        let refused = orders(&trail, &travel).unwrap_err();
        assert!(matches!(refused, TimeTravelError::Incomplete { .. }));
        assert!(refused.to_string().contains(reason), "{refused}");
        let known = orders(&trail, &travel.allow_incomplete()).unwrap();
        assert!(
            known.starts_with(&[(1, 10), (2, 20), (3, 30)]),
            "{reason}: {known:?}"
        );
    }
}

#[test]
fn a_finished_baseline_makes_older_rows_known_since_capture_began() {
    let trail = empty_trail();
    trail.run(TABLES);
    trail.run("INSERT INTO tt_orders VALUES (1, 1, 10), (2, 1, 20), (3, 1, 30), (4, 1, 40)");
    trail.capture(&trail.introspect("tt_orders"));
    let first = now(&trail);
    trail.run("UPDATE tt_orders SET total = 11 WHERE id = 1; DELETE FROM tt_orders WHERE id = 2");
    let second = now(&trail);
    trail.run(
        "INSERT INTO threadline.audit_changes (captured_at, transaction_id, op, table_schema, table_name, row_key, table_pk, data_after)
         SELECT clock_timestamp(), threadline.current_transaction_id(), 'baseline', 'public', 'tt_orders', id::text,
             jsonb_build_object('id', id::text), to_jsonb(o) FROM tt_orders AS o WHERE id > 2;
         INSERT INTO threadline.audit_baseline_runs (transaction_id, table_schema, table_name, selection, state, started_at,
             ended_at, actor, first_change)
         VALUES (threadline.current_transaction_id(), 'public', 'tt_orders', 'unknown', 'finished', now(), clock_timestamp(),
             'system:t', 0)",
    );
    trail.run("UPDATE tt_orders SET total = 31 WHERE id = 3");
    assert_eq!(
        orders_at(&trail, first),
        [(1, 10), (2, 20), (3, 30), (4, 40)]
    );
    assert_eq!(orders_at(&trail, second), [(1, 11), (3, 30), (4, 40)]);
    assert_eq!(orders_at(&trail, now(&trail)), [(1, 11), (3, 31), (4, 40)]);
}

#[test]
fn tables_without_a_key_are_answered_exactly_or_refused() {
    let trail = empty_trail();
    trail.run("CREATE TABLE tt_orders (id int, customer_id int, total bigint)");
    trail.run("INSERT INTO tt_orders VALUES (0, 0, 0)");
    trail.capture(&trail.introspect("tt_orders"));
    trail.run("INSERT INTO tt_orders VALUES (1, 1, 10), (1, 1, 10), (2, 1, 20)");
    trail.run("UPDATE tt_orders SET total = 11 WHERE id = 2; DELETE FROM tt_orders WHERE ctid IN (SELECT ctid FROM tt_orders WHERE id = 1 LIMIT 1)");
    let travel = || {
        let travel = TimeTravel::at(now(&trail)).table::<Order>().unwrap();
        travel.allow_incomplete()
    };
    assert_eq!(orders(&trail, &travel()).unwrap(), [(1, 10), (2, 11)]);
    trail.run("UPDATE tt_orders SET total = 1 WHERE id = 0");
    let refused = orders(&trail, &travel()).unwrap_err().to_string();
    assert!(refused.contains("are not known exactly"), "{refused}");
}
