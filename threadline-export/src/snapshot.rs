//! The read-only transaction and snapshot of an export.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::result::QueryResult;
use diesel::sql_types::{Text, Timestamptz};
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};

/// Has the server check the connection, so that it stops reading when the export was killed. Some
/// platforms do not support the setting.
const CHECK_CLIENT_CONNECTION: &str = "
    DO $$
    BEGIN
        PERFORM pg_catalog.set_config('client_connection_check_interval', '1s', true);
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END
    $$";

/// The snapshot of an export.
#[derive(Debug, QueryableByName)]
pub(crate) struct Snapshot {
    #[diesel(sql_type = Text)]
    pub(crate) snapshot: String,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) taken_at: DateTime<Utc>,
}

/// Begins a read-only transaction with one snapshot.
pub(crate) async fn begin(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    AnsiTransactionManager::begin_transaction_sql(
        conn,
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    )
    .await
}

/// Commits or rolls back. An error of the rollback is logged, so that the error of the work is
/// returned.
pub(crate) async fn end<T, E>(conn: &mut AsyncPgConnection, outcome: Result<T, E>) -> Result<T, E>
where
    E: From<diesel::result::Error>,
{
    match outcome {
        Ok(value) => {
            AnsiTransactionManager::commit_transaction(conn).await?;
            Ok(value)
        }
        Err(error) => {
            if let Err(error) = AnsiTransactionManager::rollback_transaction(conn).await {
                tracing::warn!(target: "threadline", %error, "rollback failed");
            }
            Err(error)
        }
    }
}

impl Snapshot {
    /// Takes the snapshot; must be the first query of the transaction.
    pub(crate) async fn take(conn: &mut AsyncPgConnection) -> QueryResult<Self> {
        conn.batch_execute(CHECK_CLIENT_CONNECTION).await?;
        diesel::sql_query("SELECT pg_current_snapshot()::text AS snapshot, now() AS taken_at")
            .get_result(conn)
            .await
    }
}
