//! The number of changes of each table, actor or operation.

use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;
use threadline_core::table::TableName;

use super::count::ChangeCount;
use super::error::ReadError;
use super::read::find_candidates;
use super::sql_fragment::{FragmentQuery, SqlFragment};
use super::timeline::Timeline;
use super::volume::MAX_COUNTED;
use crate::models::{Op, RecordedActor};

/// The largest number of groups of a [`GroupedVolume`].
pub const MAX_VOLUME_GROUPS: u32 = 20;

/// A column of changes, by whose values changes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VolumeColumn {
    /// The table.
    Table,
    /// The actor in force.
    Actor,
    /// The operation.
    Op,
}

impl VolumeColumn {
    /// The schema and the value of a change `counted`.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Table => "counted.table_schema AS schema_name, counted.table_name AS value",
            Self::Actor => "NULL::text AS schema_name, counted.actor AS value",
            Self::Op => "NULL::text AS schema_name, counted.op::text AS value",
        }
    }
}

/// A value of a [`VolumeColumn`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VolumeKey {
    /// A table.
    Table(TableName),
    /// An actor; none of unattributed changes.
    Actor(Option<RecordedActor>),
    /// An operation.
    Op(Op),
}

/// The number of changes with a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VolumeGroup {
    /// The value.
    pub key: VolumeKey,
    /// The number of changes that were counted.
    pub count: u64,
}

/// How the changes of a timeline are distributed over the values of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GroupedVolume {
    /// The largest groups, at most [`MAX_VOLUME_GROUPS`].
    pub groups: Vec<VolumeGroup>,
    /// The number of changes with other values.
    pub others: u64,
    /// The number of all changes. If it is a lower bound, only the newest changes were counted.
    pub total: ChangeCount,
}

/// Counts the changes of a timeline by a column: the newest 50,000.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::query::VolumeColumn;
/// use threadline_diesel::{Timeline, volume_by};
///
/// let query = Timeline::new().from("2026-03-01T00:00:00Z".parse()?);
/// for group in volume_by(conn, &query, VolumeColumn::Table).await?.groups {
///     println!("{:?}: {}", group.key, group.count);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the query is invalid, or the database reports an error.
pub async fn volume_by<C>(
    conn: &mut C,
    query: &Timeline,
    column: VolumeColumn,
) -> Result<GroupedVolume, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let candidates = find_candidates(conn, query.candidate_query()).await?;
    let changes = query.newest_changes(&candidates, MAX_COUNTED)?;
    let columns = column.sql();
    let sql = SqlFragment::sql(format!(
        "SELECT {columns}, count(*), (sum(count(*)) OVER ())::bigint FROM ("
    ))
    .push_query(changes)
    .push_sql(format!(
        ") AS counted GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT {MAX_VOLUME_GROUPS}"
    ));
    let rows: Vec<(Option<String>, Option<String>, i64, i64)> =
        FragmentQuery::<(Nullable<Text>, Nullable<Text>, BigInt, BigInt)>::new(sql)
            .load(conn)
            .await?;
    let total = rows
        .as_slice()
        .first()
        .map_or(0, |(.., total)| total.unsigned_abs());
    let groups: Vec<_> = rows
        .into_iter()
        .map(|(schema, value, count, _)| VolumeGroup {
            key: key_of(column, schema, value),
            count: count.unsigned_abs(),
        })
        .collect();
    let shown: u64 = groups.iter().map(|group| group.count).sum();
    Ok(GroupedVolume {
        groups,
        others: total - shown,
        total: ChangeCount::capped(total, MAX_COUNTED),
    })
}

pub(super) fn key_of(
    column: VolumeColumn,
    schema: Option<String>,
    value: Option<String>,
) -> VolumeKey {
    match column {
        VolumeColumn::Table => VolumeKey::Table(TableName::new(
            schema.unwrap_or_default(),
            value.unwrap_or_default(),
        )),
        VolumeColumn::Actor => VolumeKey::Actor(value.map(RecordedActor::from)),
        VolumeColumn::Op => {
            let op = value.and_then(|value| value.parse().ok());
            VolumeKey::Op(op.unwrap_or(Op::Other))
        }
    }
}
