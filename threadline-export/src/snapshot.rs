//! The trail read from one snapshot, a portion at a time.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Text, Timestamptz};
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};
use futures_util::TryStreamExt;
use threadline_diesel::change::TimelineEntry;
use threadline_diesel::timeline::ChangesQuery;

use crate::error::ExportError;

/// How many changes the server sends at once. Whoever stops early has so many still to come, not
/// the rest of the trail.
const PORTION_ROWS: u64 = 2_000;

const FETCH: &str = "FETCH 2000 FROM threadline_export";

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
        diesel::sql_query("SELECT pg_current_snapshot()::text AS snapshot, now() AS taken_at")
            .get_result(conn)
            .await
    }
}

/// Opens the cursor. It is planned for being read to its end, as nearly all are.
pub(crate) async fn open_cursor(
    conn: &mut AsyncPgConnection,
    query: ChangesQuery<'static>,
) -> QueryResult<()> {
    conn.batch_execute("SET LOCAL cursor_tuple_fraction = 1")
        .await?;
    Declare(query).execute(conn).await?;
    Ok(())
}

/// Hands over the next changes, each as it arrives, and says whether there may be more.
pub(crate) async fn read_portion(
    conn: &mut AsyncPgConnection,
    mut each: impl FnMut(TimelineEntry) -> Result<(), ExportError> + Send,
) -> Result<bool, ExportError> {
    let mut entries = Fetch.load_stream::<TimelineEntry>(conn).await?;
    let mut count = 0;
    while let Some(entry) = entries.try_next().await? {
        count += 1;
        each(entry)?;
    }
    Ok(count == PORTION_ROWS)
}

/// `DECLARE` of the cursor over a query.
struct Declare(ChangesQuery<'static>);

impl QueryFragment<Pg> for Declare {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("DECLARE threadline_export NO SCROLL CURSOR FOR ");
        QueryFragment::<Pg>::walk_ast(&self.0, out)
    }
}

impl QueryId for Declare {
    type QueryId = ();
    // The same type stands for any query.
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// `FETCH` of the next changes.
#[derive(Debug, Clone, Copy, QueryId)]
struct Fetch;

impl Query for Fetch {
    type SqlType = <ChangesQuery<'static> as Query>::SqlType;
}

impl QueryFragment<Pg> for Fetch {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(FETCH);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_portion_is_as_large_as_is_fetched() {
        assert_eq!(
            super::FETCH,
            format!("FETCH {} FROM threadline_export", super::PORTION_ROWS)
        );
    }
}
