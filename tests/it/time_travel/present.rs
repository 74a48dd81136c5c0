//! Queries that read current rows are refused; the transaction and the privileges of a query.

use diesel::prelude::*;
use threadline::time_travel::{TimeTravel, TimeTravelError};

use super::schema::{tt_customers, tt_orders};
use super::{Counted, Customer, orders_at, query_as_of, shop, shop_as_of};
use crate::as_of::now;
use crate::harness::block_on;

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
