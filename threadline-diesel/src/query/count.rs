//! The number of changes of a timeline, up to a cap.

use diesel::pg::Pg;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;

use super::error::ReadError;
use super::read::find_candidates;
use super::sql_fragment::{FragmentQuery, SqlFragment};
use super::timeline::Timeline;

/// A number of changes, counted up to a cap.
///
/// As JSON: `{"exact": 12}` or `{"at_least": 1000}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeCount {
    /// The number of changes.
    Exact(u64),
    /// The cap; there are more changes.
    AtLeast(u64),
}

impl ChangeCount {
    /// The count of a cap, from the number of rows read: at most one more than the cap.
    pub(crate) fn capped(rows: u64, cap: u32) -> Self {
        let cap = u64::from(cap);
        if rows > cap {
            Self::AtLeast(cap)
        } else {
            Self::Exact(rows)
        }
    }
}

/// Counts the changes of a timeline, all pages of it, up to a cap. It reads at most one change more than
/// the cap, and those that a filter without an index excludes.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::query::ChangeCount;
/// use threadline_diesel::{Timeline, count_changes};
///
/// let query = Timeline::new().actor("user:42".parse()?);
/// match count_changes(conn, &query, 1_000).await? {
///     ChangeCount::Exact(count) => println!("{count} changes"),
///     ChangeCount::AtLeast(count) => println!("more than {count} changes"),
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the query is invalid, or the database reports an error.
pub async fn count_changes<C>(
    conn: &mut C,
    query: &Timeline,
    cap: u32,
) -> Result<ChangeCount, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let candidates = find_candidates(conn, query.candidate_query()).await?;
    let changes = query.newest_changes(&candidates, cap)?.without_sort();
    let count = SqlFragment::sql("SELECT count(*) FROM (")
        .push_query(changes)
        .push_sql(") AS counted");
    let rows: i64 = FragmentQuery::<BigInt>::new(count).get_result(conn).await?;
    Ok(ChangeCount::capped(rows.unsigned_abs(), cap))
}
