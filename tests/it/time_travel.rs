//! Diesel queries over audited tables as of an instant.

mod columns;
mod completeness;
mod exactness;
mod present;

use chrono::{DateTime, Utc};
use diesel::dsl::{count_star, sum};
use diesel::prelude::*;
use threadline::prelude::*;
use threadline::time_travel::{TimeTravel, TimeTravelError};

use crate::as_of::now;
use crate::harness::{Trail, block_on, captured};

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
use query_as_of;

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
