//! Pipelining: a statement sent together with the transaction manager's `SAVEPOINT` or `COMMIT`, in one
//! round trip.
//!
//! Diesel's transaction manager executes these by `batch_execute` on the connection that it is given. A
//! [`PipelinedConnection`] sends a second statement along, so the transaction manager still tracks depth,
//! cancelled futures and failed commits.

use diesel::connection::{CacheSize, Instrumentation};
use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, AstPass, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::{ConnectionError, ConnectionResult, QueryResult};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncConnectionCore, AsyncPgConnection, RunQueryDsl,
    SimpleAsyncConnection,
};
use futures_util::future::join;
use serde_json::Value;
use uuid::Uuid;

use super::statements::BeginWork;
use super::work::{EndStatement, WorkResult};

/// A connection that sends a pending statement together with the next `SAVEPOINT` or `COMMIT`.
pub(crate) struct PipelinedConnection<'c> {
    conn: &'c mut AsyncPgConnection,
    pending: PendingStatement,
}

/// The pending statement, then its result.
enum PendingStatement {
    /// Is sent after `SAVEPOINT`.
    Begin(BeginWork),
    Begun(QueryResult<Value>),
    /// Is sent before `COMMIT`.
    End(EndStatement),
    Ended(QueryResult<WorkResult>),
    /// Was sent, and its future was dropped before the result arrived.
    Sent,
}

impl<'c> PipelinedConnection<'c> {
    /// Begins a nested write with the next `SAVEPOINT`.
    pub(crate) fn begin_with_savepoint(
        conn: &'c mut AsyncPgConnection,
        statement: BeginWork,
    ) -> Self {
        Self {
            conn,
            pending: PendingStatement::Begin(statement),
        }
    }

    /// Ends a write with the next `COMMIT`.
    pub(crate) fn end_with_commit(
        conn: &'c mut AsyncPgConnection,
        statement: EndStatement,
    ) -> Self {
        Self {
            conn,
            pending: PendingStatement::End(statement),
        }
    }

    /// The settings in force before the nested write.
    pub(crate) fn begun(self) -> QueryResult<Value> {
        match self.pending {
            PendingStatement::Begun(result) => result,
            _ => Err(Error::BrokenTransactionManager),
        }
    }

    /// The result of the write.
    pub(crate) fn ended(self) -> QueryResult<WorkResult> {
        match self.pending {
            PendingStatement::Ended(result) => result,
            _ => Err(Error::BrokenTransactionManager),
        }
    }
}

/// Sends the statement that ends a write.
pub(crate) async fn end_work(
    mut conn: &AsyncPgConnection,
    statement: EndStatement,
) -> QueryResult<WorkResult> {
    match statement {
        EndStatement::End(end) => end
            .get_result::<Option<Uuid>>(&mut conn)
            .await
            .map(WorkResult::from),
        EndStatement::Count(count) => count
            .get_result::<(Option<Uuid>, i64, i64)>(&mut conn)
            .await
            .map(WorkResult::from),
    }
}

/// `COMMIT` as a prepared statement.
///
/// `batch_execute` sends its SQL at once, but a statement that the connection has not prepared yet waits
/// for that, so `COMMIT` could overtake it. Two prepared statements keep their order: the connection
/// prepares one at a time, and sends each before it prepares the next.
#[derive(Debug, QueryId)]
struct Commit;

impl QueryFragment<Pg> for Commit {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("COMMIT");
        Ok(())
    }
}

impl SimpleAsyncConnection for PipelinedConnection<'_> {
    async fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        let mut conn: &AsyncPgConnection = self.conn;
        match std::mem::replace(&mut self.pending, PendingStatement::Sent) {
            PendingStatement::Begin(statement) => {
                let savepoint =
                    async { SimpleAsyncConnection::batch_execute(&mut &*conn, sql).await };
                let (created, begun) = join(savepoint, statement.get_result(&mut &*conn)).await;
                self.pending = PendingStatement::Begun(begun);
                created
            }
            PendingStatement::End(statement) if sql == "COMMIT" => {
                let commit = async { Commit.execute(&mut &*conn).await };
                let (ended, committed) = join(end_work(conn, statement), commit).await;
                self.pending = PendingStatement::Ended(ended);
                committed.map(drop)
            }
            pending => {
                self.pending = pending;
                SimpleAsyncConnection::batch_execute(&mut conn, sql).await
            }
        }
    }
}

impl AsyncConnectionCore for PipelinedConnection<'_> {
    type ExecuteFuture<'conn, 'query> =
        <AsyncPgConnection as AsyncConnectionCore>::ExecuteFuture<'conn, 'query>;
    type LoadFuture<'conn, 'query> =
        <AsyncPgConnection as AsyncConnectionCore>::LoadFuture<'conn, 'query>;
    type Stream<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Stream<'conn, 'query>;
    type Row<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Row<'conn, 'query>;
    type Backend = Pg;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Pg> + QueryId + 'query,
    {
        AsyncConnectionCore::load(self.conn, source)
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Pg> + QueryId + 'query,
    {
        AsyncConnectionCore::execute_returning_count(self.conn, source)
    }
}

impl AsyncConnection for PipelinedConnection<'_> {
    type TransactionManager = AnsiTransactionManager;

    async fn establish(_: &str) -> ConnectionResult<Self> {
        Err(ConnectionError::BadConnection(
            "a pipelined connection is created from an open connection".to_owned(),
        ))
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        self.conn.transaction_state()
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        self.conn.instrumentation()
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.conn.set_instrumentation(instrumentation);
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.conn.set_prepared_statement_cache_size(size);
    }
}
