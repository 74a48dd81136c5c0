//! Checks that every table is captured or an expected gap, and that coverage finds no error.

use diesel::pg::Pg;
use diesel_async::AsyncConnection;
use serde_json::json;

use super::list;
use crate::coverage::{CoverageStatus, FindingCode, Severity, coverage};
use crate::evidence::EvidenceError;
use crate::evidence::check::{Check, CheckOptions};
use crate::evidence::recording::CheckResult;
use crate::evidence::subject::Outcome;

pub(in crate::evidence) async fn check<C>(
    conn: &mut C,
    options: &CheckOptions,
) -> Result<CheckResult, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let query = options
        .application_roles
        .iter()
        .fold(options.coverage.clone(), |query, role| {
            query.application_role(role)
        });
    let since = query.since();
    let report = coverage(conn, &query).await?;
    let is_unreadable = report
        .findings
        .iter()
        .any(|finding| finding.code == FindingCode::TrailUnreadable);
    let outcome = match (report.is_in_order(), is_unreadable) {
        (false, _) => Outcome::Fail,
        (true, true) => Outcome::Incomplete,
        (true, false) => Outcome::Pass,
    };
    let findings = report
        .findings
        .iter()
        .filter(|finding| finding.severity != Severity::Info)
        .map(|finding| json!({"code": finding.code, "severity": finding.severity, "table": finding.table}));
    let uncaptured = report
        .tables
        .iter()
        .filter(|table| table.status == CoverageStatus::NeedsCapture)
        .map(|table| json!(table.table));
    let result = Check::Coverage
        .result(outcome)
        .detail("summary", json!(report.summary))
        .detail("findings", list(findings))
        .detail("needs_capture", list(uncaptured));
    Ok(if is_unreadable {
        result.detail("error", "trail_unreadable")
    } else {
        result.observed(since, report.checked_at)
    })
}
