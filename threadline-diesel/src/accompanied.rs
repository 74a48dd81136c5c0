//! Statements sent together with a transaction's own, `SAVEPOINT` or `COMMIT`: one round trip for both.
//!
//! Diesel's transaction manager begins and commits by `batch_execute` on the connection that it is
//! given. Here it is given one that sends a second statement along. So the manager keeps its books
//! itself: depth, cancelled futures, failed commits.

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

use crate::statements::BeginWork;
use crate::write::{CloseStatement, Closing};

/// A connection whose next statement is accompanied by another.
pub(crate) struct Accompanied<'c> {
    conn: &'c mut AsyncPgConnection,
    companion: Companion,
}

/// The other statement, then its answer.
enum Companion {
    /// Goes after the savepoint.
    Opening(BeginWork),
    Opened(QueryResult<Value>),
    /// Goes before the commit.
    Closing(CloseStatement),
    Closed(QueryResult<Closing>),
    /// Gone, and no answer.
    Gone,
}

impl<'c> Accompanied<'c> {
    /// The next statement makes a savepoint, and the work is opened in it.
    pub(crate) fn by_opening(conn: &'c mut AsyncPgConnection, opening: BeginWork) -> Self {
        Self {
            conn,
            companion: Companion::Opening(opening),
        }
    }

    /// The next statement ends the transaction, and the work is closed before.
    pub(crate) fn by_closing(conn: &'c mut AsyncPgConnection, closing: CloseStatement) -> Self {
        Self {
            conn,
            companion: Companion::Closing(closing),
        }
    }

    /// What was in force before.
    pub(crate) fn opened(self) -> QueryResult<Value> {
        match self.companion {
            Companion::Opened(answer) => answer,
            _ => Err(Error::BrokenTransactionManager),
        }
    }

    /// What there was to say.
    pub(crate) fn closed(self) -> QueryResult<Closing> {
        match self.companion {
            Companion::Closed(answer) => answer,
            _ => Err(Error::BrokenTransactionManager),
        }
    }
}

/// Sends the statement that ends the work.
pub(crate) async fn close_on(
    mut conn: &AsyncPgConnection,
    closing: CloseStatement,
) -> QueryResult<Closing> {
    match closing {
        CloseStatement::Leaving(leave) => leave
            .get_result::<Option<Uuid>>(&mut conn)
            .await
            .map(Closing::from),
        CloseStatement::Counting(close) => close
            .get_result::<(Option<Uuid>, i64, i64)>(&mut conn)
            .await
            .map(Closing::from),
    }
}

/// `COMMIT` as a prepared statement.
///
/// What is sent by `batch_execute` is sent at once. A statement that the connection has yet to prepare
/// is not, so `COMMIT` could overtake the closing. Two prepared statements keep their order: the
/// connection prepares one at a time, and sends what it has prepared before it prepares the next.
#[derive(Debug, QueryId)]
struct Commit;

impl QueryFragment<Pg> for Commit {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("COMMIT");
        Ok(())
    }
}

impl SimpleAsyncConnection for Accompanied<'_> {
    async fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        let mut conn: &AsyncPgConnection = self.conn;
        match std::mem::replace(&mut self.companion, Companion::Gone) {
            Companion::Opening(opening) => {
                let sending =
                    async { SimpleAsyncConnection::batch_execute(&mut &*conn, sql).await };
                let (begun, opened) = join(sending, opening.get_result(&mut &*conn)).await;
                self.companion = Companion::Opened(opened);
                begun
            }
            Companion::Closing(closing) if sql == "COMMIT" => {
                let commit = async { Commit.execute(&mut &*conn).await };
                let (closed, committed) = join(close_on(conn, closing), commit).await;
                self.companion = Companion::Closed(closed);
                committed.map(drop)
            }
            companion => {
                self.companion = companion;
                SimpleAsyncConnection::batch_execute(&mut conn, sql).await
            }
        }
    }
}

impl AsyncConnectionCore for Accompanied<'_> {
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

impl AsyncConnection for Accompanied<'_> {
    type TransactionManager = AnsiTransactionManager;

    async fn establish(_: &str) -> ConnectionResult<Self> {
        Err(ConnectionError::BadConnection(
            "accompanied connections are made of connections".to_owned(),
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
