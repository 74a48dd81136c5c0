//! Executes the checks of the doctor.

use chrono::Utc;
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};

use super::judge::{clock, judge_clock, judge_installation, session};
use super::{CHECKS, Doctor, DoctorReport};
use crate::coverage::queries::{self, Access, VersionRow};

/// Diagnoses connection, server, roles, pooler and the state of the trail. A check that fails to run is
/// part of the report, so this returns no error. Each check has its own transaction, or its own savepoint in
/// an open one.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::doctor;
/// use threadline_diesel::doctor::Doctor;
///
/// let report = doctor(conn, &Doctor::new()).await;
/// assert!(report.is_healthy(), "{:?}", report.checks);
/// # Ok(()) }
/// ```
pub async fn doctor<C>(conn: &mut C, query: &Doctor) -> DoctorReport
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut checks = Vec::new();
    let before = Utc::now();
    let server_clock = isolate(conn, async |conn| clock().load(conn).await).await;
    checks.push(judge_clock(before, Utc::now(), server_clock));
    let session = isolate(conn, async |conn| session().load(conn).await).await;
    checks.push(query.judge_pooler(session));
    let version = isolate(conn, load_version).await;
    checks.push(judge_installation(&version));
    // An unknown version counts as the first one.
    let deployed = match &version {
        Ok(Some(rows)) => rows.as_slice().first().map_or(1, |row| row.version.max(1)),
        _ => 0,
    };
    for check in CHECKS {
        if deployed >= check.since_version {
            let facts = isolate(conn, async |conn| check.query().load(conn).await).await;
            checks.push(check.judge(facts));
        }
    }
    DoctorReport::new(checks)
}

/// The deployed version of the base schema; none without a trail, empty if this role cannot read it.
async fn load_version<C>(conn: &mut C) -> QueryResult<Option<Vec<VersionRow>>>
where
    C: AsyncConnection<Backend = Pg>,
{
    let access = queries::access().get_result::<Access>(conn).await?;
    if access.tells_version {
        queries::schema_version().load(conn).await.map(Some)
    } else {
        Ok(access.is_installed.then(Vec::new))
    }
}

/// Runs a query in its own transaction or savepoint, so that a rejected query does not abort the next ones.
async fn isolate<C, T>(
    conn: &mut C,
    query: impl AsyncFnOnce(&mut C) -> QueryResult<T>,
) -> QueryResult<T>
where
    C: AsyncConnection<Backend = Pg>,
{
    C::TransactionManager::begin_transaction(conn).await?;
    let answer = query(conn).await;
    C::TransactionManager::rollback_transaction(conn).await?;
    answer
}
