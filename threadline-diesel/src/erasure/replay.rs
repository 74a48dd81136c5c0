//! Applies recorded erasures again, after the restore of an older backup.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Jsonb, Text, Timestamptz};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};

use super::ErasureError;
use super::statements::{ErasedRow, Query, query};
use crate::retention::execute::load;

/// A recorded erasure: a row of `audit_removals`. It has ids, keys and names of columns, and a pseudonym, but no
/// erased value and no id of an actor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErasureRecord {
    /// Its position in the order of the trail.
    pub order_id: i64,
    /// When the values were erased.
    pub removed_at: DateTime<Utc>,
    /// The reason.
    pub reason: String,
    /// What was erased.
    pub scope: serde_json::Value,
}

/// What a replay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Replay {
    /// Erasures that were applied.
    pub applied: u64,
    /// Erasures that the trail has already, or of which it has no record.
    pub skipped: u64,
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct RecordRow {
    #[diesel(sql_type = BigInt)]
    order_id: i64,
    #[diesel(sql_type = Timestamptz)]
    removed_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    reason: String,
    #[diesel(sql_type = Jsonb)]
    scope: serde_json::Value,
}

/// The recorded erasures after a position, in order, at most `limit`. Keep them outside of the database, to replay
/// them after the restore of an older backup.
///
/// # Errors
/// When the database reports an error.
pub async fn erasure_records<C>(
    conn: &mut C,
    after: i64,
    limit: u32,
) -> Result<Vec<ErasureRecord>, ErasureError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let rows: Vec<RecordRow> = query(
        "SELECT order_id, removed_at, reason, scope FROM @threadline@.audit_removals \
         WHERE kind = 'erasure' AND order_id > $1 ORDER BY order_id LIMIT $2",
    )
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(i64::from(limit))
    .load(conn)
    .await?;
    let record = |row: RecordRow| ErasureRecord {
        order_id: row.order_id,
        removed_at: row.removed_at,
        reason: row.reason,
        scope: row.scope,
    };
    Ok(rows.into_iter().map(record).collect())
}

/// Applies recorded erasures to a trail that was restored from an older backup, each in a transaction of its own.
/// An erasure that the trail has is skipped, so a replay can be repeated.
///
/// # Errors
/// When the database reports an error; erasures before it stay applied.
pub async fn replay_erasures<C>(
    conn: &mut C,
    records: &[ErasureRecord],
) -> Result<Replay, ErasureError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut replay = Replay::default();
    for record in records {
        let applied: Vec<ErasedRow> = match record.scope.get("records").and_then(|one| one.as_str())
        {
            Some("changes") => {
                load(
                    conn,
                    bound_before(include_str!("sql/replay_changes.sql"), record),
                )
                .await?
            }
            Some("values") => {
                load(
                    conn,
                    bound_before(include_str!("sql/replay_values.sql"), record),
                )
                .await?
            }
            Some(_) => load(conn, bound(include_str!("sql/replay_context.sql"), record)).await?,
            None => {
                load(
                    conn,
                    bound_before(include_str!("sql/replay_row.sql"), record),
                )
                .await?
            }
        };
        if applied.is_empty() {
            replay.skipped += 1;
        } else {
            replay.applied += 1;
        }
    }
    Ok(replay)
}

fn bound(sql: &str, record: &ErasureRecord) -> Query {
    query(sql)
        .bind::<Jsonb, _>(record.scope.clone())
        .bind::<Text, _>(record.reason.clone())
}

/// A statement about records that are older than the erasure.
fn bound_before(sql: &str, record: &ErasureRecord) -> Query {
    bound(sql, record).bind::<Timestamptz, _>(record.removed_at)
}
