//! Executes the checks of the doctor.

use chrono::Utc;
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};

use super::judge::{clock, judge_clock, judge_installation, session};
use super::{CHECKS, Doctor, DoctorReport};
use crate::coverage::queries::{self, Access, VersionRow};

/// Diagnoses connection, server, roles, pooler and the state of the trail. A check that fails to run is
/// part of the report, so this returns no error. Call it outside a transaction: a check that the
/// database rejects would abort it.
pub async fn doctor<C>(conn: &mut C, query: &Doctor) -> DoctorReport
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut checks = Vec::new();
    let before = Utc::now();
    let server_clock = clock().load(conn).await;
    checks.push(judge_clock(before, Utc::now(), server_clock));
    let session = session().load(conn).await;
    checks.push(query.judge_pooler(session));
    let version = match queries::access().get_result::<Access>(conn).await {
        Ok(access) if access.tells_version => queries::schema_version()
            .load::<VersionRow>(conn)
            .await
            .map(Some),
        Ok(access) if access.is_installed => Ok(Some(Vec::new())),
        Ok(_) => Ok(None),
        Err(error) => Err(error),
    };
    checks.push(judge_installation(&version));
    let has_trail = matches!(&version, Ok(Some(_)));
    for check in CHECKS {
        if has_trail || !check.needs_trail {
            let facts = check.query().load(conn).await;
            checks.push(check.judge(facts));
        }
    }
    DoctorReport::new(checks)
}
