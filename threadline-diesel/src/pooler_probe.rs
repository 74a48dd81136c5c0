//! A probe for a connection pooler between client and server.

use diesel::QueryResult;
use diesel::connection::CacheSize;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use crate::doctor::Doctor;

/// How many transactions each connection runs.
const ROUNDS: usize = 5;

/// Runs short transactions on two connections in turn and adds the server processes that answered to the
/// doctor's facts. A pooler in transaction mode tends to give one connection the server process that the
/// other's transaction has just left. Disables the prepared statement caches: behind such a pooler a statement
/// may be executed by another process than the one that prepared it.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use diesel_async::{AsyncConnection, AsyncPgConnection};
/// use threadline_diesel::doctor::{Doctor, probe_pooler};
///
/// let mut first = AsyncPgConnection::establish("postgres://localhost/app").await?;
/// let mut second = AsyncPgConnection::establish("postgres://localhost/app").await?;
/// let query = probe_pooler(Doctor::new(), &mut first, &mut second).await;
/// let report = threadline_diesel::doctor(&mut first, &query).await;
/// # let _ = report;
/// # Ok(()) }
/// ```
pub async fn probe_pooler(
    mut doctor: Doctor,
    first: &mut AsyncPgConnection,
    second: &mut AsyncPgConnection,
) -> Doctor {
    first.set_prepared_statement_cache_size(CacheSize::Disabled);
    second.set_prepared_statement_cache_size(CacheSize::Disabled);
    for _ in 0..ROUNDS {
        if let Ok(pid) = backend_pid(first).await {
            doctor = doctor.answered_by(pid);
        }
        if let Ok(pid) = backend_pid(second).await {
            doctor = doctor.other_answered_by(pid);
        }
    }
    doctor
}

/// The process that runs a transaction of the connection.
async fn backend_pid(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    conn.transaction(async |conn| {
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>(
            "pg_catalog.pg_backend_pid()",
        ))
        .get_result(conn)
        .await
    })
    .await
}
