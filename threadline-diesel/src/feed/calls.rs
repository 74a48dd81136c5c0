//! The functions of the feed. Each executes one statement, or several without locks between them: the last
//! one updates the consumer's row only if it is the version that was read.

use chrono::{DateTime, Utc};
use diesel::OptionalExtension;
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};

use super::item::read_items;
use super::lease::{Batch, BatchSize, LeaseTime, LeaseToken, Leased};
use super::statements::{
    self, BatchEnd, BehindRow, EndRow, ExtentRow, LagRow, LeaseRow, RenewedRow, StateRow,
};
use super::{ConsumerName, FeedError, Lag, Start};

/// The consumer of the sealer: without it, retention could remove records that are not sealed.
const SEALER: &str = "threadline.seal";

/// Creates a consumer.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::feed::{self, ConsumerName, Start};
///
/// let consumer: ConsumerName = "search-index".parse()?;
/// feed::create(conn, &consumer, Start::Beginning).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`FeedError::ConsumerExists`]; [`FeedError::NoSuchPlace`] if the id of [`Start::After`] is not assigned
/// yet; or when the database reports an error.
pub async fn create<C>(conn: &mut C, consumer: &ConsumerName, start: Start) -> Result<(), FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if let Start::After(id) = start {
        let end: EndRow = statements::read_end().get_result(conn).await?;
        if !(0..=end.last_id).contains(&id) {
            return Err(FeedError::NoSuchPlace {
                id,
                last_id: end.last_id,
            });
        }
    }
    let created = statements::create(consumer, start.after_id());
    match created.execute(conn).await? {
        0 => Err(FeedError::ConsumerExists(consumer.clone())),
        _ => Ok(()),
    }
}

/// Drops a consumer. A worker that holds its lease gets [`FeedError::LeaseLost`].
///
/// # Errors
/// [`FeedError::NoSuchConsumer`]; [`FeedError::Reserved`] for that of the sealer; or when the database reports an error.
pub async fn drop_consumer<C>(conn: &mut C, consumer: &ConsumerName) -> Result<(), FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if consumer.as_str() == SEALER {
        return Err(FeedError::Reserved(consumer.clone()));
    }
    match statements::drop_consumer(consumer).execute(conn).await? {
        0 => Err(FeedError::NoSuchConsumer(consumer.clone())),
        _ => Ok(()),
    }
}

/// Leases the next changes and actions of a consumer: no other worker receives them until the lease expires
/// or is released. Call it outside a transaction, or in one with isolation level `READ COMMITTED` that has
/// written nothing.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::feed::{self, BatchSize, ConsumerName, LeaseTime, Leased};
///
/// let consumer: ConsumerName = "search-index".parse()?;
/// let leased = feed::lease(conn, &consumer, LeaseTime::default(), BatchSize::default()).await?;
/// if let Leased::Batch(batch) = leased {
///     for entry in batch.changes() {
///         println!("{} {}", entry.change.id, entry.change.table_name);
///     }
///     feed::acknowledge(conn, &batch.token).await?;
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`FeedError::NoSuchConsumer`]; other errors of [`FeedError`] if a lease could skip changes; or
/// when the database reports an error.
pub async fn lease<C>(
    conn: &mut C,
    consumer: &ConsumerName,
    time: LeaseTime,
    size: BatchSize,
) -> Result<Leased, FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut state = read_state(conn, consumer).await?;
    state.check()?;
    let mut has_marked = false;
    loop {
        if state.is_leased {
            return Ok(Leased::Held {
                until: state.leased_until,
            });
        }
        if let Some(leased) = take_batch(conn, consumer, &state, time, size).await? {
            return Ok(leased);
        }
        if state.last_id <= state.settled_id() {
            if state.has_advanced() {
                statements::mark(consumer, &state, None)
                    .execute(conn)
                    .await?;
            }
            return Ok(Leased::Empty);
        }
        if state.must_wait() || has_marked {
            return Ok(Leased::Waiting);
        }
        let mark = statements::mark(consumer, &state, Some(state.last_id));
        if mark.execute(conn).await? == 0 {
            return Ok(Leased::Held { until: None });
        }
        has_marked = true;
        state = read_state(conn, consumer).await?;
    }
}

async fn read_state<C>(conn: &mut C, consumer: &ConsumerName) -> Result<StateRow, FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    statements::read_state(consumer)
        .get_result(conn)
        .await
        .optional()?
        .ok_or_else(|| FeedError::NoSuchConsumer(consumer.clone()))
}

/// Leases the first final items; none if there are none.
async fn take_batch<C>(
    conn: &mut C,
    consumer: &ConsumerName,
    state: &StateRow,
    time: LeaseTime,
    size: BatchSize,
) -> Result<Option<Leased>, FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let settled_id = state.settled_id();
    let mut after_id = state.acknowledged_to;
    while let Some(mut end) = find_end(conn, after_id, settled_id, size.limit()).await? {
        let items = read_items(conn, after_id, end.id).await?;
        if items.is_empty() {
            // Retention removed them after they were counted.
            after_id = end.id;
            continue;
        }
        if end.id == settled_id {
            end.captured_at = None;
        }
        let granted: Option<LeaseRow> = statements::lease(consumer, state, end, time.interval())
            .get_result(conn)
            .await
            .optional()?;
        return Ok(Some(match granted {
            None => Leased::Held { until: None },
            Some(lease) => Leased::Batch(Box::new(Batch {
                items,
                token: LeaseToken::new(consumer.clone(), lease.token),
                leased_until: lease.leased_until,
                attempt: lease.attempt,
                removed_before: lease.removed_before,
            })),
        }));
    }
    Ok(None)
}

/// Finds the end of a batch that begins after an id; none if there are no items up to the other id. Reads
/// ranges of ids of growing width, because the index on ids is a BRIN, which finds ranges, not the first
/// rows.
async fn find_end<C>(
    conn: &mut C,
    after_id: i64,
    to_id: i64,
    limit: i64,
) -> Result<Option<BatchEnd>, FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut from = after_id;
    let mut width = limit.saturating_mul(4);
    while from < to_id {
        let until = from.saturating_add(width).min(to_id);
        let extent: ExtentRow = statements::read_extent(from, until, limit)
            .get_result(conn)
            .await?;
        if extent.found > 0 {
            let id = match extent.last_id {
                Some(last_id) if extent.found == limit => last_id,
                _ => until,
            };
            return Ok(Some(BatchEnd {
                id,
                captured_at: extent.last_at,
            }));
        }
        from = until;
        width = width.saturating_mul(4);
    }
    Ok(None)
}

/// The id up to which all transactions have ended, if a consumer has not acknowledged it yet. For consumers that
/// read the trail themselves and call [`acknowledge_to`], instead of leasing batches. Call it as [`lease`].
///
/// # Errors
/// As [`lease`].
pub async fn settled_id<C>(conn: &mut C, consumer: &ConsumerName) -> Result<Option<i64>, FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut state = read_state(conn, consumer).await?;
    state.check()?;
    let is_finished = |state: &StateRow| state.settled_id() <= state.acknowledged_to;
    if is_finished(&state) && !state.must_wait() && state.last_id > state.acknowledged_to {
        statements::mark(consumer, &state, Some(state.last_id))
            .execute(conn)
            .await?;
        state = read_state(conn, consumer).await?;
    }
    Ok((!is_finished(&state)).then(|| state.settled_id()))
}

/// Acknowledges all items up to an id that is at most the [`settled_id`]. Call it in the transaction that stores
/// the effects of these items.
///
/// # Errors
/// [`FeedError::NoSuchConsumer`], or when the database reports an error.
pub async fn acknowledge_to<C>(
    conn: &mut C,
    consumer: &ConsumerName,
    id: i64,
) -> Result<(), FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    match statements::acknowledge_to(consumer, id)
        .execute(conn)
        .await?
    {
        0 => Err(FeedError::NoSuchConsumer(consumer.clone())),
        _ => Ok(()),
    }
}

/// Acknowledges a batch. Called in the transaction that stores the effects of the batch, it makes each item
/// take effect exactly once.
///
/// # Errors
/// [`FeedError::LeaseLost`]: nothing was acknowledged, and the items are delivered again. Or
/// when the database reports an error.
pub async fn acknowledge<C>(conn: &mut C, token: &LeaseToken) -> Result<(), FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    match statements::acknowledge(token).execute(conn).await? {
        0 => Err(FeedError::LeaseLost(token.consumer().clone())),
        _ => Ok(()),
    }
}

/// Renews a lease. Returns when it expires, by the server's clock.
///
/// # Errors
/// [`FeedError::LeaseLost`], or when the database reports an error.
pub async fn renew<C>(
    conn: &mut C,
    token: &LeaseToken,
    time: LeaseTime,
) -> Result<DateTime<Utc>, FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let renewed: Option<RenewedRow> = statements::renew(token, time.interval())
        .get_result(conn)
        .await
        .optional()?;
    renewed
        .map(|row| row.leased_until)
        .ok_or_else(|| FeedError::LeaseLost(token.consumer().clone()))
}

/// Releases a lease: its items can be leased again at once.
///
/// # Errors
/// [`FeedError::LeaseLost`], or when the database reports an error.
pub async fn release<C>(conn: &mut C, token: &LeaseToken) -> Result<(), FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    match statements::release(token).execute(conn).await? {
        0 => Err(FeedError::LeaseLost(token.consumer().clone())),
        _ => Ok(()),
    }
}

/// Reads the position of a consumer, and how many items it has not acknowledged.
///
/// # Errors
/// [`FeedError::NoSuchConsumer`], or when the database reports an error.
pub async fn lag<C>(conn: &mut C, consumer: &ConsumerName) -> Result<Lag, FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let row: Option<LagRow> = statements::read_lag(Some(consumer))
        .get_result(conn)
        .await
        .optional()?;
    match row {
        Some(row) => with_oldest(conn, row).await,
        None => Err(FeedError::NoSuchConsumer(consumer.clone())),
    }
}

/// Reads the positions of all consumers, by name.
///
/// # Errors
/// When the database reports an error.
pub async fn list<C>(conn: &mut C) -> Result<Vec<Lag>, FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let rows: Vec<LagRow> = statements::read_lag(None).load(conn).await?;
    let mut lags = Vec::with_capacity(rows.len());
    for row in rows {
        lags.push(with_oldest(conn, row).await?);
    }
    Ok(lags)
}

/// Adds when the first unacknowledged item was captured.
async fn with_oldest<C>(conn: &mut C, row: LagRow) -> Result<Lag, FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let first = find_end(conn, row.acknowledged_to, row.last_id, 1).await?;
    Ok(Lag::new(row, first.and_then(|first| first.captured_at)))
}

/// Reads the names of consumers that have not acknowledged all changes and actions recorded before an instant.
/// They would miss items that are removed.
///
/// # Errors
/// When the database reports an error.
pub async fn consumers_behind<C>(
    conn: &mut C,
    before: DateTime<Utc>,
) -> Result<Vec<String>, FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let rows: Vec<BehindRow> = statements::read_behind(before).load(conn).await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Notifies listeners. Call it after the commit: inside a transaction, its commit would wait for other
/// transactions that notify, and listeners would be notified at commit only.
///
/// # Errors
/// When the database reports an error.
pub async fn wake<C>(conn: &mut C) -> Result<(), FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    statements::wake().execute(conn).await?;
    Ok(())
}
