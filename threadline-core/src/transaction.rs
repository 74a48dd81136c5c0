//! Ids of audit transactions.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of an audit transaction.
///
/// PostgreSQL computes it from the database transaction: the first eight bytes are its start in
/// microseconds since 2000-01-01 UTC, the last eight its xid. Ids are ordered by time and stay unique
/// after dump and restore, `pg_upgrade` and the reuse of xids.
///
/// ```
/// use threadline_core::transaction::AuditTransactionId;
///
/// let id: AuditTransactionId = "000303c2-476f-25e9-0000-0000000002f8".parse()?;
/// assert_eq!(id.xid(), 760);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuditTransactionId(Uuid);

impl AuditTransactionId {
    /// The id as a UUID.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        self.0
    }

    /// The start of the transaction; `None` if it is out of range, as in ids that are not from
    /// PostgreSQL.
    #[must_use]
    pub fn started_at(self) -> Option<DateTime<Utc>> {
        let (micros, _) = self.0.as_u64_pair();
        let micros = i64::try_from(micros).ok()?;
        let epoch = DateTime::from_timestamp(946_684_800, 0)?;
        epoch.checked_add_signed(TimeDelta::microseconds(micros))
    }

    /// The lower bound of the ids of transactions that start after an instant.
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

    /// The transaction's xid, which is unique only in its cluster.
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
    fn ids_contain_start_and_xid() {
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
