//! Up to when the trail is archived.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::ArchiveError;
use crate::seal::rows::query;

/// Up to which instant records are archived in the storage of a name, as the newest passing record of evidence says;
/// none if there is no such record. An erasure after it does not change it.
///
/// # Errors
/// When the database reports an error.
pub async fn archived_to(
    conn: &mut AsyncPgConnection,
    storage_name: &str,
) -> Result<Option<DateTime<Utc>>, ArchiveError> {
    let installed =
        "SELECT pg_catalog.to_regclass('@threadline@.audit_evidence') IS NOT NULL AS value";
    let installed: InstalledRow = query(installed).get_result(conn).await?;
    if !installed.value {
        return Ok(None);
    }
    let newest: Vec<InstantRow> = query(include_str!("sql/archived_to.sql"))
        .bind::<Text, _>(storage_name.to_owned())
        .load(conn)
        .await?;
    Ok(newest.as_slice().first().map(|row| row.instant))
}

#[derive(Debug, QueryableByName)]
struct InstalledRow {
    #[diesel(sql_type = Bool)]
    value: bool,
}

#[derive(Debug, QueryableByName)]
struct InstantRow {
    #[diesel(sql_type = Timestamptz)]
    instant: DateTime<Utc>,
}
