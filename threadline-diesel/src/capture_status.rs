//! Whether a table is captured.

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use crate::query::table_query::TableVisibility;
use crate::query::{ReadError, TableQuery};

/// Whether a table is captured. It distinguishes an empty answer from a misspelt name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CaptureStatus {
    /// The table is captured.
    Captured,
    /// The table is not captured, but the trail has changes of it.
    CapturedBefore,
    /// The table exists, and the trail has nothing of it.
    NotCaptured,
    /// There is no such table, and the trail has nothing of that name.
    Unknown,
}

#[derive(Debug, diesel::QueryableByName)]
struct CaptureStatusRow {
    #[diesel(sql_type = Bool)]
    is_there: bool,
    #[diesel(sql_type = Bool)]
    is_captured: bool,
    #[diesel(sql_type = Bool)]
    has_changes: bool,
}

impl From<CaptureStatusRow> for CaptureStatus {
    fn from(row: CaptureStatusRow) -> Self {
        match row {
            CaptureStatusRow {
                is_captured: true,
                is_there: true,
                ..
            } => Self::Captured,
            CaptureStatusRow {
                has_changes: true, ..
            } => Self::CapturedBefore,
            CaptureStatusRow { is_there: true, .. } => Self::NotCaptured,
            _ => Self::Unknown,
        }
    }
}

/// The statement that reads the status of a table.
fn select_capture_status(table: &TableName) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    diesel::sql_query(format!(
        // From the catalogs, which need no privilege on the table's schema.
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c \
             JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2) AS is_there, \
         EXISTS (SELECT FROM {STORAGE_SCHEMA}.deployed_policies \
             WHERE table_schema = $1 AND table_name = $2) AS is_captured, \
         EXISTS (SELECT FROM {STORAGE_SCHEMA}.audit_changes \
             WHERE table_schema = $1 AND table_name = $2) AS has_changes"
    ))
    .into_boxed::<Pg>()
    .bind::<Text, _>(table.schema().to_owned())
    .bind::<Text, _>(table.name().to_owned())
}

/// Reads whether a table is captured. Under a scope, only visible changes count as changes.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::query::TableQuery;
/// use threadline_diesel::{CaptureStatus, capture_status};
///
/// let status = capture_status(conn, TableQuery::new("invoices".parse()?)).await?;
/// assert_eq!(status, CaptureStatus::Captured);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the scope cannot be applied, or the database reports an error.
pub async fn capture_status<C>(
    conn: &mut C,
    query: impl Into<TableQuery> + Send,
) -> Result<CaptureStatus, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let query = query.into();
    let visibility = query.visibility(conn).await?;
    if visibility == TableVisibility::Hidden {
        return Ok(CaptureStatus::Unknown);
    }
    let mut row = select_capture_status(query.table())
        .get_result::<CaptureStatusRow>(conn)
        .await?;
    if let TableVisibility::Visible { has_changes } = visibility {
        row.has_changes = has_changes;
    }
    Ok(row.into())
}
