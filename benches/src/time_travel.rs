//! Queries as of an instant, compared with the same queries on copies that were made at that instant.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use comfy_table::Table;
use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_core::capture::CaptureMigration;
use threadline_core::column_type::ColumnType;
use threadline_core::install;
use threadline_core::row_key::RowKeyText;
use threadline_core::table::{AuditedTable, Column, TableName};
use threadline_diesel::time_travel::TimeTravel;

use crate::sampling::median;
use crate::server::{Server, connect};
use crate::tables;

const FILL: &str = include_str!("../sql/time_travel.sql");

/// Measured runs of each query, after one warm-up run.
const TIMES: usize = 9;

/// Queries on `orders` and `customers` that return one number: name, SQL, and the keys of `orders` to
/// which the table can be restricted.
const QUERIES: &[(&str, &str, &str)] = &[
    (
        "sum of the whole table",
        "SELECT sum(total)::bigint AS n FROM orders",
        "",
    ),
    (
        "count of the whole table",
        "SELECT count(*) AS n FROM orders",
        "",
    ),
    (
        "one row by its key",
        "SELECT total::bigint AS n FROM orders WHERE id = 4242",
        "4242",
    ),
    (
        "20 rows by their keys",
        "SELECT sum(total)::bigint AS n FROM orders WHERE id = ANY \
         ('{5,505,1005,2005,3005,4005,5005,6005,7005,8005,9005,10005,11005,12005,13005,14005,\
           15005,16005,17005,18005}'::bigint[])",
        "5,505,1005,2005,3005,4005,5005,6005,7005,8005,9005,10005,11005,12005,13005,14005,\
         15005,16005,17005,18005",
    ),
    (
        "100 rows by a range of keys",
        "SELECT sum(total)::bigint AS n FROM orders WHERE id BETWEEN 1000 AND 1099",
        "",
    ),
    (
        "20 rows by an indexed column",
        "SELECT sum(total)::bigint AS n FROM orders WHERE customer_id = 77",
        "",
    ),
    (
        "20 rows by a join",
        "SELECT sum(orders.total)::bigint AS n FROM orders \
         JOIN customers ON customers.id = orders.customer_id WHERE customers.id = 77",
        "",
    ),
];

/// An instant at which the tables were copied.
#[derive(diesel::QueryableByName)]
struct Mark {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Timestamptz)]
    instant: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    since: i64,
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// Measures all queries and prints the results.
pub(crate) async fn measure(server: &Server) -> Result<()> {
    println!("{}\n", server.facts().await?);
    let database = server.create_database()?;
    eprintln!("writing a million changes");
    let client = connect(&database.url()).await?;
    client.batch_execute(&install::up_sql()).await?;
    client.batch_execute(&tables::schema()).await?;
    client
        .batch_execute("TRUNCATE orders; CREATE TABLE customers (id bigint PRIMARY KEY, name text)")
        .await?;
    let audited = audited()?;
    client
        .batch_execute(CaptureMigration::new(&audited, |_| None).up())
        .await?;
    for statement in FILL
        .replace("$order", &tables::order_values("g"))
        .split("\n\n")
    {
        for part in pieces(statement) {
            client.batch_execute(part).await?;
        }
    }
    client.batch_execute("VACUUM ANALYZE").await?;
    client.batch_execute("CHECKPOINT").await?;

    let mut conn = AsyncPgConnection::establish(&database.url()).await?;
    let marks: Vec<Mark> = diesel::sql_query(
        "SELECT name, instant, (SELECT count(*) FROM threadline.audit_changes WHERE captured_at > instant) \
         AS since FROM marks ORDER BY instant DESC",
    )
    .load(&mut conn)
    .await?;
    let mut table = Table::new();
    table.set_header([
        "query",
        "changes since",
        "copy ms",
        "as of ms",
        "x copy",
        "narrowed to keys ms",
        "x copy",
    ]);
    for (name, query, keys) in QUERIES {
        for mark in &marks {
            let orders: TableName = "orders".parse()?;
            let whole = TimeTravel::at(mark.instant).tables([orders.clone(), "customers".parse()?]);
            let keys: Vec<_> = keys
                .split(',')
                .filter(|key| !key.is_empty())
                .map(|key| RowKeyText::from_values(vec![key.trim().to_owned()]))
                .collect();
            let narrowed = (!keys.is_empty()).then(|| whole.clone().table_keys(orders, keys));
            let on_copy = query.replace("orders", &mark.name);
            let context = || (*name).to_owned();
            let copy = measure_query(&mut conn, &on_copy, None)
                .await
                .with_context(context)?;
            let past = measure_query(&mut conn, query, Some(&whole)).await;
            let past = past.with_context(context)?;
            ensure!(copy.answer == past.answer, "the answers to {name} differ");
            let mut cells = vec![
                (*name).to_owned(),
                mark.since.to_string(),
                format!("{:.2}", copy.milliseconds),
                format!("{:.2}", past.milliseconds),
                format!("{:.1}", past.milliseconds / copy.milliseconds),
            ];
            if let Some(narrowed) = &narrowed {
                let past = measure_query(&mut conn, query, Some(narrowed)).await;
                let past = past.with_context(context)?;
                ensure!(copy.answer == past.answer, "the answers to {name} differ");
                cells.push(format!("{:.2}", past.milliseconds));
                cells.push(format!("{:.1}", past.milliseconds / copy.milliseconds));
            }
            table.add_row(cells);
        }
    }
    println!("{table}");
    Ok(())
}

/// The statements of a script. A script with a `$fill$` block is one statement.
fn pieces(script: &str) -> Vec<&str> {
    if script.contains("$fill$") {
        vec![script]
    } else {
        script.split_inclusive(';').collect()
    }
}

fn audited() -> Result<Vec<AuditedTable>> {
    let mut audited = tables::audited()?;
    audited.retain(|table| table.name().name() == "orders");
    audited.push(
        AuditedTable::builder(TableName::new("public", "customers"))
            .columns([
                Column::new("id", ColumnType::builtin("int8")),
                Column::new("name", ColumnType::builtin("text")),
            ])
            .key(["id"])
            .build()?,
    );
    Ok(audited)
}

/// The result of a query and its median time, including all statements that the library sends for it.
struct Measured {
    answer: i64,
    milliseconds: f64,
}

/// Runs a query as of an instant, or on the current rows.
async fn measure_query(
    conn: &mut AsyncPgConnection,
    query: &str,
    travel: Option<&TimeTravel>,
) -> Result<Measured> {
    let mut samples = Vec::new();
    let mut answer = 0;
    for turn in 0..=TIMES {
        let start = Instant::now();
        let query = diesel::sql_query(query);
        let found: Vec<Number> = match travel {
            None => query.load(conn).await?,
            Some(travel) => threadline_diesel::time_travel(conn, travel, query).await?,
        };
        let taken = start.elapsed().as_secs_f64() * 1e3;
        answer = found.as_slice().first().context("no row")?.n;
        if turn > 0 {
            samples.push(taken);
        }
    }
    Ok(Measured {
        answer,
        milliseconds: median(&samples),
    })
}
