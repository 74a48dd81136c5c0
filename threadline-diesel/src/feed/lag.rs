//! How far consumers are.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::statements::LagRow;

/// How far a consumer is, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Lag {
    /// Its name.
    pub consumer: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Changes and actions with ids up to this are acknowledged.
    pub acknowledged_to: i64,
    /// The last id that was given out.
    pub last_id: i64,
    /// How many changes and actions it is behind, at most: ids are also taken by what is rolled back.
    pub behind_at_most: i64,
    /// When the first change or action that is not acknowledged was captured; none if there is none.
    pub oldest_at: Option<DateTime<Utc>>,
    /// Whether everything up to `acknowledged_to` is decided. It is not yet where a consumer began
    /// while transactions ran that captured before its beginning: once it is, a copy of the tables
    /// has what the consumer does not get.
    pub settled: bool,
    /// Until when a worker has its lease.
    pub leased_until: Option<DateTime<Utc>>,
    /// The role that has it.
    pub leased_by: Option<String>,
    /// How often what comes after `acknowledged_to` was leased.
    pub attempt: i32,
    /// The oldest running transaction, if newer changes have to wait for it.
    pub waiting_for: Option<RunningTransaction>,
}

impl Lag {
    /// How old the first change or action is that is not acknowledged; none if there is none.
    #[must_use]
    pub fn behind_for(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        self.oldest_at.map(|oldest| now - oldest)
    }
}

/// A transaction that runs and has written something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RunningTransaction {
    /// Its xid.
    pub xid: i64,
    /// Its session's server process; none of a prepared transaction.
    pub pid: Option<i32>,
    /// Since when it runs, or is prepared; none if the role may not see other sessions.
    pub since: Option<DateTime<Utc>>,
    /// The name it was prepared under.
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
