//! Checks that capture was not interrupted since the last run of this check.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::json;

use super::list;
use crate::capture_start::{CaptureStart, Counting, TableCaptureStart, capture_start};
use crate::evidence::EvidenceError;
use crate::evidence::check::Check;
use crate::evidence::recording::CheckResult;
use crate::evidence::statements::{self, Instant, LastRunRow};
use crate::evidence::subject::Outcome;
use crate::query::{CaptureGap, GapKind};

/// How far the time of a run reaches into that of the last one. A transaction that suspended capture may have been
/// running during the last run, which could not see its record.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);

pub(in crate::evidence) async fn check<C>(conn: &mut C) -> Result<CheckResult, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let now = statements::now().get_result::<Instant>(conn).await?.instant;
    let last: Vec<LastRunRow> = statements::last_runs(vec![Check::Continuity.as_str().to_owned()])
        .load(conn)
        .await?;
    let last = last.iter().find_map(|run| run.observed_to);
    let since = last.map(|last| last - OVERLAP);
    let tables = capture_start(conn, &CaptureStart::new().counting(Counting::Nothing)).await?;
    let mut gaps = Vec::new();
    for table in &tables {
        let found = table.gaps.iter().filter(|gap| is_new(gap, since));
        gaps.extend(found.map(
            |gap| json!({"table": table.table, "kind": gap.kind, "from": gap.from, "to": gap.to}),
        ));
    }
    let uncaptured: Vec<_> = tables
        .iter()
        .filter(|table| has_lost_triggers(table))
        .collect();
    let is_in_order = gaps.is_empty() && uncaptured.is_empty();
    let uncaptured = uncaptured.iter().map(|table| json!(table.table));
    let result = Check::Continuity
        .result(Outcome::pass_if(is_in_order))
        .detail("tables", tables.len())
        .detail("gap_count", gaps.len())
        .detail("gaps", list(gaps))
        .detail("without_triggers", list(uncaptured));
    let first = tables.iter().filter_map(|table| table.captured_since).min();
    Ok(match since.or(first) {
        Some(since) => result.observed(since.min(now), now),
        None => result,
    })
}

/// Whether a gap is an interruption of capture that was recorded since an instant.
fn is_new(gap: &CaptureGap, since: Option<DateTime<Utc>>) -> bool {
    let recorded_at = match gap.kind {
        GapKind::Suspended | GapKind::Disabled => gap.from,
        GapKind::Recreated | GapKind::TriggersMissing => gap.to,
        GapKind::Erased | GapKind::Removed => return false,
    };
    since.is_none_or(|since| recorded_at.is_none_or(|recorded_at| recorded_at >= since))
}

/// Whether a table is not captured although capture of it was not disabled.
fn has_lost_triggers(table: &TableCaptureStart) -> bool {
    let is_disabled = |gap: &CaptureGap| gap.kind == GapKind::Disabled && gap.to.is_none();
    !table.captured && !table.gaps.iter().any(is_disabled)
}
