//! The identity of a database transaction.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of an audit transaction, computed by PostgreSQL from the database transaction itself.
///
/// The first eight bytes are the transaction's start in microseconds since 2000-01-01 UTC, the last
/// eight its xid. So ids sort by time, and stay unique across dumps, restores, new clusters and
/// xids that start over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuditTransactionId(Uuid);

impl AuditTransactionId {
    /// The id as it is stored.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        self.0
    }

    /// When the transaction started; none when the id was not made by PostgreSQL.
    #[must_use]
    pub fn started_at(self) -> Option<DateTime<Utc>> {
        let (micros, _) = self.0.as_u64_pair();
        let micros = i64::try_from(micros).ok()?;
        let epoch = DateTime::from_timestamp(946_684_800, 0)?;
        epoch.checked_add_signed(TimeDelta::microseconds(micros))
    }

    /// The smallest id of transactions that start after an instant, to the microsecond.
    #[must_use]
    pub fn first_after(instant: DateTime<Utc>) -> Self {
        let epoch = TimeDelta::seconds(946_684_800);
        let micros = instant
            .checked_sub_signed(epoch)
            .map_or(0, |since| since.timestamp_micros().saturating_add(1));
        Self(Uuid::from_u64_pair(
            u64::try_from(micros).unwrap_or_default(),
            0,
        ))
    }

    /// The transaction's xid; meaningful only in the cluster it ran in.
    #[must_use]
    pub fn xid(self) -> u64 {
        self.0.as_u64_pair().1
    }
}

impl From<Uuid> for AuditTransactionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for AuditTransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for AuditTransactionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_and_which() {
        let id: AuditTransactionId = "000303c2-476f-25e9-0000-0000000002f8".parse().unwrap();
        assert_eq!(id.xid(), 760);
        let started = id.started_at().unwrap();
        assert_eq!(started.to_rfc3339(), "2026-11-21T06:31:27.137257+00:00");
        let next = AuditTransactionId::first_after(started);
        assert_eq!(
            next.started_at(),
            started.checked_add_signed(TimeDelta::microseconds(1))
        );
        assert!(next > id && next.xid() == 0);
    }
}
