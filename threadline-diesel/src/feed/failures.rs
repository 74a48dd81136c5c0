//! Items that a receiver refused: they are set aside, so that the items behind them are delivered.

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;

use super::item::read_items;
use super::statements::{self, FailureRow};
use super::{ConsumerName, FeedError, FeedItem, LeaseToken};

/// The number of failures that [`delivery_failures`] reads.
pub const MAX_DELIVERY_FAILURES: i64 = 10_000;

/// An item that the receiver of a consumer refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeliveryFailure {
    /// The id of the change, or the `order_id` of the action.
    pub item_id: i64,
    /// How often the receiver refused it.
    pub attempts: i32,
    /// The kind of the last error.
    pub last_error: String,
    /// When it was set aside first.
    pub first_failed_at: DateTime<Utc>,
    /// When the receiver refused it last.
    pub last_failed_at: DateTime<Utc>,
}

impl From<FailureRow> for DeliveryFailure {
    fn from(row: FailureRow) -> Self {
        Self {
            item_id: row.item_id,
            attempts: row.attempts,
            last_error: row.last_error,
            first_failed_at: row.first_failed_at,
            last_failed_at: row.last_failed_at,
        }
    }
}

/// Sets an item of a leased batch aside. `last_error` is a kind of error, in lower-case letters, digits and
/// `_`. Needs INSERT and UPDATE on `audit_delivery_failures`.
///
/// # Errors
/// [`FeedError::LeaseLost`], or when the database reports an error.
pub async fn record_delivery_failure<C>(
    conn: &mut C,
    token: &LeaseToken,
    item_id: i64,
    attempts: i32,
    last_error: &str,
) -> Result<(), FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let statement = statements::record_delivery_failure(token, item_id, attempts, last_error);
    match statement.execute(conn).await? {
        0 => Err(FeedError::LeaseLost(token.consumer().clone())),
        _ => Ok(()),
    }
}

/// Records that the receiver refused an item again that was set aside.
///
/// # Errors
/// When the database reports an error.
pub async fn repeat_delivery_failure<C>(
    conn: &mut C,
    consumer: &ConsumerName,
    item_id: i64,
    last_error: &str,
) -> QueryResult<()>
where
    C: AsyncConnection<Backend = Pg>,
{
    let statement = statements::repeat_delivery_failure(consumer, item_id, last_error);
    statement.execute(conn).await?;
    Ok(())
}

/// Reads the items of a consumer that were set aside, by id, at most [`MAX_DELIVERY_FAILURES`].
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::feed;
///
/// for failure in feed::delivery_failures(conn, &"siem".parse()?).await? {
///     println!("{} {}", failure.item_id, failure.last_error);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// When the database reports an error.
pub async fn delivery_failures<C>(
    conn: &mut C,
    consumer: &ConsumerName,
) -> QueryResult<Vec<DeliveryFailure>>
where
    C: AsyncConnection<Backend = Pg>,
{
    let rows: Vec<FailureRow> = statements::read_delivery_failures(consumer, MAX_DELIVERY_FAILURES)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(DeliveryFailure::from).collect())
}

/// Removes the record of an item that was set aside, because the item was delivered.
///
/// # Errors
/// When the database reports an error.
pub async fn remove_delivery_failure<C>(
    conn: &mut C,
    consumer: &ConsumerName,
    item_id: i64,
) -> QueryResult<()>
where
    C: AsyncConnection<Backend = Pg>,
{
    let statement = statements::remove_delivery_failure(consumer, item_id);
    statement.execute(conn).await?;
    Ok(())
}

/// Reads the change or action with an id of the feed; none if it was removed.
///
/// # Errors
/// When the database reports an error.
pub async fn find_item<C>(conn: &mut C, id: i64) -> QueryResult<Option<FeedItem>>
where
    C: AsyncConnection<Backend = Pg>,
{
    let items = read_items(conn, id.saturating_sub(1), id).await?;
    Ok(items.into_iter().next())
}
