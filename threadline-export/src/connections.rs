//! The pools that workers and the console take connections from.

use std::error::Error;
use std::ops::DerefMut;

use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

/// A connection of a pool. Dropping it returns the connection to the pool.
pub type Connection = Box<dyn DerefMut<Target = AsyncPgConnection> + Send>;

/// The error of a pool.
pub type PoolError = Box<dyn Error + Send + Sync>;

/// A pool of connections. Implemented for the pools of `diesel-async` with the features `deadpool` and
/// `bb8`.
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
