//! The records nearest to a window.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel_async::AsyncConnection;
use serde::Serialize;

use super::actions::Actions;
use super::error::ReadError;
use super::pagination::Order;
use super::timeline::Timeline;
use super::transactions::Transactions;
use crate::models::{AuditAction, AuditTransaction, TimelineEntry};

/// The records of a query that are nearest to its window, outside of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Nearest<T> {
    /// The last record before the window; none if there is none, or the window has no start.
    pub before: Option<T>,
    /// The first record after the window; none if there is none, or the window has no end.
    pub after: Option<T>,
}

/// The changes of a timeline that are nearest to its window.
pub type NearestChanges = Nearest<TimelineEntry>;

impl<T> Nearest<T> {
    /// Whether there are no records outside of the window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }
}

/// The last instant before another, in the precision of PostgreSQL.
fn just_before(instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
    instant.checked_sub_signed(TimeDelta::microseconds(1))
}

/// The first instant after another, in the precision of PostgreSQL.
fn just_after(instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
    instant.checked_add_signed(TimeDelta::microseconds(1))
}

/// Reads the changes of a timeline that are nearest to its window, with all its other filters and its scope.
/// Each is read like a page of one entry: with a filter that no index serves, changes are read in order until
/// one matches.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Timeline, nearest_changes};
///
/// let query = Timeline::new()
///     .table("invoices".parse()?)
///     .from("2026-03-01T00:00:00Z".parse()?)
///     .to("2026-03-02T00:00:00Z".parse()?);
/// let nearest = nearest_changes(conn, &query).await?;
/// println!("{:?}", nearest.before.map(|entry| entry.change.captured_at));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the query is invalid, or the database reports an error.
pub async fn nearest_changes<C>(conn: &mut C, query: &Timeline) -> Result<NearestChanges, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let context = &query.filters().context;
    let whole = || query.clone().without_window();
    let before = context.from.and_then(just_before);
    let before = before.map(|to| whole().to(to).one_entry(Order::NewestFirst));
    let after = context.to.and_then(just_after);
    let after = after.map(|from| whole().from(from).one_entry(Order::OldestFirst));
    Ok(Nearest {
        before: first_change(conn, before).await?,
        after: first_change(conn, after).await?,
    })
}

async fn first_change<C>(
    conn: &mut C,
    query: Option<Timeline>,
) -> Result<Option<TimelineEntry>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    match query {
        Some(query) => Ok(crate::timeline(conn, &query).await?.entries.pop()),
        None => Ok(None),
    }
}

/// Reads the actions of a query that are nearest to its window.
pub(crate) async fn nearest_actions<C>(
    conn: &mut C,
    query: &Actions,
) -> Result<Nearest<AuditAction>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let context = query.context();
    let mut nearest = Nearest {
        before: None,
        after: None,
    };
    if let Some(to) = context.from.and_then(just_before) {
        let query = query.last_until(to);
        nearest.before = crate::actions(conn, &query).await?.entries.pop();
    }
    if let Some(from) = context.to.and_then(just_after) {
        let query = query.first_since(from);
        nearest.after = crate::actions(conn, &query).await?.entries.pop();
    }
    Ok(nearest)
}

/// Reads the transactions of a query that are nearest to its window.
pub(crate) async fn nearest_transactions<C>(
    conn: &mut C,
    query: &Transactions,
) -> Result<Nearest<AuditTransaction>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let context = query.context();
    let mut nearest = Nearest {
        before: None,
        after: None,
    };
    if let Some(to) = context.from.and_then(just_before) {
        let query = query.last_until(to);
        nearest.before = crate::transactions(conn, &query).await?.entries.pop();
    }
    if let Some(from) = context.to.and_then(just_after) {
        let query = query.first_since(from);
        nearest.after = crate::transactions(conn, &query).await?.entries.pop();
    }
    Ok(nearest)
}
