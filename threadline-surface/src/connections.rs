//! The pools that the console reads through.

use std::error::Error;
use std::ops::DerefMut;

use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

/// A connection of a pool. Dropping it returns it.
pub type Connection = Box<dyn DerefMut<Target = AsyncPgConnection> + Send>;

/// The error of a pool.
pub type PoolError = Box<dyn Error + Send + Sync>;

/// A pool of connections. Implemented for the pools of `diesel-async` with the features `deadpool` and
/// `bb8`.
///
/// The role of the connections needs `SELECT` on the trail and nothing else. The server may be a standby.
pub trait ConnectionPool: Send + Sync + 'static {
    /// Takes a connection.
    fn connection(&self) -> BoxFuture<'_, Result<Connection, PoolError>>;
}

#[cfg(feature = "deadpool")]
impl ConnectionPool for diesel_async::pooled_connection::deadpool::Pool<AsyncPgConnection> {
    fn connection(&self) -> BoxFuture<'_, Result<Connection, PoolError>> {
        Box::pin(async { Ok(Box::new(self.get().await?) as Connection) })
    }
}

#[cfg(feature = "bb8")]
impl ConnectionPool for diesel_async::pooled_connection::bb8::Pool<AsyncPgConnection> {
    fn connection(&self) -> BoxFuture<'_, Result<Connection, PoolError>> {
        Box::pin(async { Ok(Box::new(self.get_owned().await?) as Connection) })
    }
}
