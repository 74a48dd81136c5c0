//! Values of every type, and random transactions compared with the rows at that time.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use threadline::time_travel::{TimeTravel, TimeTravelError};

use super::schema::{tt_customers, tt_orders};
use super::{Customer, Order, TABLES, shop_as_of};
use crate::as_of::now;
use crate::exactness::{TYPES, VALUES};
use crate::harness::{block_on, captured, server_can};

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
