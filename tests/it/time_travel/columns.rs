//! Columns whose values are unknown: excluded, masked, erased, or added later.

use diesel::prelude::*;
use threadline::query::UnknownReason;
use threadline::time_travel::{TimeTravel, TimeTravelError};

use super::schema::{tt_customers, tt_orders};
use super::{Customer, Order, orders, orders_at, query_as_of, shop, shop_as_of};
use crate::as_of::now;
use crate::harness::{block_on, captured, empty_trail};

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
