//! Executes a query as of an instant.

use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, QueryFragment};
use diesel::sql_types::{Array, Nullable, Text};
use diesel_async::methods::LoadQuery;
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::facts::{Facts, FactsRow, facts_sql};
use super::query::AsOfQuery;
use super::source::Source;
use super::{TimeTravel, TimeTravelError};
use crate::query::sql_fragment::render_sql;

/// JIT compilation takes several times as long as running the query.
const SETTINGS: &str =
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off";

const LOCKED: &str = include_str!("locked.sql");

/// Loads a query as of an instant, in a read-only transaction of its own.
///
/// ```no_run
/// # use diesel::prelude::*;
/// # diesel::table! { invoices (id) { id -> BigInt, paid -> Bool, } }
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{TimeTravel, time_travel};
///
/// let travel = TimeTravel::at("2026-03-01T12:00:00Z".parse()?).tables(["invoices".parse()?]);
/// let unpaid = invoices::table.filter(invoices::paid.eq(false)).select(invoices::id);
/// let ids: Vec<i64> = time_travel(conn, &travel, unpaid).await?;
/// println!("{} invoices were unpaid", ids.len());
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`TimeTravelError`] when the answer would not be exact, the connection is inside a transaction, or
/// the database reports an error.
pub async fn time_travel<'query, C, Q, U>(
    conn: &mut C,
    travel: &TimeTravel,
    query: Q,
) -> Result<Vec<U>, TimeTravelError>
where
    C: AsyncConnection<Backend = Pg>,
    Q: AsQuery,
    Q::Query: QueryFragment<Pg> + Send + 'query,
    AsOfQuery<Q::Query>: LoadQuery<'query, C, U> + 'query,
    U: Send,
{
    let query = query.as_query();
    let depth = C::TransactionManager::transaction_manager_status_mut(conn).transaction_depth()?;
    if depth.is_some() {
        return Err(TimeTravelError::InsideTransaction);
    }
    C::TransactionManager::begin_transaction(conn).await?;
    let answer = answer(conn, travel, query).await;
    // Nothing was written. After an error the transaction is aborted anyway.
    let ended = C::TransactionManager::rollback_transaction(conn).await;
    let rows = answer?;
    ended?;
    Ok(rows)
}

/// Loads the first row of a query as of an instant, for example a count.
///
/// ```no_run
/// # use diesel::prelude::*;
/// # diesel::table! { invoices (id) { id -> BigInt, paid -> Bool, } }
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{TimeTravel, time_travel_first};
///
/// let travel = TimeTravel::at("2026-03-01T12:00:00Z".parse()?).tables(["invoices".parse()?]);
/// let count: i64 = time_travel_first(conn, &travel, invoices::table.count()).await?;
/// println!("there were {count} invoices");
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`time_travel`]; and [`NotFound`](diesel::result::Error::NotFound) where there is no row.
pub async fn time_travel_first<'query, C, Q, U>(
    conn: &mut C,
    travel: &TimeTravel,
    query: Q,
) -> Result<U, TimeTravelError>
where
    C: AsyncConnection<Backend = Pg>,
    Q: AsQuery + Send,
    Q::Query: QueryFragment<Pg> + Send + 'query,
    AsOfQuery<Q::Query>: LoadQuery<'query, C, U> + 'query,
    U: Send,
{
    let rows = time_travel(conn, travel, query).await?;
    rows.into_iter()
        .next()
        .ok_or(TimeTravelError::Database(diesel::result::Error::NotFound))
}

async fn answer<'query, C, Q, U>(
    conn: &mut C,
    travel: &TimeTravel,
    query: Q,
) -> Result<Vec<U>, TimeTravelError>
where
    C: AsyncConnection<Backend = Pg>,
    Q: QueryFragment<Pg> + Send + 'query,
    AsOfQuery<Q>: LoadQuery<'query, C, U> + 'query,
    U: Send,
{
    conn.batch_execute(SETTINGS).await?;
    let sql = render_sql(&query)?;
    let sources = sources(conn, travel, &sql).await?;
    let mut expressions = Vec::new();
    let mut sources_with_bounds = Vec::new();
    for source in sources {
        let bounds = bounds(conn, source.truncated_partitions()).await?;
        expressions.push(source.expression(&bounds)?);
        sources_with_bounds.push((source, bounds));
    }
    let query = AsOfQuery::new(&expressions, &sql, query);
    let rows = match query.load::<U>(conn).await {
        Ok(rows) => rows,
        Err(error) => return Err(name_column(conn, &sources_with_bounds, error).await),
    };
    let locked = diesel::sql_query(LOCKED.replace("@threadline@", STORAGE_SCHEMA))
        .get_result::<Locked>(conn)
        .await?;
    if locked.names.is_empty() {
        Ok(rows)
    } else {
        Err(TimeTravelError::PresentDay(locked.names))
    }
}

/// The sources of the tables whose names occur in the query.
async fn sources<C>(
    conn: &mut C,
    travel: &TimeTravel,
    sql: &str,
) -> Result<Vec<Source>, TimeTravelError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut sources: Vec<Source> = Vec::new();
    let sql = sql.to_lowercase();
    for table in &travel.tables {
        if !sql.contains(&table.name().to_lowercase()) {
            continue;
        }
        if let Some(other) = sources
            .iter()
            .find(|one| one.table().name() == table.name())
        {
            return Err(TimeTravelError::SameName(
                other.table().clone(),
                table.clone(),
            ));
        }
        let found = diesel::sql_query(facts_sql())
            .bind::<Text, _>(table.schema())
            .bind::<Text, _>(table.name())
            .get_result::<FactsRow>(conn)
            .await?;
        let facts: Facts = found
            .facts
            .read()
            .map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
        sources.push(Source::new(travel, table, facts)?);
    }
    Ok(sources)
}

/// The partition constraints; none for a table that is not a partition now.
async fn bounds<C>(
    conn: &mut C,
    partitions: Vec<String>,
) -> Result<Vec<Option<String>>, TimeTravelError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    // In a savepoint, because the function keeps locks on the tables.
    C::TransactionManager::begin_transaction(conn).await?;
    let found = diesel::sql_query(
        "SELECT pg_catalog.pg_get_partition_constraintdef(pg_catalog.to_regclass(given.name)) AS bounds \
         FROM pg_catalog.unnest($1) WITH ORDINALITY AS given (name, place) ORDER BY given.place",
    )
    .bind::<Array<Text>, _>(partitions)
    .load::<Bounds>(conn)
    .await;
    C::TransactionManager::rollback_transaction(conn).await?;
    Ok(found?.into_iter().map(|row| row.bounds).collect())
}

/// Converts PostgreSQL's error: names the column, if a value is not known, or is not a value of the present
/// type.
async fn name_column<C>(
    conn: &mut C,
    sources: &[(Source, Vec<Option<String>>)],
    error: diesel::result::Error,
) -> TimeTravelError
where
    C: AsyncConnection<Backend = Pg>,
{
    let diesel::result::Error::DatabaseError(_, information) = &error else {
        return error.into();
    };
    let found = sources
        .iter()
        .find_map(|(source, _)| Some((source, source.unknown_column(information.message())?)));
    if let Some((source, column)) = found {
        return TimeTravelError::UnknownColumn {
            table: source.table().clone(),
            column,
        };
    }
    match incompatible_column(conn, sources, information.message()).await {
        Ok(Some((table, column, type_name))) => TimeTravelError::IncompatibleColumn {
            table,
            column,
            type_name,
            source: Box::new(error),
        },
        // The error of the query says more than one of the search.
        Ok(None) | Err(_) => error.into(),
    }
}

/// The table, name and type of the column that raises the error when its values are read.
async fn incompatible_column<C>(
    conn: &mut C,
    sources: &[(Source, Vec<Option<String>>)],
    message: &str,
) -> Result<Option<(TableName, String, String)>, TimeTravelError>
where
    C: AsyncConnection<Backend = Pg>,
{
    // Another row may have another value.
    let without_value = |message: &str| message.split('"').next().map(str::to_owned);
    C::TransactionManager::rollback_transaction(conn).await?;
    C::TransactionManager::begin_transaction(conn).await?;
    conn.batch_execute(SETTINGS).await?;
    for (source, bounds) in sources {
        for (column, type_name, read_all) in source.doubtful_columns(bounds)? {
            C::TransactionManager::begin_transaction(conn).await?;
            let read = conn.batch_execute(&read_all).await;
            C::TransactionManager::rollback_transaction(conn).await?;
            if let Err(diesel::result::Error::DatabaseError(_, information)) = read
                && without_value(information.message()) == without_value(message)
            {
                return Ok(Some((source.table().clone(), column, type_name)));
            }
        }
    }
    Ok(None)
}

#[derive(Debug, QueryableByName)]
struct Locked {
    #[diesel(sql_type = Array<Text>)]
    names: Vec<String>,
}

#[derive(Debug, QueryableByName)]
struct Bounds {
    #[diesel(sql_type = Nullable<Text>)]
    bounds: Option<String>,
}
