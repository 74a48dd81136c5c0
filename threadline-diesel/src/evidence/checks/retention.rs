//! Checks that no record is older than the policy, and that purges recorded what they removed.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::json;

use super::list;
use crate::evidence::EvidenceError;
use crate::evidence::check::{Check, CheckOptions};
use crate::evidence::recording::CheckResult;
use crate::evidence::statements::query;
use crate::evidence::subject::Outcome;
use crate::retention::expired_before;

pub(in crate::evidence) async fn check<C>(
    conn: &mut C,
    options: &CheckOptions,
) -> Result<CheckResult, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let policy = options
        .retention
        .as_ref()
        .ok_or(EvidenceError::NoRetentionPolicy)?;
    let tolerance = TimeDelta::from_std(options.purge_interval).unwrap_or(TimeDelta::MAX);
    let (now, parts) = expired_before(conn, policy, tolerance).await?;
    let expired: i64 = parts.iter().map(|part| part.rows).sum();
    let runs = query(include_str!("../sql/purges.sql"))
        .get_result::<PurgesRow>(conn)
        .await?;
    let is_in_order = expired == 0 && runs.unrecorded == 0;
    let parts = parts.iter().filter(|part| part.rows > 0).map(|part| {
        json!({"what": part.what, "table": part.table, "before": part.before, "rows": part.rows})
    });
    let result = Check::Retention
        .result(Outcome::pass_if(is_in_order))
        .detail("policy", json!(policy))
        .detail("expired_records", expired)
        .detail("expired", list(parts))
        .detail("oldest_change_at", json!(runs.oldest_change_at))
        .detail("last_run", json!(runs.last_run))
        .detail("last_run_state", json!(runs.last_state))
        .detail("runs_without_record_of_removal", runs.unrecorded);
    Ok(match runs.oldest_change_at {
        Some(oldest) => result.observed(oldest.min(now), now),
        None => result,
    })
}

#[derive(Debug, QueryableByName)]
struct PurgesRow {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    oldest_change_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    last_run: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    last_state: Option<String>,
    /// Runs that removed more changes than are recorded as removed.
    #[diesel(sql_type = BigInt)]
    unrecorded: i64,
}
