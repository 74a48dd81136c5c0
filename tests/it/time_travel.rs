//! Diesel queries over audited tables as of an instant.

use chrono::{DateTime, Utc};
use diesel::dsl::{count_star, sum};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use threadline::prelude::*;
use threadline::query::UnknownReason;
use threadline::time_travel::{TimeTravel, TimeTravelError};

use crate::as_of::now;
use crate::exactness::{TYPES, VALUES};
use crate::harness::{Trail, block_on, captured, empty_trail, server_can};

mod schema {
    diesel::table! {
        tt_customers (id) {
            id -> Integer,
            name -> Text,
        }
    }
    diesel::table! {
        tt_orders (id) {
            id -> Integer,
            customer_id -> Integer,
            total -> BigInt,
        }
    }
    pub(super) mod other {
        diesel::table! {
            vault.tt_orders (id) {
                id -> Integer,
                total -> BigInt,
            }
        }
    }
    diesel::allow_tables_to_appear_in_same_query!(tt_customers, tt_orders);
}
use schema::{other, tt_customers, tt_orders};

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = tt_customers)]
struct Customer {
    id: i32,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = tt_orders)]
struct Order {
    id: i32,
    customer_id: i32,
    total: i64,
}

const TABLES: &str = "CREATE TABLE tt_customers (id int PRIMARY KEY, name text NOT NULL);
    CREATE TABLE tt_orders (id int PRIMARY KEY, customer_id int NOT NULL, total bigint NOT NULL);";

fn shop() -> Trail {
    let trail = captured(TABLES, &["tt_customers", "tt_orders"]);
    trail.run(
        "INSERT INTO tt_customers VALUES (1, 'ada'), (2, 'eve');
         INSERT INTO tt_orders VALUES (10, 1, 100), (11, 1, 200), (12, 2, 300)",
    );
    trail
}

fn shop_as_of(instant: DateTime<Utc>) -> TimeTravel {
    TimeTravel::at(instant)
        .table::<Customer>()
        .unwrap()
        .table::<Order>()
        .unwrap()
}

/// The result of a query as of an instant.
macro_rules! query_as_of {
    ($trail:expr, $travel:expr, $query:expr) => {
        block_on(async {
            threadline::time_travel(&mut $trail.connect().await, &$travel, $query).await
        })
    };
}

/// All orders as of the instant, in the order of their keys.
fn orders(trail: &Trail, travel: &TimeTravel) -> Result<Vec<(i32, i64)>, TimeTravelError> {
    block_on(async {
        let query = tt_orders::table
            .select((tt_orders::id, tt_orders::total))
            .order(tt_orders::id);
        threadline::time_travel(&mut trail.connect().await, travel, query).await
    })
}

fn orders_at(trail: &Trail, instant: DateTime<Utc>) -> Vec<(i32, i64)> {
    orders(trail, &TimeTravel::at(instant).table::<Order>().unwrap()).unwrap()
}

/// Asserts that a future is `Send`, as web frameworks require.
fn assert_send<F: Future + Send>(future: F) -> F {
    future
}

#[test]
fn joins_filters_and_aggregates_are_answered_as_of_an_instant() {
    let trail = shop();
    let first = now(&trail);
    trail.run(
        "UPDATE tt_orders SET total = total * 10, customer_id = 2; DELETE FROM tt_orders WHERE id = 11;
         UPDATE tt_customers SET name = 'robert' WHERE id = 2; INSERT INTO tt_customers VALUES (3, 'new')",
    );
    let second = now(&trail);
    let joined = || {
        tt_orders::table
            .inner_join(tt_customers::table.on(tt_customers::id.eq(tt_orders::customer_id)))
            .filter(tt_orders::total.ge(200))
            .filter(tt_customers::name.ne("nobody"))
            .order(tt_orders::total.desc())
            .select((Order::as_select(), Customer::as_select()))
    };
    let rows: Vec<(Order, Customer)> = query_as_of!(trail, shop_as_of(first), joined()).unwrap();
    let seen: Vec<_> = rows
        .iter()
        .map(|(o, c)| (o.id, o.total, c.name.as_str()))
        .collect();
    assert_eq!(seen, [(12, 300, "eve"), (11, 200, "ada")]);
    block_on(async {
        let conn = &mut trail.connect().await;
        let live: Vec<(Order, Customer)> = diesel_async::RunQueryDsl::load(joined(), conn)
            .await
            .unwrap();
        let rows: Vec<(Order, Customer)> =
            threadline::time_travel(conn, &shop_as_of(second), joined())
                .await
                .unwrap();
        assert_eq!(rows, live);
        let count: i64 =
            threadline::time_travel_first(conn, &shop_as_of(first), tt_orders::table.count())
                .await
                .unwrap();
        assert_eq!(count, 3);
        let whole: Vec<Customer> =
            threadline::time_travel(conn, &shop_as_of(first), tt_customers::table)
                .await
                .unwrap();
        assert_eq!(whole.len(), 2);
        let mut boxed = tt_orders::table.into_boxed();
        boxed = boxed.filter(tt_orders::customer_id.eq_any([1, 7]));
        let travel = shop_as_of(first);
        let future = threadline::time_travel(conn, &travel, boxed.select(tt_orders::id));
        let ids: Vec<i32> = assert_send(future).await.unwrap();
        assert_eq!(ids.len(), 2);
        let sums: Vec<(String, i64)> = threadline::time_travel(
            conn,
            &shop_as_of(first),
            tt_customers::table
                .left_join(tt_orders::table.on(tt_customers::id.eq(tt_orders::customer_id)))
                .group_by(tt_customers::name)
                .having(sum(tt_orders::total).is_not_null())
                .order(tt_customers::name)
                .select((tt_customers::name, count_star())),
        )
        .await
        .unwrap();
        assert_eq!(sums, [("ada".to_owned(), 2), ("eve".to_owned(), 1)]);
    });
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

#[test]
fn a_query_that_reads_current_rows_through_a_view_or_function_is_refused() {
    let trail = shop();
    trail.run(
        "CREATE VIEW rich AS SELECT id FROM tt_orders;
         CREATE TABLE rates (id int PRIMARY KEY);
         CREATE FUNCTION orders_now() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM public.tt_orders';
         CREATE FUNCTION orders_now_declared_immutable() RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS
             'BEGIN RETURN (SELECT count(*) FROM public.tt_orders); END';
         CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1 * 2'",
    );
    let only_customers = TimeTravel::at(now(&trail)).table::<Customer>().unwrap();
    let joined = tt_customers::table
        .inner_join(tt_orders::table.on(tt_customers::id.eq(tt_orders::customer_id)))
        .select(tt_orders::id);
    let refused: Result<Vec<i32>, _> = query_as_of!(trail, only_customers, joined);
    let Err(TimeTravelError::PresentDay(tables)) = refused else {
        panic!("not refused");
    };
    assert_eq!(tables, ["public.tt_orders"]);
    let raw = |sql: &str| {
        query_as_of!(trail, shop_as_of(now(&trail)), diesel::sql_query(sql))
            .map(|rows: Vec<Counted>| rows[0].n)
            .map_err(|error| error.to_string())
    };
    for (sql, expected) in [
        ("SELECT count(*) AS n FROM rich", "public.tt_orders"),
        (
            "SELECT count(*) AS n FROM public.tt_orders AS o JOIN rich ON true",
            "as they are now",
        ),
        ("SELECT count(*) AS n FROM rates", "public.rates"),
        ("SELECT orders_now() AS n", "public.tt_orders"),
        (
            "SELECT orders_now_declared_immutable() AS n",
            "public.tt_orders",
        ),
        (
            "SELECT nextval('threadline.audit_changes_id_seq') AS n",
            "read-only",
        ),
        (
            "DELETE FROM public.tt_orders RETURNING id::bigint AS n",
            "read-only",
        ),
    ] {
        let refused = raw(sql).expect_err(sql);
        assert!(refused.contains(expected), "{sql}: {refused}");
    }
    for (sql, n) in [
        ("SELECT count(*) AS n FROM tt_orders", 3),
        ("SELECT count(*) AS n FROM TT_orders", 3),
        ("SELECT twice(2)::bigint AS n", 4),
        (
            "WITH big AS (SELECT * FROM tt_orders WHERE total > 100) SELECT count(*) AS n FROM big",
            2,
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 4)
             SELECT count(*) AS n FROM r, tt_customers WHERE tt_customers.id = 1",
            4,
        ),
        (
            "(SELECT 1::bigint AS n FROM tt_customers) UNION (SELECT 1)",
            1,
        ),
        (
            "SELECT count(*) AS n FROM tt_orders AS a JOIN tt_orders AS b USING (customer_id)",
            5,
        ),
    ] {
        assert_eq!(raw(sql), Ok(n), "{sql}");
    }
    assert_eq!(
        orders_at(&trail, now(&trail)).len(),
        3,
        "nothing was deleted"
    );
}

#[test]
fn tables_in_other_schemas_are_read_by_unqualified_name() {
    let trail = captured(
        &format!(
            "{TABLES} CREATE SCHEMA vault; CREATE TABLE vault.tt_orders (id int PRIMARY KEY, total bigint)"
        ),
        &["tt_customers", "tt_orders", "vault.tt_orders"],
    );
    trail.run(
        "INSERT INTO tt_customers VALUES (1, 'ada'); INSERT INTO tt_orders VALUES (1, 1, 5);
         INSERT INTO vault.tt_orders VALUES (1, 7)",
    );
    let first = now(&trail);
    trail.run("UPDATE vault.tt_orders SET total = 70; UPDATE tt_orders SET total = 50");
    let vault = TimeTravel::at(first).tables(["vault.tt_orders".parse().unwrap()]);
    let counted: Vec<Counted> = query_as_of!(
        trail,
        vault,
        diesel::sql_query("SELECT total AS n FROM tt_orders")
    )
    .unwrap();
    assert_eq!(counted[0].n, 7);
    let qualified: Result<Vec<i32>, _> = query_as_of!(
        trail,
        vault,
        other::tt_orders::table.select(other::tt_orders::id)
    );
    assert!(matches!(qualified, Err(TimeTravelError::PresentDay(_))));
    assert_eq!(orders_at(&trail, first), [(1, 5)]);
    let both = shop_as_of(first).tables(["vault.tt_orders".parse().unwrap()]);
    let ambiguous: Result<Vec<i32>, _> =
        query_as_of!(trail, both, tt_orders::table.select(tt_orders::id));
    assert!(matches!(ambiguous, Err(TimeTravelError::SameName(..))));
}

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
fn keys_restrict_a_table_to_rows_with_these_keys_at_the_instant() {
    let trail = shop();
    let first = now(&trail);
    trail.run(
        "UPDATE tt_orders SET id = 99 WHERE id = 10; UPDATE tt_orders SET total = 1 WHERE id = 11",
    );
    let second = now(&trail);
    let narrowed = |instant, keys: &[i32]| {
        let travel = TimeTravel::at(instant)
            .keys::<Order>(keys.to_vec())
            .unwrap();
        orders(&trail, &travel).unwrap()
    };
    assert_eq!(narrowed(first, &[10, 11, 99]), [(10, 100), (11, 200)]);
    assert_eq!(narrowed(second, &[10, 11, 99]), [(11, 1), (99, 100)]);
    assert_eq!(narrowed(second, &[]), []);
}

#[test]
fn reading_uncaptured_columns_is_refused_unless_allowed() {
    let trail = empty_trail();
    trail.run("CREATE TABLE tt_customers (id int PRIMARY KEY, name text); CREATE TABLE tt_orders (id int PRIMARY KEY, customer_id int, total bigint)");
    for (table, exclude, mask) in [
        ("tt_customers", "", "name"),
        ("tt_orders", "total", "customer_id"),
    ] {
        let declared = trail.introspect(table);
        let one = |name: &'static str| Some(name).filter(|name| !name.is_empty());
        trail.capture(&declared.redact(one(exclude), one(mask)).unwrap());
    }
    trail.run("INSERT INTO tt_customers VALUES (1, 'ada'); INSERT INTO tt_orders VALUES (1, 1, 5)");
    let travel = shop_as_of(now(&trail));
    let refused_column = |query: Result<Vec<i64>, TimeTravelError>| {
        let Err(TimeTravelError::UnknownColumn { column, .. }) = query else {
            panic!("not refused: {query:?}");
        };
        (column.column, column.reason)
    };
    let total: Result<Vec<i64>, _> =
        query_as_of!(trail, travel, tt_orders::table.select(tt_orders::total));
    assert_eq!(
        refused_column(total),
        ("total".to_owned(), UnknownReason::Excluded)
    );
    let aliased = diesel::alias!(tt_orders as o);
    let masked = aliased
        .filter(aliased.field(tt_orders::customer_id).eq(1))
        .count();
    let masked: Result<Vec<i64>, _> = query_as_of!(trail, travel, masked);
    assert_eq!(
        refused_column(masked),
        ("customer_id".to_owned(), UnknownReason::Masked)
    );
    let whole: Result<Vec<Order>, _> = query_as_of!(trail, travel, tt_orders::table);
    assert!(matches!(whole, Err(TimeTravelError::UnknownColumn { .. })));
    let ids: Vec<i32> =
        query_as_of!(trail, travel, tt_orders::table.select(tt_orders::id)).unwrap();
    assert_eq!(ids, [1]);
    let allowed = travel.allow_unknown_columns();
    let names: Vec<Customer> = query_as_of!(trail, allowed, tt_customers::table).unwrap();
    assert_eq!(names[0].name, "[REDACTED]");
    let totals: Vec<Option<i64>> = query_as_of!(
        trail,
        allowed,
        tt_orders::table.select(tt_orders::total.nullable())
    )
    .unwrap();
    assert_eq!(totals, [None]);
}

#[test]
fn reading_erased_values_is_refused_unless_placeholders_are_allowed() {
    let trail = shop();
    let instant = now(&trail);
    trail.run(
        "SELECT threadline.erase_values('public', 'tt_customers', '1', '{name}', 'asked for')",
    );
    let names = || {
        tt_customers::table
            .select(tt_customers::name)
            .order(tt_customers::id)
    };
    let refused: Result<Vec<String>, _> = query_as_of!(trail, shop_as_of(instant), names());
    let Err(TimeTravelError::UnknownColumn { column, .. }) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert_eq!(column.reason, UnknownReason::Erased);
    let others: Vec<String> = query_as_of!(
        trail,
        shop_as_of(instant),
        tt_customers::table
            .filter(tt_customers::id.eq(2))
            .select(tt_customers::name)
    )
    .unwrap();
    assert_eq!(others, ["eve"]);
    let allowed: Vec<String> =
        query_as_of!(trail, shop_as_of(instant).allow_unknown_columns(), names()).unwrap();
    assert_eq!(allowed, ["[ERASED]", "eve"]);
}

#[test]
fn a_column_added_later_is_unknown_while_a_row_has_an_older_image() {
    let trail = captured(
        "CREATE TABLE tt_orders (id int PRIMARY KEY, customer_id int)",
        &["tt_orders"],
    );
    trail.run("INSERT INTO tt_orders VALUES (1, 1), (2, 1)");
    trail.run("ALTER TABLE tt_orders ADD COLUMN total bigint DEFAULT 9");
    trail.capture(&trail.introspect("tt_orders"));
    trail.run("UPDATE tt_orders SET total = 1 WHERE id = 1");
    let between = now(&trail);
    trail.run("UPDATE tt_orders SET total = 2 WHERE id = 2");
    let travel = |instant| TimeTravel::at(instant).table::<Order>().unwrap();
    let refused = orders(&trail, &travel(between)).unwrap_err().to_string();
    assert!(
        refused.contains("column total of table public.tt_orders is not known of every row as of the instant: not captured"),
        "{refused}"
    );
    assert_eq!(orders_at(&trail, now(&trail)), [(1, 1), (2, 2)]);
    block_on(async {
        let rows: Vec<Option<i64>> = threadline::time_travel(
            &mut trail.connect().await,
            &travel(between).allow_unknown_columns(),
            tt_orders::table
                .select(tt_orders::total.nullable())
                .order(tt_orders::id),
        )
        .await
        .unwrap();
        assert_eq!(rows, [Some(1), None]);
    });
}

#[test]
fn changed_swapped_and_reused_keys_have_one_row_each() {
    for deferrable in ["", "DEFERRABLE"] {
        let trail = captured(
            &format!(
                "CREATE TABLE tt_orders (id int PRIMARY KEY {deferrable}, customer_id int, total bigint)"
            ),
            &["tt_orders"],
        );
        trail.run("INSERT INTO tt_orders VALUES (1, 1, 10), (2, 1, 20)");
        let first = now(&trail);
        trail.run("UPDATE tt_orders SET id = 3 WHERE id = 1");
        let second = now(&trail);
        trail.run("UPDATE tt_orders SET id = 1 WHERE id = 2; DELETE FROM tt_orders WHERE id = 3; INSERT INTO tt_orders VALUES (3, 1, 30)");
        let third = now(&trail);
        assert_eq!(orders_at(&trail, first), [(1, 10), (2, 20)]);
        assert_eq!(orders_at(&trail, second), [(2, 20), (3, 10)]);
        assert_eq!(orders_at(&trail, third), [(1, 20), (3, 30)]);
        if !deferrable.is_empty() {
            trail.run("UPDATE tt_orders SET id = 4 - id");
            assert_eq!(orders_at(&trail, now(&trail)), [(1, 30), (3, 20)]);
            trail.run("SET CONSTRAINTS ALL DEFERRED; INSERT INTO tt_orders VALUES (1, 1, 99); DELETE FROM tt_orders WHERE total = 30");
            assert_eq!(orders_at(&trail, now(&trail)), [(1, 99), (3, 20)]);
        }
        trail.run("TRUNCATE tt_orders; INSERT INTO tt_orders VALUES (1, 1, 1)");
        assert_eq!(orders_at(&trail, now(&trail)), [(1, 1)]);
        assert_eq!(orders_at(&trail, third), [(1, 20), (3, 30)]);
    }
}

#[test]
fn truncated_partitions_lose_their_rows() {
    let trail = captured(
        "CREATE TABLE tt_orders (id int, customer_id int, total bigint, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE tt_low PARTITION OF tt_orders FOR VALUES FROM (0) TO (10);
         CREATE TABLE tt_high PARTITION OF tt_orders DEFAULT",
        &["tt_orders"],
    );
    trail.run("INSERT INTO tt_orders VALUES (1, 1, 10), (20, 1, 200)");
    let first = now(&trail);
    trail.run("UPDATE tt_orders SET id = 30 WHERE id = 1; TRUNCATE tt_low");
    let second = now(&trail);
    trail.run("INSERT INTO tt_orders VALUES (2, 1, 2); TRUNCATE tt_high; INSERT INTO tt_orders VALUES (40, 1, 4)");
    assert_eq!(orders_at(&trail, first), [(1, 10), (20, 200)]);
    assert_eq!(orders_at(&trail, second), [(20, 200), (30, 10)]);
    assert_eq!(orders_at(&trail, now(&trail)), [(2, 2), (40, 4)]);
    trail.run("DROP TABLE tt_high");
    let travel = TimeTravel::at(now(&trail)).table::<Order>().unwrap();
    assert!(matches!(
        orders(&trail, &travel),
        Err(TimeTravelError::Inexact { .. })
    ));
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

#[test]
fn time_travel_inside_a_transaction_is_refused_and_leaves_it_usable() {
    let trail = shop();
    let travel = shop_as_of(now(&trail));
    block_on(async {
        let mut conn = trail.connect().await;
        diesel_async::AsyncConnection::transaction(&mut conn, async |conn| {
            let refused: Result<Vec<i32>, _> =
                threadline::time_travel(conn, &travel, tt_orders::table.select(tt_orders::id))
                    .await;
            assert!(matches!(refused, Err(TimeTravelError::InsideTransaction)));
            let count: i64 =
                diesel_async::RunQueryDsl::get_result(tt_orders::table.count(), conn).await?;
            assert_eq!(count, 3);
            QueryResult::Ok(())
        })
        .await
        .unwrap();
        let refused: Result<Vec<i32>, _> = threadline::time_travel(
            &mut conn,
            &TimeTravel::at(now(&trail)),
            tt_orders::table.select(tt_orders::id),
        )
        .await;
        assert!(refused.is_err());
        let ids: Vec<i32> =
            threadline::time_travel(&mut conn, &travel, tt_orders::table.select(tt_orders::id))
                .await
                .unwrap();
        assert_eq!(ids.len(), 3);
    });
}

#[test]
fn time_travel_needs_select_on_the_trail_only() {
    let trail = shop();
    trail.run("TRUNCATE tt_customers; CREATE SCHEMA vault; ALTER TABLE tt_orders SET SCHEMA vault");
    trail.capture(&trail.introspect("vault.tt_orders"));
    trail.run("INSERT INTO vault.tt_orders VALUES (13, 1, 1)");
    let role = format!(
        "tt_reader_{}",
        trail.query_text("SELECT oid FROM pg_database WHERE datname = current_database()")
    );
    trail.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO {role}"
    ));
    block_on(async {
        let url = trail.url_as(&role);
        let mut conn =
            <diesel_async::AsyncPgConnection as diesel_async::AsyncConnection>::establish(&url)
                .await
                .unwrap();
        let travel = TimeTravel::at(now(&trail))
            .tables([
                "tt_customers".parse().unwrap(),
                "vault.tt_orders".parse().unwrap(),
            ])
            .allow_incomplete();
        let customers: Vec<Customer> =
            threadline::time_travel(&mut conn, &travel, tt_customers::table)
                .await
                .unwrap();
        assert_eq!(customers, []);
        let query = diesel::sql_query("SELECT total AS n FROM tt_orders");
        let totals: Vec<Counted> = threadline::time_travel(&mut conn, &travel, query)
            .await
            .unwrap();
        assert_eq!(totals[0].n, 1);
    });
    trail.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Values of all built-in types and of user-defined types in the rows of one table.
#[test]
fn values_of_every_type_are_restored_exactly() {
    let types: Vec<_> = VALUES
        .iter()
        .filter(|(of, _)| *of != "xml" || server_can("SELECT '<a/>'::xml"))
        .collect();
    let columns: Vec<_> = types
        .iter()
        .enumerate()
        .map(|(n, (of, _))| format!("c{n} {of}"))
        .collect();
    let trail = captured(
        &format!(
            "{TYPES} CREATE TABLE t (id int PRIMARY KEY, {})",
            columns.join(", ")
        ),
        &["t"],
    );
    let longest = types.iter().map(|(_, values)| values.len()).max().unwrap();
    for pick in 0..=longest {
        let values: Vec<_> = types
            .iter()
            .map(|(of, values)| match values.get(pick % (values.len() + 1)) {
                // A text that equals a placeholder is taken for one, as documented.
                Some(value) if !value.contains("REDACTED") => format!("{value}::{of}"),
                _ => "NULL".to_owned(),
            })
            .collect();
        trail.run(&format!(
            "INSERT INTO t VALUES ({pick}, {})",
            values.join(", ")
        ));
    }
    let names: Vec<_> = (0..types.len()).map(|n| format!("c{n}")).collect();
    let rows = format!(
        "SELECT ROW(id, {})::text AS texts FROM t ORDER BY id",
        names.join(", ")
    );
    let travel = TimeTravel::at(now(&trail)).tables(["t".parse().unwrap()]);
    for session in [
        "",
        "SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'German, DMY'; SET IntervalStyle = 'sql_standard';
         SET extra_float_digits = 1; SET bytea_output = 'escape'",
    ] {
        block_on(async {
            let mut conn = trail.connect().await;
            diesel_async::SimpleAsyncConnection::batch_execute(&mut conn, session)
                .await
                .unwrap();
            let now: Vec<Shown> =
                diesel_async::RunQueryDsl::load(diesel::sql_query(&rows), &mut conn)
                    .await
                    .unwrap();
            let then: Vec<Shown> =
                threadline::time_travel(&mut conn, &travel, diesel::sql_query(&rows))
                    .await
                    .unwrap();
            assert_eq!(then, now);
        });
    }
}

#[derive(Debug, PartialEq, QueryableByName)]
struct Shown {
    #[diesel(sql_type = diesel::sql_types::Text)]
    texts: String,
}

/// Statements on two tables. Some fail and roll back their transaction.
fn statement() -> impl Strategy<Value = String> {
    let (id, other, n) = (0..8_i32, 0..8_i32, 0..4_i32);
    (0..12_u8, id, other, n).prop_map(|(kind, id, other, n)| match kind {
        0 | 1 => format!("INSERT INTO tt_orders VALUES ({id}, {other}, {n}) ON CONFLICT DO NOTHING"),
        2 => format!("INSERT INTO tt_customers VALUES ({id}, 'c{n}') ON CONFLICT DO NOTHING"),
        3 => format!("UPDATE tt_orders SET total = total + {n}, customer_id = {other} WHERE id % 3 = {}", id % 3),
        4 => format!("UPDATE tt_customers SET name = 'n{n}' WHERE id <= {id}"),
        5 => format!("UPDATE tt_orders SET id = {other} WHERE id = {id} AND NOT EXISTS (SELECT FROM tt_orders WHERE id = {other})"),
        6 => format!("UPDATE tt_customers SET id = {other} WHERE id = {id} AND NOT EXISTS (SELECT FROM tt_customers WHERE id = {other})"),
        7 => format!("DELETE FROM tt_orders WHERE id = {id} OR total = {n}"),
        8 => format!("DELETE FROM tt_customers WHERE id = {id}"),
        9 => format!("UPDATE tt_orders SET id = {} - id", 8 + n),
        10 if n == 0 => "TRUNCATE tt_orders".to_owned(),
        11 if n == 0 => "TRUNCATE tt_customers".to_owned(),
        _ => format!("SAVEPOINT s; UPDATE tt_orders SET total = 99; ROLLBACK TO s; UPDATE tt_orders SET total = {n} WHERE id = {id}"),
    })
}

type Answer = (Vec<(Order, Option<Customer>)>, Vec<Customer>, i64);

/// The results of three queries now, or as of an instant.
async fn answer(
    conn: &mut AsyncPgConnection,
    travel: Option<&TimeTravel>,
) -> Result<Answer, TimeTravelError> {
    let joined = tt_orders::table
        .left_join(tt_customers::table.on(tt_customers::id.eq(tt_orders::customer_id)))
        .order(tt_orders::id)
        .select((Order::as_select(), Option::<Customer>::as_select()));
    let customers = tt_customers::table.order(tt_customers::id);
    let count = tt_orders::table
        .filter(tt_orders::total.gt(1))
        .filter(tt_orders::customer_id.eq_any(tt_customers::table.select(tt_customers::id)))
        .count();
    Ok(match travel {
        None => (
            diesel_async::RunQueryDsl::load(joined, conn).await?,
            diesel_async::RunQueryDsl::load(customers, conn).await?,
            diesel_async::RunQueryDsl::get_result(count, conn).await?,
        ),
        Some(travel) => (
            threadline::time_travel(conn, travel, joined).await?,
            threadline::time_travel(conn, travel, customers).await?,
            threadline::time_travel_first(conn, travel, count).await?,
        ),
    })
}

#[test]
fn random_transactions_are_answered_as_of_each_instant_as_they_were_then() {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(16);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let work = prop::collection::vec(prop::collection::vec(statement(), 1..5), 1..10);
    runner
        .run(&(work, any::<bool>()), |(transactions, deferrable)| {
            let tables = if deferrable {
                TABLES.replace("PRIMARY KEY", "PRIMARY KEY DEFERRABLE")
            } else {
                TABLES.to_owned()
            };
            let trail = captured(&tables, &["tt_customers", "tt_orders"]);
            trail.run("INSERT INTO tt_customers VALUES (1, 'first'); INSERT INTO tt_orders VALUES (1, 1, 1)");
            block_on(async {
                let mut conn = trail.connect().await;
                let mut seen = vec![(now(&trail), answer(&mut conn, None).await.unwrap())];
                for transaction in &transactions {
                    let mut script = transaction.join("; ");
                    if deferrable {
                        // ON CONFLICT does not support deferrable keys. On a conflict the transaction fails.
                        script = script.replace("ON CONFLICT DO NOTHING", "");
                    }
                    let _ = conn.batch_execute(&format!("BEGIN; {script}; COMMIT")).await;
                    let _ = conn.batch_execute("ROLLBACK").await;
                    seen.push((now(&trail), answer(&mut conn, None).await.unwrap()));
                }
                for (instant, expected) in &seen {
                    let past = answer(&mut conn, Some(&shop_as_of(*instant)))
                        .await
                        .map_err(|error| TestCaseError::fail(error.to_string()))?;
                    prop_assert_eq!(&past, expected, "as of {}", instant);
                }
                Ok::<_, TestCaseError>(())
            })?;
            Ok(())
        })
        .unwrap();
}
