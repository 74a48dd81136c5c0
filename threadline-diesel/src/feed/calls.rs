//! The calls of the feed. Each is one statement, or a few that hold no lock between them: the last
//! one changes the consumer's row only if it is still the version that was read.

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

/// Creates a consumer.
///
/// # Errors
/// [`FeedError::ConsumerExists`]; [`FeedError::NoSuchPlace`] if [`Start::After`] names an id that was
/// not given out yet; or what the database says.
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
/// [`FeedError::NoSuchConsumer`], or what the database says.
pub async fn drop_consumer<C>(conn: &mut C, consumer: &ConsumerName) -> Result<(), FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    match statements::drop_consumer(consumer).execute(conn).await? {
        0 => Err(FeedError::NoSuchConsumer(consumer.clone())),
        _ => Ok(()),
    }
}

/// Leases the next changes and actions of a consumer: no other worker gets them until the lease runs
/// out or is given up. Outside of a transaction, or in one at the level `READ COMMITTED` that has
/// written nothing.
///
/// # Errors
/// [`FeedError::NoSuchConsumer`]; the refusals of [`FeedError`] where a lease could skip changes; or
/// what the database says.
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

/// Leases the first items of what is settled; none if there are none.
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
            // Retention removed them since they were counted.
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

/// Finds where a batch ends that begins after an id; none if there is nothing up to another. Looks
/// at ranges of ids, each wider than the one before, because the index on ids is a BRIN: it finds a
/// range, not the first of many.
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

/// Acknowledges what was leased. In the transaction that stores its effects, each takes effect exactly
/// once.
///
/// # Errors
/// [`FeedError::LeaseLost`]: nothing was acknowledged, and the items are delivered again. Or what the
/// database says.
pub async fn acknowledge<C>(conn: &mut C, token: &LeaseToken) -> Result<(), FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    match statements::acknowledge(token).execute(conn).await? {
        0 => Err(FeedError::LeaseLost(token.consumer().clone())),
        _ => Ok(()),
    }
}

/// Prolongs a lease to a time from now. Gives until when, by the server's clock.
///
/// # Errors
/// [`FeedError::LeaseLost`], or what the database says.
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

/// Gives a lease up: the same items can be leased again at once.
///
/// # Errors
/// [`FeedError::LeaseLost`], or what the database says.
pub async fn release<C>(conn: &mut C, token: &LeaseToken) -> Result<(), FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    match statements::release(token).execute(conn).await? {
        0 => Err(FeedError::LeaseLost(token.consumer().clone())),
        _ => Ok(()),
    }
}

/// How far a consumer is.
///
/// # Errors
/// [`FeedError::NoSuchConsumer`], or what the database says.
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

/// Every consumer and how far it is, by name.
///
/// # Errors
/// What the database says.
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

/// Adds when the first item was captured that is not acknowledged.
async fn with_oldest<C>(conn: &mut C, row: LagRow) -> Result<Lag, FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let first = find_end(conn, row.acknowledged_to, row.last_id, 1).await?;
    Ok(Lag::new(row, first.and_then(|first| first.captured_at)))
}

/// The names of consumers that have not acknowledged every change and action recorded before an instant:
/// those that a removal would overtake.
///
/// # Errors
/// What the database says.
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

/// Wakes those who listen for changes. Call it after the commit: in a transaction it would have its
/// commit wait for others that notify, and listeners only hear of it then.
///
/// # Errors
/// What the database says.
pub async fn wake<C>(conn: &mut C) -> Result<(), FeedError>
where
    C: AsyncConnection<Backend = Pg>,
{
    statements::wake().execute(conn).await?;
    Ok(())
}
