//! The transaction of an export, in which nothing changes any more.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::result::QueryResult;
use diesel::sql_types::{Text, Timestamptz};
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};

use crate::error::ExportError;

/// A server that supports it looks whether anybody is still there, so that an export that was
/// killed does not go on reading. Others refuse the setting.
const NOTICE_WHEN_THE_READER_IS_GONE: &str = "
    DO $$
    BEGIN
        PERFORM pg_catalog.set_config('client_connection_check_interval', '1s', true);
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END
    $$";

/// The snapshot everything is read from.
#[derive(Debug, QueryableByName)]
pub(crate) struct Snapshot {
    #[diesel(sql_type = Text)]
    pub(crate) snapshot: String,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) taken_at: DateTime<Utc>,
}

/// Begins a read-only transaction in which nothing changes any more.
pub(crate) async fn begin(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    AnsiTransactionManager::begin_transaction_sql(
        conn,
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    )
    .await
}

/// Ends the transaction. What goes wrong on the way is not allowed to hide why the work failed.
pub(crate) async fn end<T>(
    conn: &mut AsyncPgConnection,
    outcome: Result<T, ExportError>,
) -> Result<T, ExportError> {
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
    /// Takes the snapshot of a transaction that has just begun.
    pub(crate) async fn take(conn: &mut AsyncPgConnection) -> QueryResult<Self> {
        conn.batch_execute(NOTICE_WHEN_THE_READER_IS_GONE).await?;
        diesel::sql_query("SELECT pg_current_snapshot()::text AS snapshot, now() AS taken_at")
            .get_result(conn)
            .await
    }
}
