//! Recorded gaps of the trail: times in which changes of a table were not captured, and records that were
//! erased or removed.

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Jsonb, Nullable, Text};
use diesel::{QueryResult, QueryableByName};
use serde::{Deserialize, Serialize};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

#[cfg(feature = "async")]
use super::error::ReadError;
#[cfg(feature = "async")]
use super::table_query::{TableQuery, TableVisibility};
use crate::json::StoredJson;

/// A gap in the trail of a table, as the trail records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CaptureGap {
    /// What happened.
    pub kind: GapKind,
    /// When it began; for [`GapKind::Recreated`] and [`GapKind::TriggersMissing`] the last instant at which
    /// capture is known to have worked; for [`GapKind::Removed`] the end of the span before it that is restored
    /// from an archive, if there is one; none for [`GapKind::Erased`].
    pub from: Option<DateTime<Utc>>,
    /// When it ended; none if it lasts, and for [`GapKind::Suspended`], whose end, at the latest the end of
    /// its transaction, is not recorded. For [`GapKind::Erased`] the instant of the erasure, for
    /// [`GapKind::Removed`] the last cut-off, or the beginning of a span that is restored from an archive.
    pub to: Option<DateTime<Utc>>,
    /// The session user that suspended or disabled capture, enabled it again after triggers were missing,
    /// erased or removed.
    pub recorded_by: String,
    /// The reason that was given; none for kinds that have none.
    pub reason: Option<String>,
    /// The columns that were erased; empty for other kinds.
    pub columns: Vec<String>,
    /// Whether the table was empty when capture was enabled again; none if it was not, or was never off.
    pub table_was_empty: Option<bool>,
    /// When the first baseline of all rows after the gap ended. A row that existed then has a record since.
    pub baselined_at: Option<DateTime<Utc>>,
    /// Changes with smaller ids are older than the gap.
    #[serde(skip_serializing)]
    pub(crate) first_id: i64,
    /// Changes with greater ids were captured after the gap.
    #[serde(skip_serializing)]
    pub(crate) last_id: Option<i64>,
}

/// The kind of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GapKind {
    /// Capture was suspended by `suspend_capture`.
    Suspended,
    /// Capture was disabled by `disable_capture`.
    Disabled,
    /// The table was dropped, and created again under its name.
    Recreated,
    /// Capture triggers were missing or disabled, and were repaired.
    TriggersMissing,
    /// Values of a row were erased from its changes.
    Erased,
    /// Retention removed changes.
    Removed,
}

impl CaptureGap {
    /// Whether changes may be missing between a record of a row and an instant. `is_later`: the record is
    /// newer than the instant. Without a record: whether changes may be missing before the instant.
    pub(crate) fn separates(
        &self,
        record: Option<i64>,
        is_later: bool,
        instant: DateTime<Utc>,
    ) -> bool {
        let Some(from) = self.from else {
            return false;
        };
        match record {
            Some(id) if is_later => self.first_id < id && self.to.unwrap_or(from) > instant,
            Some(id) => from < instant && self.last_id.is_none_or(|last| id < last),
            None => from < instant,
        }
    }
}

impl fmt::Display for CaptureGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |instant: Option<DateTime<Utc>>| {
            instant.map_or_else(
                || "an unknown instant".to_owned(),
                |instant| instant.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            )
        };
        let (from, to, by) = (show(self.from), show(self.to), &self.recorded_by);
        match self.kind {
            GapKind::Suspended => write!(f, "capture was suspended at {from} by {by}")?,
            GapKind::Disabled => match self.to {
                Some(_) => write!(f, "capture was disabled from {from}, by {by}, until {to}")?,
                None => write!(f, "capture is disabled since {from}, by {by}")?,
            },
            GapKind::Recreated => write!(
                f,
                "the table was created again between {from} and {to}, when {by} enabled capture of it"
            )?,
            GapKind::TriggersMissing => write!(
                f,
                "capture triggers were missing, from some instant after {from} until {by} enabled \
                 capture at {to}"
            )?,
            GapKind::Erased => {
                let columns = self.columns.join(", ");
                write!(f, "values of {columns} were erased at {to} by {by}")?;
            }
            GapKind::Removed => match self.from {
                Some(_) => write!(
                    f,
                    "changes captured from {from} to {to} were removed by {by}"
                )?,
                None => write!(f, "changes captured before {to} were removed by {by}")?,
            },
        }
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        Ok(())
    }
}

/// The statement of the times of which retention removed the changes of a table. The arguments are SQL expressions.
pub(crate) fn removed_sql(schema: &str, table: &str) -> String {
    include_str!("removed.sql")
        .replace("@schema@", schema)
        .replace("@table@", table)
}

/// The statement of the gaps. The arguments are SQL expressions.
pub(super) fn gaps_sql(schema: &str, table: &str, key: &str) -> String {
    include_str!("gaps.sql")
        .replace("@removed@", &removed_sql(schema, table))
        .replace("@threadline@", STORAGE_SCHEMA)
        .replace("@schema@", schema)
        .replace("@table@", table)
        .replace("@key@", key)
}

/// The statement that reads the gaps of a table, with the erasures of a row if its key is given.
pub(crate) fn select_gaps(
    table: &TableName,
    key: Option<&str>,
) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    diesel::sql_query(gaps_sql("$1", "$2", "$3"))
        .into_boxed()
        .bind::<Text, _>(table.schema().to_owned())
        .bind::<Text, _>(table.name().to_owned())
        .bind::<Nullable<Text>, _>(key.map(ToOwned::to_owned))
}

/// The row of [`select_gaps`].
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(crate) struct GapsRow {
    #[diesel(sql_type = Jsonb)]
    pub(super) gaps: StoredJson,
}

impl GapsRow {
    pub(crate) fn read(&self) -> QueryResult<Vec<CaptureGap>> {
        self.gaps
            .read()
            .map_err(|error| diesel::result::Error::DeserializationError(error.into()))
    }
}

/// Reads the gaps that are recorded of a table, in the order of capture; none of a table that the scope
/// hides.
///
/// Writes that bypassed the triggers without a record, for example under `session_replication_role`, are
/// not among them.
///
/// # Errors
/// [`ReadError`] when the scope cannot be applied, or the database reports an error.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::query::TableQuery;
///
/// for gap in threadline_diesel::capture_gaps(conn, TableQuery::new("invoices".parse()?)).await? {
///     println!("{gap}");
/// }
/// # Ok(()) }
/// ```
#[cfg(feature = "async")]
pub async fn capture_gaps<C>(
    conn: &mut C,
    query: impl Into<TableQuery> + Send,
) -> Result<Vec<CaptureGap>, ReadError>
where
    C: diesel_async::AsyncConnection<Backend = Pg>,
{
    use diesel_async::RunQueryDsl;

    let query = query.into();
    if query.visibility(conn).await? == TableVisibility::Hidden {
        return Ok(Vec::new());
    }
    let row = select_gaps(query.table(), None)
        .get_result::<GapsRow>(conn)
        .await?;
    Ok(row.read()?)
}
