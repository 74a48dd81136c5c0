//! Waiting for changes without polling.

use std::pin::pin;
use std::time::Duration;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::{FutureExt, StreamExt};

/// A connection that listens for [`wake`](crate::feed::wake).
///
/// Only the application sends notifications; a write does not notify by itself. Without notifications, each
/// wait returns after its interval, which is polling. Start the listener before the first lease, so that no
/// notification is missed. It needs a connection of its own, directly to the server: `PgBouncer` in
/// transaction mode does not forward notifications.
///
/// ```no_run
/// # async fn example(url: &str, conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use diesel_async::{AsyncConnection, AsyncPgConnection};
/// use std::time::Duration;
/// use threadline_diesel::feed::{self, BatchSize, LeaseTime, Leased, Listener};
///
/// let search = "search-index".parse()?;
/// let mut listener = Listener::start(AsyncPgConnection::establish(url).await?).await?;
/// loop {
///     let pause = match feed::lease(conn, &search, LeaseTime::default(), BatchSize::default()).await? {
///         Leased::Batch(batch) => {
///             for item in &batch.items { /* ... */ }
///             feed::acknowledge(conn, &batch.token).await?;
///             continue;
///         }
///         Leased::Waiting => Duration::from_millis(100),
///         _ => Duration::from_secs(2),
///     };
///     listener.wait(pause).await?;
/// }
/// # }
/// ```
pub struct Listener {
    conn: AsyncPgConnection,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeReason {
    /// [`wake`](crate::feed::wake) was called since the last wait.
    Writer,
    /// The interval elapsed.
    Interval,
}

impl Listener {
    /// Listens on a connection.
    ///
    /// # Errors
    /// When the database reports an error.
    pub async fn start(mut conn: AsyncPgConnection) -> QueryResult<Self> {
        conn.batch_execute(&format!("LISTEN {}", super::channel()))
            .await?;
        Ok(Self { conn })
    }

    /// Waits for a notification, at most for an interval. Several notifications since the last wait count as
    /// one.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn wait(&mut self, at_most: Duration) -> QueryResult<WakeReason> {
        let mut notifications = pin!(self.conn.notifications_stream());
        match tokio::time::timeout(at_most, notifications.next()).await {
            Err(_elapsed) => Ok(WakeReason::Interval),
            Ok(None) => Err(Error::DatabaseError(
                DatabaseErrorKind::ClosedConnection,
                Box::new(String::from("the listening connection is closed")),
            )),
            Ok(Some(Err(error))) => Err(error),
            Ok(Some(Ok(_))) => {
                while let Some(Some(Ok(_))) = notifications.next().now_or_never() {}
                Ok(WakeReason::Writer)
            }
        }
    }
}
