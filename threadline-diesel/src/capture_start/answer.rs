//! Executes queries for the start of capture.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};

use super::{CaptureStart, Counting, LastBaseline, RowCounts, TableCaptureStart};
use crate::baseline::RunState;
use crate::captured_table::{CANONICAL_SETTINGS, CapturedTable, captured_tables};
use crate::query::CaptureGap;
use crate::query::error::ReadError;
use crate::query::gaps::capture_gaps;

/// The newest run of each table, and how many rows all its runs recorded.
const RUNS: &str = "\
    SELECT DISTINCT ON (table_schema, table_name) \
      table_schema, table_name, id, state, started_at, ended_at, started_by, \
      (sum(rows_recorded) OVER (PARTITION BY table_schema, table_name))::bigint AS baselined_rows \
    FROM threadline.audit_baseline_runs ORDER BY table_schema, table_name, id DESC";

#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct LastRun {
    #[diesel(sql_type = Text)]
    table_schema: String,
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    state: RunState,
    #[diesel(sql_type = Timestamptz)]
    started_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ended_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    started_by: String,
    #[diesel(sql_type = BigInt)]
    baselined_rows: i64,
}

/// Reads when capture of tables began, and how many of their rows are older.
///
/// Counting reads whole tables, and one entry of the trail's index by row for each row. It needs `SELECT` on
/// the trail and, to count, on the tables, and `EXECUTE` on `row_key`.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::capture_start;
/// use threadline_diesel::capture_start::CaptureStart;
///
/// for table in capture_start(conn, &CaptureStart::new()).await? {
///     println!("{} is captured since {:?}", table.table, table.captured_since);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the database reports an error.
pub async fn capture_start<C>(
    conn: &mut C,
    query: &CaptureStart,
) -> Result<Vec<TableCaptureStart>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    // Nothing is written. Rolling back restores the settings, also inside a transaction of the caller.
    C::TransactionManager::begin_transaction(conn).await?;
    let answer = answer(conn, query).await;
    let ended = C::TransactionManager::rollback_transaction(conn).await;
    let answer = answer?;
    ended?;
    Ok(answer)
}

async fn answer<C>(conn: &mut C, query: &CaptureStart) -> Result<Vec<TableCaptureStart>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    conn.batch_execute(CANONICAL_SETTINGS).await?;
    let found: Vec<CapturedTable> = captured_tables(query.table.as_ref()).load(conn).await?;
    let runs: Vec<LastRun> = diesel::sql_query(RUNS).load(conn).await?;
    let mut tables = Vec::with_capacity(found.len());
    for table in found {
        let is_countable = table.captured && table.has_key();
        let rows = if query.counting == Counting::Rows && is_countable {
            let counts = table.row_counts(&table.stored_row()?);
            Some(counts.get_result::<RowCounts>(conn).await?)
        } else {
            None
        };
        let gaps = capture_gaps(conn, &table.name()).await?;
        tables.push(table_start(&table, rows, &runs, gaps));
    }
    Ok(tables)
}

fn table_start(
    table: &CapturedTable,
    rows: Option<RowCounts>,
    runs: &[LastRun],
    gaps: Vec<CaptureGap>,
) -> TableCaptureStart {
    let name = table.name();
    let run = runs
        .iter()
        .find(|run| run.table_schema == name.schema() && run.table_name == name.name());
    TableCaptureStart {
        captured: table.captured,
        has_key: table.has_key(),
        captured_since: table.captured_since,
        purged_before: table.purged_before,
        first_recorded_at: table.first_recorded_at,
        rows,
        baseline: run.map(|run| LastBaseline {
            run: run.id,
            state: run.state,
            started_at: run.started_at,
            ended_at: run.ended_at,
            started_by: run.started_by.clone(),
        }),
        baselined_rows: run.map_or(0, |run| run.baselined_rows),
        gaps,
        table: name,
    }
}
