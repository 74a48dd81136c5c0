//! Waiting for changes without polling.

use std::pin::pin;
use std::time::Duration;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::{FutureExt, StreamExt};

/// A connection that listens for [`wake`](crate::feed::wake).
///
/// Nothing wakes it unless the application does: a write costs no notification by itself. Without
/// any it returns at every interval, which is polling. Start it before the first lease, so that
/// nothing falls between the two. It takes a connection of its own, to the server itself:
/// `PgBouncer` in transaction mode does not pass notifications on.
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
    /// The interval was over.
    Interval,
}

impl Listener {
    /// Listens on a connection.
    ///
    /// # Errors
    /// What the database says.
    pub async fn start(mut conn: AsyncPgConnection) -> QueryResult<Self> {
        conn.batch_execute(&format!("LISTEN {}", super::channel()))
            .await?;
        Ok(Self { conn })
    }

    /// Waits for a wake-up, at most for an interval. Several wake-ups since the last wait count as
    /// one.
    ///
    /// # Errors
    /// What the connection says when it is lost.
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
