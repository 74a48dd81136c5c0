//! The statements of the feed and their rows. Each is a transaction of its own unless the caller opened one.

use chrono::{DateTime, Utc};
use diesel::data_types::PgInterval;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{
    BigInt, Bool, Integer, Interval, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

use super::FeedError;
use super::consumer::ConsumerName;
use super::lease::LeaseToken;

pub(crate) type Query = BoxedSqlQuery<'static, Pg, SqlQuery>;

fn query(sql: &str) -> Query {
    diesel::sql_query(sql.replace("@threadline@", STORAGE_SCHEMA)).into_boxed()
}

fn about(sql: &str, consumer: &ConsumerName) -> Query {
    query(sql).bind::<Text, _>(consumer.as_str().to_owned())
}

fn under(sql: &str, lease: &LeaseToken) -> Query {
    about(sql, lease.consumer()).bind::<SqlUuid, _>(lease.token())
}

/// The last assigned id.
pub(crate) fn read_end() -> Query {
    query("SELECT last_id FROM @threadline@.audit_feed_end")
}

/// Adds a consumer; affects no row if one of this name exists.
pub(crate) fn create(consumer: &ConsumerName, after_id: Option<i64>) -> Query {
    about(include_str!("sql/create.sql"), consumer).bind::<Nullable<BigInt>, _>(after_id)
}

/// Removes a consumer; affects no row if there is none.
pub(crate) fn drop_consumer(consumer: &ConsumerName) -> Query {
    let sql = "DELETE FROM @threadline@.audit_feed_consumers WHERE name = $1";
    about(sql, consumer)
}

/// Reads the state that a consumer's next lease depends on: a [`StateRow`].
pub(crate) fn read_state(consumer: &ConsumerName) -> Query {
    about(include_str!("sql/state.sql"), consumer)
}

/// Finds the end of the next batch: an [`ExtentRow`].
pub(crate) fn read_extent(after_id: i64, to_id: i64, limit: i64) -> Query {
    query(include_str!("sql/extent.sql"))
        .bind::<BigInt, _>(after_id)
        .bind::<BigInt, _>(to_id)
        .bind::<BigInt, _>(limit)
}

/// Records that no final items are left, and sets the mark if one is passed. Affects no row if the state
/// changed since it was read.
pub(crate) fn mark(consumer: &ConsumerName, state: &StateRow, mark_id: Option<i64>) -> Query {
    about(include_str!("sql/mark.sql"), consumer)
        .bind::<Text, _>(state.version.clone())
        .bind::<Bool, _>(state.mark_is_settled)
        .bind::<Nullable<BigInt>, _>(mark_id)
}

/// Leases up to the end of a batch: a [`LeaseRow`], or none if the state changed since it was read.
pub(crate) fn lease(
    consumer: &ConsumerName,
    state: &StateRow,
    end: BatchEnd,
    time: PgInterval,
) -> Query {
    about(include_str!("sql/lease.sql"), consumer)
        .bind::<Text, _>(state.version.clone())
        .bind::<Bool, _>(state.mark_is_settled)
        .bind::<BigInt, _>(end.id)
        .bind::<Nullable<Timestamptz>, _>(end.captured_at)
        .bind::<Interval, _>(time)
}

/// Acknowledges; affects no row if the lease is lost.
pub(crate) fn acknowledge(token: &LeaseToken) -> Query {
    under(include_str!("sql/acknowledge.sql"), token)
}

/// Acknowledges up to an id without a lease; affects no row if there is no such consumer.
pub(crate) fn acknowledge_to(consumer: &ConsumerName, id: i64) -> Query {
    about(include_str!("sql/acknowledge_to.sql"), consumer).bind::<BigInt, _>(id)
}

/// Renews: a [`RenewedRow`], or none if the lease is lost.
pub(crate) fn renew(token: &LeaseToken, time: PgInterval) -> Query {
    under(include_str!("sql/renew.sql"), token).bind::<Interval, _>(time)
}

/// Releases a lease; affects no row if it is lost.
pub(crate) fn release(token: &LeaseToken) -> Query {
    under(include_str!("sql/release.sql"), token)
}

/// Reads the positions of one consumer, or of all: [`LagRow`]s.
pub(crate) fn read_lag(consumer: Option<&ConsumerName>) -> Query {
    let name = consumer.map(|consumer| consumer.as_str().to_owned());
    query(include_str!("sql/lag.sql")).bind::<Nullable<Text>, _>(name)
}

/// Finds consumers that have not acknowledged all items recorded before an instant: [`BehindRow`]s.
pub(crate) fn read_behind(before: DateTime<Utc>) -> Query {
    query(include_str!("sql/behind.sql")).bind::<Timestamptz, _>(before)
}

/// Sets an item aside; affects no row if the lease is lost.
pub(crate) fn record_delivery_failure(
    token: &LeaseToken,
    item_id: i64,
    attempts: i32,
    last_error: &str,
) -> Query {
    under(include_str!("sql/record_delivery_failure.sql"), token)
        .bind::<BigInt, _>(item_id)
        .bind::<Integer, _>(attempts)
        .bind::<Text, _>(last_error.to_owned())
}

/// Counts one more failure of an item that is set aside.
pub(crate) fn repeat_delivery_failure(
    consumer: &ConsumerName,
    item_id: i64,
    last_error: &str,
) -> Query {
    about(include_str!("sql/repeat_delivery_failure.sql"), consumer)
        .bind::<BigInt, _>(item_id)
        .bind::<Text, _>(last_error.to_owned())
}

/// Reads the items that are set aside: [`FailureRow`]s.
pub(crate) fn read_delivery_failures(consumer: &ConsumerName, limit: i64) -> Query {
    let sql = "SELECT item_id, attempts, last_error, first_failed_at, last_failed_at
        FROM @threadline@.audit_delivery_failures WHERE consumer = $1 ORDER BY item_id LIMIT $2";
    about(sql, consumer).bind::<BigInt, _>(limit)
}

/// Removes the record of an item that is set aside.
pub(crate) fn remove_delivery_failure(consumer: &ConsumerName, item_id: i64) -> Query {
    let sql =
        "DELETE FROM @threadline@.audit_delivery_failures WHERE consumer = $1 AND item_id = $2";
    about(sql, consumer).bind::<BigInt, _>(item_id)
}

/// Notifies listeners.
pub(crate) fn wake() -> Query {
    query("SELECT pg_notify($1, '')").bind::<Text, _>(super::channel())
}

/// The end of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchEnd {
    /// The last id of the batch.
    pub(crate) id: i64,
    /// When the last item of the batch was captured; none if the batch ends at the last final id, whose
    /// time is in the consumer's row.
    pub(crate) captured_at: Option<DateTime<Utc>>,
}

/// The last assigned id.
#[derive(Debug, QueryableByName)]
pub(crate) struct EndRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) last_id: i64,
}

/// A row of `state.sql`.
#[derive(Debug, QueryableByName)]
#[allow(clippy::struct_excessive_bools, reason = "each is a column")]
pub(crate) struct StateRow {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) acknowledged_to: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) settled_to: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) mark_id: Option<i64>,
    #[diesel(sql_type = Bool)]
    pub(crate) mark_is_settled: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) mark_is_foreign: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) leased_until: Option<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    pub(crate) is_leased: bool,
    #[diesel(sql_type = BigInt)]
    pub(crate) last_id: i64,
    #[diesel(sql_type = Text)]
    pub(crate) isolation: String,
    #[diesel(sql_type = Bool)]
    pub(crate) has_written: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) has_cache: bool,
}

impl StateRow {
    /// The id up to which all transactions have ended: the last final id.
    pub(crate) fn settled_id(&self) -> i64 {
        self.mark_id
            .filter(|_| self.mark_is_settled)
            .unwrap_or(self.settled_to)
    }

    /// Whether the row does not record yet that all final items are acknowledged.
    pub(crate) fn has_advanced(&self) -> bool {
        self.mark_is_settled || self.acknowledged_to < self.settled_to
    }

    /// Whether transactions that the mark waits for are running.
    pub(crate) fn must_wait(&self) -> bool {
        self.mark_id.is_some() && !self.mark_is_settled && !self.mark_is_foreign
    }

    /// Rejects a lease that could skip changes, or deliver changes that are rolled back later.
    pub(crate) fn check(&self) -> Result<(), FeedError> {
        if !matches!(
            self.isolation.as_str(),
            "read committed" | "read uncommitted"
        ) {
            return Err(FeedError::WrongIsolation(self.isolation.to_uppercase()));
        }
        if self.has_written {
            return Err(FeedError::HasWritten);
        }
        let reached = self
            .acknowledged_to
            .max(self.settled_to)
            .max(self.mark_id.unwrap_or(0));
        if self.last_id < reached {
            return Err(FeedError::SequenceSetBack {
                last_id: self.last_id,
                reached,
            });
        }
        if self.has_cache {
            return Err(FeedError::SequenceHasCache);
        }
        Ok(())
    }
}

/// A row of `extent.sql`.
#[derive(Debug, QueryableByName)]
pub(crate) struct ExtentRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) found: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) last_id: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) last_at: Option<DateTime<Utc>>,
}

/// A row of `lease.sql`.
#[derive(Debug, QueryableByName)]
pub(crate) struct LeaseRow {
    #[diesel(sql_type = SqlUuid)]
    pub(crate) token: Uuid,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) leased_until: DateTime<Utc>,
    #[diesel(sql_type = Integer)]
    pub(crate) attempt: i32,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) removed_before: Option<DateTime<Utc>>,
}

/// A row of `renew.sql`.
#[derive(Debug, QueryableByName)]
pub(crate) struct RenewedRow {
    #[diesel(sql_type = Timestamptz)]
    pub(crate) leased_until: DateTime<Utc>,
}

/// A row of `behind.sql`.
#[derive(Debug, QueryableByName)]
pub(crate) struct BehindRow {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
}

/// A row of `audit_delivery_failures`.
#[derive(Debug, QueryableByName)]
pub(crate) struct FailureRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) item_id: i64,
    #[diesel(sql_type = Integer)]
    pub(crate) attempts: i32,
    #[diesel(sql_type = Text)]
    pub(crate) last_error: String,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) first_failed_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) last_failed_at: DateTime<Utc>,
}

/// A row of `lag.sql`.
#[derive(Debug, QueryableByName)]
pub(crate) struct LagRow {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) created_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    pub(crate) acknowledged_to: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) last_id: i64,
    #[diesel(sql_type = Bool)]
    pub(crate) settled: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) leased_until: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) leased_by: Option<String>,
    #[diesel(sql_type = Integer)]
    pub(crate) attempt: i32,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) waiting_for: Option<i64>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(crate) waiting_for_pid: Option<i32>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) waiting_since: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) waiting_for_prepared: Option<String>,
}
