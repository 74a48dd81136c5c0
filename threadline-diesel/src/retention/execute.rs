//! Executes statements of retention, each in a transaction of its own.
//!
//! PgBouncer in transaction mode may pass a prepared statement and its execution to two server connections
//! unless both are in one transaction.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::result::Error;
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};

use super::statements::Query;

/// The rows of a statement.
pub(crate) async fn load<C, R>(conn: &mut C, query: Query) -> QueryResult<Vec<R>>
where
    C: AsyncConnection<Backend = Pg>,
    R: diesel::QueryableByName<Pg> + Send + 'static,
{
    C::TransactionManager::begin_transaction(conn).await?;
    let rows = query.load(conn).await;
    end(conn, rows).await
}

/// The first row of a statement.
pub(crate) async fn load_one<C, R>(conn: &mut C, query: Query) -> QueryResult<R>
where
    C: AsyncConnection<Backend = Pg>,
    R: diesel::QueryableByName<Pg> + Send + 'static,
{
    let rows = load(conn, query).await?;
    rows.into_iter().next().ok_or(Error::NotFound)
}

/// The number of rows that a statement changed.
pub(crate) async fn execute<C>(conn: &mut C, query: Query) -> QueryResult<usize>
where
    C: AsyncConnection<Backend = Pg>,
{
    C::TransactionManager::begin_transaction(conn).await?;
    let changed = query.execute(conn).await;
    end(conn, changed).await
}

async fn end<C, T>(conn: &mut C, outcome: QueryResult<T>) -> QueryResult<T>
where
    C: AsyncConnection<Backend = Pg>,
{
    if outcome.is_ok() {
        C::TransactionManager::commit_transaction(conn).await?;
    } else {
        // The error of the statement is more useful than one of the rollback.
        let _: QueryResult<()> = C::TransactionManager::rollback_transaction(conn).await;
    }
    outcome
}
