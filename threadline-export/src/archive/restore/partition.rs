//! Tables that become partitions of the trail.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{Bool, Text, Timestamptz};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_core::identifier::quote_identifier;
use threadline_core::storage::STORAGE_SCHEMA;

use super::{RestoreError, SpanRow};
use crate::archive::layout::ArchiveKind;
use crate::seal::rows::query;

/// How often attaching is tried. Each attempt waits for locks half a second at most, for which readers of the trail
/// wait, too.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// The partition of one table.
#[derive(Debug, QueryableByName)]
pub(super) struct PartitionRow {
    #[diesel(sql_type = Text)]
    parent: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    key_column: String,
    #[diesel(sql_type = Text)]
    lower_bound: String,
    #[diesel(sql_type = Text)]
    upper_bound: String,
    /// Whether the trail has a partition or rows there: then missing rows are inserted.
    #[diesel(sql_type = Bool)]
    is_present: bool,
}

impl PartitionRow {
    /// Whether it is one of changes, and the trail has rows there.
    pub(super) fn is_present_change(&self) -> bool {
        self.is_present && self.is_of(ArchiveKind::Changes)
    }

    pub(super) fn is_of(&self, kind: ArchiveKind) -> bool {
        self.parent == parent_name(kind)
    }

    /// The table that its rows are inserted into.
    pub(super) fn target(&self) -> String {
        if self.is_present {
            return relation(&self.parent);
        }
        relation(&self.name)
    }

    fn create_sql(&self) -> String {
        let parent = relation(&self.parent);
        format!(
            "CREATE TABLE {table} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE \
                INCLUDING COMPRESSION, CONSTRAINT in_range CHECK ({key} >= '{lower}' AND {key} < '{upper}'))",
            table = relation(&self.name),
            key = self.key_column,
            lower = self.lower_bound,
            upper = self.upper_bound,
        )
    }

    fn attach_sql(&self) -> String {
        format!(
            "ALTER TABLE {parent} ATTACH PARTITION {table} FOR VALUES FROM ('{lower}') TO ('{upper}')",
            parent = relation(&self.parent),
            table = relation(&self.name),
            lower = self.lower_bound,
            upper = self.upper_bound,
        )
    }
}

/// The table of the trail with the records of a kind.
pub(super) fn parent_name(kind: ArchiveKind) -> String {
    format!("audit_{kind}")
}

/// A table of the trail in a statement.
pub(super) fn relation(name: &str) -> String {
    format!("{STORAGE_SCHEMA}.{}", quote_identifier(name))
}

pub(super) async fn partitions(
    conn: &mut AsyncPgConnection,
    span: &SpanRow,
) -> Result<Vec<PartitionRow>, RestoreError> {
    let found = query(include_str!("../sql/restore_partitions.sql"))
        .bind::<Timestamptz, _>(span.from_instant)
        .bind::<Timestamptz, _>(span.to_instant)
        .bind::<Text, _>(span.width.clone());
    Ok(found.load(conn).await?)
}

/// Creates the tables that are to become partitions, without indexes.
pub(super) async fn create_tables(
    conn: &mut AsyncPgConnection,
    partitions: &[PartitionRow],
) -> Result<(), RestoreError> {
    for partition in partitions.iter().filter(|one| !one.is_present) {
        query(&partition.create_sql()).execute(conn).await?;
        query("SELECT @threadline@.protect_partition($1::regclass, $2::regclass)")
            .bind::<Text, _>(relation(&partition.parent))
            .bind::<Text, _>(relation(&partition.name))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Creates the indexes, then attaches the tables, all of them or none.
pub(super) async fn attach(
    conn: &mut AsyncPgConnection,
    partitions: &[PartitionRow],
) -> Result<(), RestoreError> {
    let created: Vec<_> = partitions.iter().filter(|one| !one.is_present).collect();
    for partition in &created {
        create_indexes(conn, partition).await?;
    }
    query("SELECT set_config('lock_timeout', '500ms', true)")
        .execute(conn)
        .await?;
    for _ in 0..ATTEMPTS {
        match conn
            .transaction(async |conn| attach_all(conn, &created).await)
            .await
        {
            Err(RestoreError::Locked) => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
    Err(RestoreError::Locked)
}

#[derive(Debug, QueryableByName)]
struct StatementRow {
    #[diesel(sql_type = Text)]
    statement: String,
}

async fn create_indexes(
    conn: &mut AsyncPgConnection,
    partition: &PartitionRow,
) -> Result<(), RestoreError> {
    let statements: Vec<StatementRow> = query(include_str!("../sql/restore_indexes.sql"))
        .bind::<Text, _>(partition.parent.clone())
        .bind::<Text, _>(partition.name.clone())
        .load(conn)
        .await?;
    for row in statements {
        query(&row.statement).execute(conn).await?;
    }
    let table = relation(&partition.name);
    query(&format!("ANALYZE {table}")).execute(conn).await?;
    if partition.is_of(ArchiveKind::Changes) {
        let key_changes = include_str!("../sql/restore_key_changes.sql");
        query(&key_changes.replace("@table@", &table))
            .execute(conn)
            .await?;
    }
    Ok(())
}

async fn attach_all(
    conn: &mut AsyncPgConnection,
    partitions: &[&PartitionRow],
) -> Result<(), RestoreError> {
    for partition in partitions {
        let (parent, table) = (relation(&partition.parent), relation(&partition.name));
        let default = relation(&format!("{}_default", partition.parent));
        lock(conn, &format!("{parent} IN SHARE UPDATE EXCLUSIVE")).await?;
        lock(conn, &format!("{default} IN ACCESS EXCLUSIVE")).await?;
        query(&partition.attach_sql()).execute(conn).await?;
        query(&format!("ALTER TABLE {table} DROP CONSTRAINT in_range"))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Diesel has no kind of error for a lock that was not granted in time.
async fn lock(conn: &mut AsyncPgConnection, what: &str) -> Result<(), RestoreError> {
    match query(&format!("LOCK TABLE ONLY {what} MODE"))
        .execute(conn)
        .await
    {
        Ok(_) => Ok(()),
        Err(Error::DatabaseError(DatabaseErrorKind::Unknown, _)) => Err(RestoreError::Locked),
        Err(error) => Err(error.into()),
    }
}
