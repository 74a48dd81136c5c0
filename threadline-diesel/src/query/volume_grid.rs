//! The number of changes over time of each table, actor or operation.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;

use super::count::ChangeCount;
use super::error::ReadError;
use super::read::find_candidates;
use super::sql_fragment::{FragmentQuery, SqlFragment};
use super::timeline::Timeline;
use super::volume::{MAX_COUNTED, Precision, VolumeBucket, bucket_list, edges};
use super::volume_groups::{VolumeColumn, VolumeKey, key_of};

/// The largest number of rows of a [`VolumeGrid`].
pub const MAX_VOLUME_ROWS: u32 = 12;

/// The changes with a value, over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VolumeRow {
    /// The value.
    pub key: VolumeKey,
    /// The number of changes in each span of the grid.
    pub counts: Vec<u64>,
}

/// How the changes of a timeline are distributed over time and the values of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VolumeGrid {
    /// The spans, with all changes in them.
    pub buckets: Vec<VolumeBucket>,
    /// The values with the most changes, at most [`MAX_VOLUME_ROWS`], the most first.
    pub rows: Vec<VolumeRow>,
    /// The number of changes with other values.
    pub others: u64,
    /// The number of all changes. If it is a lower bound, only the newest changes were counted.
    pub total: ChangeCount,
}

/// Counts the changes of a timeline by a column and by equal spans of a window, of which there are 1 to
/// [`MAX_VOLUME_BUCKETS`](super::MAX_VOLUME_BUCKETS): the newest 50,000. The window of the timeline itself is replaced.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::query::VolumeColumn;
/// use threadline_diesel::{Timeline, volume_grid};
///
/// let (from, to) = ("2026-03-01T00:00:00Z".parse()?, "2026-03-31T00:00:00Z".parse()?);
/// let grid = volume_grid(conn, &Timeline::new(), VolumeColumn::Table, from, to, 30).await?;
/// for row in grid.rows {
///     println!("{:?}: {:?}", row.key, row.counts);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the query is invalid, the window is empty, or the database reports an error.
pub async fn volume_grid<C>(
    conn: &mut C,
    query: &Timeline,
    column: VolumeColumn,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    buckets: u32,
) -> Result<VolumeGrid, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let edges = edges(from, to, buckets)?;
    let query = query.clone().from(from).to(to - TimeDelta::microseconds(1));
    let candidates = find_candidates(conn, query.candidate_query()).await?;
    let changes = query.newest_changes(&candidates, MAX_COUNTED)?;
    let columns = column.sql();
    // The values beyond the first ones become one row without a place.
    let sql = SqlFragment::sql(format!(
        "SELECT CASE WHEN place <= {MAX_VOLUME_ROWS} THEN place END, \
         CASE WHEN place <= {MAX_VOLUME_ROWS} THEN schema_name END, \
         CASE WHEN place <= {MAX_VOLUME_ROWS} THEN value END, bucket, sum(number)::bigint \
         FROM (SELECT *, dense_rank() OVER (ORDER BY of_value DESC, schema_name, value) AS place \
         FROM (SELECT schema_name, value, bucket, count(*) AS number, \
         sum(count(*)) OVER (PARTITION BY schema_name, value) AS of_value \
         FROM (SELECT {columns}, width_bucket(counted.captured_at, "
    ))
    .bind_instants(edges[..edges.len() - 1].to_vec())
    .push_sql(") AS bucket FROM (")
    .push_query(changes)
    .push_sql(
        ") AS counted) AS placed_in_time GROUP BY schema_name, value, bucket) AS grouped) AS ranked \
         GROUP BY 1, 2, 3, 4 ORDER BY 1, 4",
    );
    let cells = FragmentQuery::<(
        Nullable<BigInt>,
        Nullable<Text>,
        Nullable<Text>,
        Integer,
        BigInt,
    )>::new(sql);
    Ok(assemble(column, &edges, cells.load(conn).await?))
}

/// The place of a value, none of others; its schema and text; the number of the bucket and of its changes.
type Cell = (Option<i64>, Option<String>, Option<String>, i32, i64);

fn assemble(column: VolumeColumn, edges: &[DateTime<Utc>], cells: Vec<Cell>) -> VolumeGrid {
    let width = edges.len() - 1;
    let mut sums = vec![0; width];
    let mut rows: Vec<VolumeRow> = Vec::new();
    let mut others = 0;
    let mut last_place = None;
    for (place, schema, value, bucket, number) in cells {
        let number = number.unsigned_abs();
        let bucket = usize::try_from(bucket - 1).unwrap_or_default();
        if let Some(sum) = sums.get_mut(bucket) {
            *sum += number;
        }
        if place.is_none() {
            others += number;
            continue;
        }
        if place != last_place {
            last_place = place;
            rows.push(VolumeRow {
                key: key_of(column, schema, value),
                counts: vec![0; width],
            });
        }
        if let Some(count) = rows.last_mut().and_then(|row| row.counts.get_mut(bucket)) {
            *count = number;
        }
    }
    let total = ChangeCount::capped(sums.iter().sum(), MAX_COUNTED);
    // Counting stopped in the oldest bucket that has changes.
    let is_cut = matches!(total, ChangeCount::AtLeast(_));
    let stopped_in = sums.iter().position(|sum| *sum > 0).filter(|_| is_cut);
    let buckets = bucket_list(edges, |place| {
        let precision = if stopped_in.is_some_and(|stopped| place <= stopped) {
            Precision::AtLeast
        } else {
            Precision::Exact
        };
        (sums[place], precision)
    });
    VolumeGrid {
        buckets,
        rows,
        others,
        total,
    }
}
