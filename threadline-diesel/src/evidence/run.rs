//! Runs checks.

use diesel::pg::Pg;
use diesel_async::{AsyncConnection, TransactionManager};
use serde::Serialize;
use threadline_core::telemetry;

use super::EvidenceError;
use super::check::{Check, CheckOptions};
use super::checks::{continuity, coverage, policy, retention, roles};
use super::recording::{CheckResult, record_check_result, require_migration};

/// A check that ran and was recorded.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct CheckRun {
    /// The check.
    #[serde(skip)]
    pub check: Check,
    /// The `order_id` of its evidence.
    pub order_id: i64,
    /// The result, as it is recorded.
    #[serde(flatten)]
    pub result: CheckResult,
    /// Why the check did not run to its end; none if it did. The JSON has its kind, in `detail`.
    #[serde(skip)]
    pub error: Option<EvidenceError>,
}

/// Runs a check and records its result, also if the check does not run to its end.
///
/// The check runs in a transaction of its own, or in a savepoint of an open one, which is rolled back. The result is
/// recorded afterwards. Needs `SELECT` on the trail and `EXECUTE` on `record_check`.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::{Check, CheckOptions, run_check};
///
/// let run = run_check(conn, Check::Coverage, &CheckOptions::registered()?).await?;
/// println!("{}: {}", run.check, run.result.summary_status());
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`EvidenceError::MigrationMissing`] without the migration; [`EvidenceError::NotRecorded`] when the result cannot
/// be recorded, for example because the connection was lost. It has the result: record that with
/// [`record_check_result`] on another connection.
pub async fn run_check<C>(
    conn: &mut C,
    check: Check,
    options: &CheckOptions,
) -> Result<CheckRun, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let (result, error) = match perform_check(conn, check, options).await {
        Ok(result) => (result, None),
        Err(EvidenceError::MigrationMissing) => return Err(EvidenceError::MigrationMissing),
        Err(error) => (check.incomplete(&error, options), Some(error)),
    };
    match record_check_result(conn, &result).await {
        Ok(order_id) => Ok(CheckRun {
            check,
            order_id,
            result,
            error,
        }),
        Err(source) => Err(EvidenceError::NotRecorded {
            check,
            result: Box::new(result),
            source: Box::new(error.unwrap_or(source)),
        }),
    }
}

/// Performs a check without recording its result. Writes nothing.
async fn perform_check<C>(
    conn: &mut C,
    check: Check,
    options: &CheckOptions,
) -> Result<CheckResult, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let performed = isolate(conn, check, options).await;
    if let Err(error) = &performed {
        telemetry::check_failed(check.as_str(), error.kind());
    }
    performed.map(|result| options.complete(result))
}

/// Performs a check in a transaction or savepoint that is rolled back.
async fn isolate<C>(
    conn: &mut C,
    check: Check,
    options: &CheckOptions,
) -> Result<CheckResult, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    C::TransactionManager::begin_transaction(conn).await?;
    let result = perform(conn, check, options).await;
    let ended = C::TransactionManager::rollback_transaction(conn).await;
    let result = result?;
    ended?;
    Ok(result)
}

async fn perform<C>(
    conn: &mut C,
    check: Check,
    options: &CheckOptions,
) -> Result<CheckResult, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    require_migration(conn).await?;
    match check {
        Check::Coverage => coverage::check(conn, options).await,
        Check::Policy => policy::check(conn, options).await,
        Check::Retention => retention::check(conn, options).await,
        Check::Roles => roles::check(conn, options).await,
        Check::Continuity => continuity::check(conn).await,
    }
}
