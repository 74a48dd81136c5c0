//! Any query over audited tables, as of an instant: what it would have given then.

use chrono::{DateTime, Utc};
use diesel::dsl::{count_star, sum};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use threadline::as_of::UnknownReason;
use threadline::prelude::*;
use threadline::time_travel::{TimeTravel, TimeTravelError, time_travel};
use threadline::{blocking, nonblocking};

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
    use other::tt_orders as vault_orders;
    diesel::allow_tables_to_appear_in_same_query!(tt_customers, vault_orders);
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

fn then(instant: DateTime<Utc>) -> TimeTravel {
    time_travel(instant)
        .table::<Customer>()
        .unwrap()
        .table::<Order>()
        .unwrap()
}

/// Every order as it was, by its key.
fn orders(trail: &Trail, travel: &TimeTravel) -> Result<Vec<(i32, i64)>, TimeTravelError> {
    block_on(async {
        let query = tt_orders::table
            .select((tt_orders::id, tt_orders::total))
            .order(tt_orders::id);
        nonblocking::time_travel(&mut trail.connect().await, travel, query).await
    })
}

fn orders_at(trail: &Trail, instant: DateTime<Utc>) -> Vec<(i32, i64)> {
    orders(trail, &time_travel(instant).table::<Order>().unwrap()).unwrap()
}

#[test]
fn joins_filters_orders_and_counts_are_answered_as_of_an_instant() {
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
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let rows: Vec<(Order, Customer)> =
        blocking::time_travel(&mut conn, &then(first), joined()).unwrap();
    let seen: Vec<_> = rows
        .iter()
        .map(|(o, c)| (o.id, o.total, c.name.as_str()))
        .collect();
    assert_eq!(seen, [(12, 300, "eve"), (11, 200, "ada")]);
    let live: Vec<(Order, Customer)> = joined().load(&mut conn).unwrap();
    block_on(async {
        let conn = &mut trail.connect().await;
        let rows: Vec<(Order, Customer)> = nonblocking::time_travel(conn, &then(second), joined())
            .await
            .unwrap();
        assert_eq!(rows, live);
        let count: i64 =
            nonblocking::time_travel_first(conn, &then(first), tt_orders::table.count())
                .await
                .unwrap();
        assert_eq!(count, 3);
        let whole: Vec<Customer> =
            nonblocking::time_travel(conn, &then(first), tt_customers::table)
                .await
                .unwrap();
        assert_eq!(whole.len(), 2);
        let mut boxed = tt_orders::table.into_boxed();
        boxed = boxed.filter(tt_orders::customer_id.eq_any([1, 7]));
        let ids: Vec<i32> =
            nonblocking::time_travel(conn, &then(first), boxed.select(tt_orders::id))
                .await
                .unwrap();
        assert_eq!(ids.len(), 2);
        let sums: Vec<(String, i64)> = nonblocking::time_travel(
            conn,
            &then(first),
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

#[test]
fn a_table_that_was_not_named_is_refused_wherever_it_hides() {
    let trail = shop();
    trail.run(
        "CREATE VIEW rich AS SELECT id FROM tt_orders;
         CREATE FUNCTION orders_now() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM public.tt_orders';
         CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'",
    );
    let only_customers = time_travel(now(&trail)).table::<Customer>().unwrap();
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let joined = tt_customers::table
        .inner_join(tt_orders::table.on(tt_customers::id.eq(tt_orders::customer_id)))
        .select(tt_orders::id);
    let refused = blocking::time_travel::<_, _, i32>(&mut conn, &only_customers, joined);
    let Err(TimeTravelError::PresentDay(tables)) = refused else {
        panic!("not refused");
    };
    assert_eq!(tables, ["public.tt_orders"]);
    let mut raw = |sql: &str| {
        #[derive(QueryableByName)]
        struct N {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            n: i64,
        }
        blocking::time_travel::<_, _, N>(&mut conn, &then(now(&trail)), diesel::sql_query(sql))
            .map(|rows| rows[0].n)
            .map_err(|error| error.to_string())
    };
    for (sql, says) in [
        ("SELECT count(*) AS n FROM rich", "public.tt_orders"),
        (
            "SELECT count(*) AS n FROM public.tt_orders AS o JOIN rich ON true",
            "as they are now",
        ),
        ("SELECT orders_now() AS n", "public.orders_now"),
        ("SELECT count(*) AS n FROM pg_class", "pg_catalog.pg_class"),
        (
            "SELECT count(*) AS n FROM threadline.audit_actions",
            "threadline.audit_actions",
        ),
        (
            "SELECT nextval('threadline.audit_changes_id_seq') AS n",
            "pg_catalog.nextval",
        ),
        (
            "DELETE FROM tt_orders RETURNING id::bigint AS n",
            "public.tt_orders",
        ),
    ] {
        let refused = raw(sql).expect_err(sql);
        assert!(refused.contains(says), "{sql}: {refused}");
    }
    for (sql, n) in [
        ("SELECT count(*) AS n FROM tt_orders", 3),
        ("SELECT count(*) AS n FROM public.TT_orders", 3),
        ("SELECT twice(2)::bigint AS n", 4),
        (
            "WITH big AS (SELECT * FROM tt_orders WHERE total > 100) SELECT count(*) AS n FROM big",
            2,
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 4) SELECT count(*) AS n FROM r",
            4,
        ),
        (
            "(SELECT 1::bigint AS n FROM tt_customers) UNION (SELECT 1)",
            1,
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
fn tables_in_schemas_and_tables_of_one_name_are_told_apart() {
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
    let travel = then(first).tables(["vault.tt_orders".parse().unwrap()]);
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let query = other::tt_orders::table
        .inner_join(tt_customers::table.on(tt_customers::id.eq(other::tt_orders::id)))
        .filter(other::tt_orders::total.eq(7_i64))
        .select((other::tt_orders::total, tt_customers::name));
    let rows: Vec<(i64, String)> = blocking::time_travel(&mut conn, &travel, query).unwrap();
    assert_eq!(rows, [(7, "ada".to_owned())]);
    assert_eq!(orders_at(&trail, first), [(1, 5)]);
    let marked = other::tt_orders::table
        .filter(diesel::dsl::sql::<diesel::sql_types::Bool>("'/*' = '/*'"))
        .select(other::tt_orders::id);
    let refused = blocking::time_travel::<_, _, i32>(&mut conn, &travel, marked);
    assert!(matches!(refused, Err(TimeTravelError::Comment)));
}

#[test]
fn nothing_is_answered_from_before_the_trail_begins() {
    let trail = captured(TABLES, &["tt_customers", "tt_orders"]);
    let travel = |instant| time_travel(instant).table::<Order>().unwrap();
    let refused = orders(&trail, &travel(now(&trail)));
    assert!(matches!(
        refused,
        Err(TimeTravelError::BeforeHorizon { horizon: None, .. })
    ));
    let before = now(&trail);
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
    trail.run("UPDATE tt_orders SET total = 6");
    trail.run(&format!(
        "SELECT threadline.remove_changes('{}', 100, 'retention')",
        now(&trail)
    ));
    trail.run("UPDATE tt_orders SET total = 7");
    let refused = orders(&trail, &travel(first));
    assert!(
        matches!(refused, Err(TimeTravelError::BeforeHorizon { .. })),
        "{refused:?}"
    );
    assert_eq!(orders(&trail, &travel(now(&trail))).unwrap(), [(1, 7)]);
    let gone = time_travel(now(&trail)).tables(["gone".parse().unwrap()]);
    assert!(matches!(
        orders(&trail, &gone),
        Err(TimeTravelError::NoSuchTable(_))
    ));
}

#[test]
fn columns_that_were_not_captured_are_refused_unless_allowed() {
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
    let travel = then(now(&trail));
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let refused = blocking::time_travel::<_, _, Order>(&mut conn, &travel, tt_orders::table);
    let Err(TimeTravelError::UnknownColumns { columns, .. }) = refused else {
        panic!("not refused");
    };
    let reasons: Vec<_> = columns
        .iter()
        .map(|c| (c.column.as_str(), c.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            ("customer_id", UnknownReason::Masked),
            ("total", UnknownReason::Excluded)
        ]
    );
    let aliased = diesel::alias!(tt_orders as o);
    let hidden = aliased.select(aliased.field(tt_orders::total));
    let refused = blocking::time_travel::<_, _, i64>(&mut conn, &travel, hidden);
    assert!(matches!(refused, Err(TimeTravelError::Database(_))));
    let ids: Vec<i32> =
        blocking::time_travel(&mut conn, &travel, tt_orders::table.select(tt_orders::id)).unwrap();
    assert_eq!(ids, [1]);
    let allowed = travel.allow_unknown_columns();
    let names: Vec<Customer> =
        blocking::time_travel(&mut conn, &allowed, tt_customers::table).unwrap();
    assert_eq!(names[0].name, "[REDACTED]");
    let totals: Vec<Option<i64>> = blocking::time_travel(
        &mut conn,
        &allowed,
        tt_orders::table.select(tt_orders::total.nullable()),
    )
    .unwrap();
    assert_eq!(totals, [None]);
}

#[test]
fn a_column_added_later_is_unknown_of_rows_from_before_and_only_of_those_that_count() {
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
    let travel = |instant| time_travel(instant).table::<Order>().unwrap();
    let refused = orders(&trail, &travel(between)).unwrap_err().to_string();
    assert!(
        refused.contains("\"total\" of public.tt_orders is not known of every row"),
        "{refused}"
    );
    assert_eq!(orders_at(&trail, now(&trail)), [(1, 1), (2, 2)]);
    block_on(async {
        let rows: Vec<Option<i64>> = nonblocking::time_travel(
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
fn keys_that_change_swap_and_come_back_have_one_row_each() {
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
fn partitions_emptied_alone_lose_their_rows() {
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
    let travel = time_travel(now(&trail)).table::<Order>().unwrap();
    assert!(matches!(
        orders(&trail, &travel),
        Err(TimeTravelError::Inexact { .. })
    ));
}

#[test]
fn tables_captured_in_delta_form_are_put_together() {
    use threadline::column_type::ColumnType;
    use threadline::table::{AuditedTable, Column, ImageForm, TableName};
    let trail = empty_trail();
    trail.run(TABLES);
    let column = |name, of| Column::new(name, ColumnType::builtin(of));
    let table = AuditedTable::builder(TableName::new("public", "tt_orders"))
        .columns([
            column("id", "int4"),
            column("customer_id", "int4"),
            column("total", "int8"),
        ])
        .key(["id"])
        .image(ImageForm::Delta)
        .build()
        .unwrap();
    trail.capture(&table);
    trail.run("INSERT INTO tt_orders VALUES (1, 1, 10), (2, 2, 20)");
    trail.run("UPDATE tt_orders SET total = 11 WHERE id = 1");
    let first = now(&trail);
    trail.run("UPDATE tt_orders SET id = 5 WHERE id = 1; UPDATE tt_orders SET customer_id = 9 WHERE id = 5");
    assert_eq!(orders_at(&trail, first), [(1, 11), (2, 20)]);
    assert_eq!(orders_at(&trail, now(&trail)), [(2, 20), (5, 11)]);
}

#[test]
fn tables_without_a_key_are_counted_and_not_guessed() {
    let trail = empty_trail();
    trail.run("CREATE TABLE tt_orders (id int, customer_id int, total bigint)");
    trail.run("INSERT INTO tt_orders VALUES (0, 0, 0)");
    trail.capture(&trail.introspect("tt_orders"));
    trail.run("INSERT INTO tt_orders VALUES (1, 1, 10), (1, 1, 10), (2, 1, 20)");
    trail.run("UPDATE tt_orders SET total = 11 WHERE id = 2; DELETE FROM tt_orders WHERE ctid IN (SELECT ctid FROM tt_orders WHERE id = 1 LIMIT 1)");
    assert_eq!(orders_at(&trail, now(&trail)), [(1, 10), (2, 11)]);
    trail.run("UPDATE tt_orders SET total = 1 WHERE id = 0");
    let travel = time_travel(now(&trail)).table::<Order>().unwrap();
    let refused = orders(&trail, &travel).unwrap_err().to_string();
    assert!(refused.contains("cannot be told exactly"), "{refused}");
}

#[test]
fn a_travel_inside_a_transaction_leaves_it_usable() {
    let trail = shop();
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    conn.transaction(|conn| {
        let refused = blocking::time_travel::<_, _, i32>(
            conn,
            &time_travel(now(&trail)),
            tt_orders::table.select(tt_orders::id),
        );
        assert!(matches!(refused, Err(TimeTravelError::PresentDay(_))));
        assert_eq!(tt_orders::table.count().get_result::<i64>(conn)?, 3);
        QueryResult::Ok(())
    })
    .unwrap();
}

/// A value of every builtin type, and of types that hosts make, in rows of one table.
#[test]
fn values_of_every_type_are_the_same_to_the_bit() {
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
                // What looks like a placeholder is one, as the guide says.
                Some(value) if !value.contains("REDACTED") => format!("{value}::{of}"),
                _ => "NULL".to_owned(),
            })
            .collect();
        trail.run(&format!(
            "INSERT INTO t VALUES ({pick}, {})",
            values.join(", ")
        ));
    }
    for session in [
        "",
        "SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'German, DMY'; SET IntervalStyle = 'sql_standard';",
    ] {
        let sql = trail.ask("SELECT sql FROM threadline.table_as_of('public', 't', now(), false)");
        let names: Vec<_> = (0..types.len()).map(|n| format!("past.c{n}")).collect();
        let different = trail.ask(&format!(
            "{session} WITH past AS ({sql}) SELECT string_agg(t.id::text, ' ') FROM t LEFT JOIN past USING (id)
             WHERE (ROW(past.id, {})::public.t *= t) IS NOT TRUE",
            names.join(", ")
        ));
        assert_eq!(different, "NULL");
    }
}

/// Statements on two joined tables, some of which fail and take their transaction with them.
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

/// What three queries give now, or as of an instant.
fn answer(conn: &mut PgConnection, travel: Option<&TimeTravel>) -> Result<Answer, TimeTravelError> {
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
            joined.load(conn)?,
            customers.load(conn)?,
            count.get_result(conn)?,
        ),
        Some(travel) => (
            blocking::time_travel(conn, travel, joined)?,
            blocking::time_travel(conn, travel, customers)?,
            blocking::time_travel_first(conn, travel, count)?,
        ),
    })
}

#[test]
fn random_work_is_seen_at_every_instant_as_it_was_seen_then() {
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
            let mut conn = PgConnection::establish(&trail.url()).unwrap();
            let mut seen = vec![(now(&trail), answer(&mut conn, None).unwrap())];
            for transaction in &transactions {
                let mut script = transaction.join("; ");
                if deferrable {
                    // A deferrable key is no arbiter. Where values clash, nothing of it happened.
                    script = script.replace("ON CONFLICT DO NOTHING", "");
                }
                let _ = diesel::connection::SimpleConnection::batch_execute(
                    &mut conn,
                    &format!("BEGIN; {script}; COMMIT"),
                );
                let _ = diesel::connection::SimpleConnection::batch_execute(&mut conn, "ROLLBACK");
                seen.push((now(&trail), answer(&mut conn, None).unwrap()));
            }
            for (instant, expected) in &seen {
                let past = answer(&mut conn, Some(&then(*instant)))
                    .map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(&past, expected, "as of {}", instant);
                let past = answer(&mut conn, Some(&then(*instant).trail_only()))
                    .map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(&past, expected, "by the trail alone, as of {}", instant);
            }
            Ok(())
        })
        .unwrap();
}
