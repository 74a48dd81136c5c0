//! The lag of consumers.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::statements::LagRow;

/// The position of a consumer, and the transaction that it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Lag {
    /// The name of the consumer.
    pub consumer: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Changes and actions with ids up to this are acknowledged.
    pub acknowledged_to: i64,
    /// The last assigned id.
    pub last_id: i64,
    /// An upper bound on the number of unacknowledged items: rolled-back transactions use ids, too.
    pub behind_at_most: i64,
    /// When the first unacknowledged item was captured; none if all are acknowledged.
    pub oldest_at: Option<DateTime<Utc>>,
    /// Whether all transactions up to `acknowledged_to` have ended. A consumer that was created while
    /// transactions ran does not receive the changes that they had captured. Once this is true, a copy of
    /// the tables contains them.
    pub settled: bool,
    /// When the lease of its worker expires.
    pub leased_until: Option<DateTime<Utc>>,
    /// The role that holds the lease.
    pub leased_by: Option<String>,
    /// How often the items after `acknowledged_to` were leased.
    pub attempt: i32,
    /// The oldest running transaction, if newer changes wait for it.
    pub waiting_for: Option<RunningTransaction>,
}

impl Lag {
    /// The age of the first unacknowledged item; none if all are acknowledged.
    #[must_use]
    pub fn behind_for(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        self.oldest_at.map(|oldest| now - oldest)
    }
}

/// A running transaction that has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RunningTransaction {
    /// The transaction's xid.
    pub xid: i64,
    /// The process id of its backend; none for a prepared transaction.
    pub pid: Option<i32>,
    /// When it began or was prepared; none if the role may not see other sessions.
    pub since: Option<DateTime<Utc>>,
    /// The identifier of a prepared transaction.
    pub prepared: Option<String>,
}

impl Lag {
    pub(crate) fn new(row: LagRow, oldest_at: Option<DateTime<Utc>>) -> Self {
        Self {
            consumer: row.name,
            created_at: row.created_at,
            acknowledged_to: row.acknowledged_to,
            last_id: row.last_id,
            behind_at_most: (row.last_id - row.acknowledged_to).max(0),
            oldest_at,
            settled: row.settled,
            leased_until: row.leased_until,
            leased_by: row.leased_by,
            attempt: row.attempt,
            waiting_for: row.waiting_for.map(|xid| RunningTransaction {
                xid,
                pid: row.waiting_for_pid,
                since: row.waiting_since,
                prepared: row.waiting_for_prepared,
            }),
        }
    }
}
