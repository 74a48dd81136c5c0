//! Columns whose definition changed after a change was captured.

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::sql_types::Jsonb;
#[cfg(feature = "async")]
use diesel::{
    QueryResult,
    sql_types::{BigInt, Text},
};
use serde::{Deserialize, Serialize};
use threadline_core::storage::STORAGE_SCHEMA;
#[cfg(feature = "async")]
use threadline_core::table::TableName;

use crate::json::StoredJson;

/// A column whose definition differs from the one under which a change was captured.
///
/// Stored values are as the earlier definition had them. Labels of an enum and attributes of a composite
/// type are not part of a policy: that they changed shows only where a stored value is
/// [incompatible](super::UnknownReason::Incompatible) with the present type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DefinitionChange {
    /// The name of the column then, which the images have.
    pub column: String,
    /// The type then.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The name now; none if the column was dropped.
    pub present_name: Option<String>,
    /// The type now; none if the column was dropped.
    pub present_type: Option<String>,
    /// When the first policy with another definition was deployed; none if no policy has it yet.
    pub since: Option<DateTime<Utc>>,
}

impl fmt::Display for DefinitionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (column, was) = (&self.column, &self.type_name);
        match (&self.present_name, &self.present_type) {
            (Some(name), Some(is)) if name == column => {
                write!(f, "{column} was {was}, is {is} now")?;
            }
            (Some(name), Some(is)) if is == was => write!(f, "{column} is named {name} now")?,
            (Some(name), Some(is)) => write!(f, "{column} was {was}, is {name} {is} now")?,
            _ => write!(f, "{column} ({was}) does not exist now")?,
        }
        match self.since {
            Some(since) => write!(f, " (policy of {})", since.format("%Y-%m-%d %H:%M:%S UTC")),
            None => f.write_str(" (in no policy yet)"),
        }
    }
}

/// The SQL expression of the definition changes since a change, as `jsonb`. The arguments are expressions.
pub(crate) fn definition_changes_sql(schema: &str, table: &str, change: &str) -> String {
    include_str!("definition_changes.sql")
        .replace("@threadline@", STORAGE_SCHEMA)
        .replace("@schema@", schema)
        .replace("@table@", table)
        .replace("@change@", change)
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct ChangesRow {
    #[diesel(sql_type = Jsonb)]
    changes: StoredJson,
}

/// Reads which columns of a table are defined otherwise now than when a change was captured.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// for column in threadline_diesel::definition_changes(conn, &"invoices".parse()?, 42).await? {
///     println!("{column}");
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// When the database reports an error.
#[cfg(feature = "async")]
pub async fn definition_changes<C>(
    conn: &mut C,
    table: &TableName,
    change_id: i64,
) -> QueryResult<Vec<DefinitionChange>>
where
    C: diesel_async::AsyncConnection<Backend = Pg>,
{
    use diesel_async::RunQueryDsl;

    let sql = format!(
        "SELECT {} AS changes",
        definition_changes_sql("$1", "$2", "$3")
    );
    let row = diesel::sql_query(sql)
        .bind::<Text, _>(table.schema())
        .bind::<Text, _>(table.name())
        .bind::<BigInt, _>(change_id)
        .get_result::<ChangesRow>(conn)
        .await?;
    row.changes
        .read()
        .map_err(|error| diesel::result::Error::DeserializationError(error.into()))
}
