//! The number of changes over time.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Integer, Nullable};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;
use threadline_core::storage::STORAGE_SCHEMA;

use super::error::{InvalidQuery, ReadError};
use super::read::find_candidates;
use super::sql_fragment::{FragmentQuery, SqlFragment};
use super::timeline::Timeline;

/// The largest number of buckets.
pub const MAX_VOLUME_BUCKETS: u32 = 60;

/// How many changes are counted, the newest first.
pub(crate) const MAX_COUNTED: u32 = 50_000;

/// How many changes of a timeline without filters are counted; for more, the volume is estimated.
const MAX_COUNTED_UNFILTERED: u32 = 5_000;

/// The number of changes in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VolumeBucket {
    /// The start of the span, inclusive.
    pub from: DateTime<Utc>,
    /// The end of the span, exclusive.
    pub to: DateTime<Utc>,
    /// The number of changes in the span, as precise as [`precision`](Self::precision) says.
    pub count: u64,
    /// Whether the number is exact, a lower bound or an estimate.
    pub precision: Precision,
}

/// The precision of a number of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Precision {
    /// The number of changes.
    Exact,
    /// A lower bound: counting stopped in or after this span.
    AtLeast,
    /// The number of ids that were taken: of records, which are changes, actions and others, and of those
    /// that were rolled back or removed since.
    Estimated,
}

/// Reads how the changes of a timeline spread over a window, in equal spans, of which there are 1 to
/// [`MAX_VOLUME_BUCKETS`]. The window of the timeline itself is replaced.
///
/// Changes are counted, the newest 50,000; older spans then have [`Precision::AtLeast`]. For a timeline
/// without filters and without scope, and more than 5,000 changes, the volume is
/// [estimated](Precision::Estimated) from the ids at the edges of the spans, one index look-up each.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Timeline, volume};
///
/// let (from, to) = ("2026-03-01T00:00:00Z".parse()?, "2026-03-31T00:00:00Z".parse()?);
/// for day in volume(conn, &Timeline::new(), from, to, 30).await? {
///     println!("{}: {} ({:?})", day.from, day.count, day.precision);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the query is invalid, the window is empty, or the database reports an error.
pub async fn volume<C>(
    conn: &mut C,
    query: &Timeline,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    buckets: u32,
) -> Result<Vec<VolumeBucket>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let edges = edges(from, to, buckets)?;
    let is_estimable = query.is_unfiltered();
    let cap = if is_estimable {
        MAX_COUNTED_UNFILTERED
    } else {
        MAX_COUNTED
    };
    let query = query.clone().from(from).to(to - TimeDelta::microseconds(1));
    let counted = count(conn, &query, &edges, cap).await?;
    if counted.is_cut && is_estimable {
        estimate(conn, &edges).await
    } else {
        Ok(counted.buckets)
    }
}

/// The edges of the buckets, one more than buckets.
pub(super) fn edges(
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    buckets: u32,
) -> Result<Vec<DateTime<Utc>>, InvalidQuery> {
    let buckets = i64::from(buckets.clamp(1, MAX_VOLUME_BUCKETS));
    let whole = (to - from).num_microseconds().unwrap_or(i64::MAX);
    if whole < buckets {
        return Err(InvalidQuery::EmptyWindow { from, to });
    }
    // Divided first: a window of centuries times the buckets is out of range.
    let (width, rest) = (whole / buckets, whole % buckets);
    let edge = |n: i64| from + TimeDelta::microseconds(width * n + rest * n / buckets);
    Ok((0..=buckets).map(edge).collect())
}

/// The buckets between edges, with counts and precisions.
pub(super) fn bucket_list(
    edges: &[DateTime<Utc>],
    bucket: impl Fn(usize) -> (u64, Precision),
) -> Vec<VolumeBucket> {
    let spans = edges.windows(2).enumerate();
    spans
        .map(|(place, span)| {
            let (count, precision) = bucket(place);
            VolumeBucket {
                from: span[0],
                to: span[1],
                count,
                precision,
            }
        })
        .collect()
}

/// The newest changes of a window, counted.
struct Counted {
    buckets: Vec<VolumeBucket>,
    /// Whether the window has more changes.
    is_cut: bool,
}

/// Counts the newest changes of a window, up to a cap.
async fn count<C>(
    conn: &mut C,
    query: &Timeline,
    edges: &[DateTime<Utc>],
    cap: u32,
) -> Result<Counted, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let candidates = find_candidates(conn, query.candidate_query()).await?;
    let changes = query.newest_changes(&candidates, cap)?;
    let starts = edges[..edges.len() - 1].to_vec();
    let sql = SqlFragment::sql("SELECT width_bucket(counted.captured_at, ")
        .bind_instants(starts)
        .push_sql("), count(*) FROM (")
        .push_query(changes)
        .push_sql(") AS counted GROUP BY 1 ORDER BY 1");
    let rows: Vec<(i32, i64)> = FragmentQuery::<(Integer, BigInt)>::new(sql)
        .load(conn)
        .await?;
    let total: u64 = rows.iter().map(|(_, count)| count.unsigned_abs()).sum();
    let number = |place: usize| i32::try_from(place + 1).unwrap_or(i32::MAX);
    // Counting stopped in the oldest bucket that has changes.
    let is_cut = total > u64::from(cap);
    let stopped_in = rows
        .as_slice()
        .first()
        .map(|(bucket, _)| *bucket)
        .filter(|_| is_cut);
    let buckets = bucket_list(edges, |place| {
        let found = rows.iter().find(|(bucket, _)| *bucket == number(place));
        let precision = if stopped_in.is_some_and(|stopped| number(place) <= stopped) {
            Precision::AtLeast
        } else {
            Precision::Exact
        };
        let count = found.map_or(0, |(_, count)| count.unsigned_abs());
        (count, precision)
    });
    Ok(Counted { buckets, is_cut })
}

/// Estimates the volume of the whole trail from the ids of the first changes after the edges.
async fn estimate<C>(conn: &mut C, edges: &[DateTime<Utc>]) -> Result<Vec<VolumeBucket>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let next = format!(
        "(SELECT change.id FROM {STORAGE_SCHEMA}.audit_changes AS change \
         WHERE change.captured_at >= edge.instant \
         ORDER BY change.captured_at, change.id LIMIT 1)"
    );
    let last = format!(
        "(SELECT change.id + 1 FROM {STORAGE_SCHEMA}.audit_changes AS change \
         ORDER BY change.captured_at DESC, change.id DESC LIMIT 1)"
    );
    let sql = SqlFragment::sql(format!("SELECT COALESCE({next}, {last}) FROM unnest("))
        .bind_instants(edges.to_vec())
        .push_sql(") WITH ORDINALITY AS edge (instant, place) ORDER BY edge.place");
    let ids: Vec<Option<i64>> = FragmentQuery::<Nullable<BigInt>>::new(sql)
        .load(conn)
        .await?;
    Ok(bucket_list(edges, |place| {
        let ids = (
            ids.get(place).copied().flatten(),
            ids.get(place + 1).copied().flatten(),
        );
        let taken = match ids {
            (Some(first), Some(next)) => next.saturating_sub(first).max(0),
            _ => 0,
        };
        (taken.unsigned_abs(), Precision::Estimated)
    }))
}
