//! The server-side cursor over the changes of an export.
//!
//! The trail has indexes in the order of an export, so the first change can be written before the last
//! one is read, and memory is constant. For a query of all changes in order, the planner would often
//! choose to scan, join and sort the whole trail, and it cannot estimate how many changes an actor or a
//! correlation has. So this module chooses the access path and enforces it by planner settings that are
//! local to the transaction.

use diesel::dsl::{count_star, sql};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Bool, Integer, Nullable};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::Stream;
use threadline_diesel::query::ChangesQuery;
use threadline_diesel::schema::audit_changes;
use threadline_diesel::{Timeline, TimelineEntry};

use crate::format::Order;

/// The number of changes per `FETCH`. A cancelled export reads at most this many more.
pub(crate) const FETCH_ROWS: u64 = 2_000;

const FETCH: &str = "FETCH 2000 FROM threadline_export";

/// Up to this many changes are found by index and sorted, which takes milliseconds.
const MAX_SORTED_ROWS: usize = 20_000;

const PROBE_ROWS: &str = "MOVE 20001 FROM threadline_probe";

/// Filters that an index in the order of the trail, or of one table, satisfies.
const ORDERED_FILTERS: [&str; 5] = ["table", "op", "from", "to", "ids"];

/// The filter by row. A row has few enough changes to sort them.
const ROW_FILTER: &str = "row";

/// Restricts the planner to index scans and nested loops, whatever it estimates.
const INDEX_SCANS_ONLY: &str = "
    SET LOCAL jit = off;
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off;";

/// Reverts [`INDEX_SCANS_ONLY`], for queries that read the whole trail.
const ANY_PLAN: &str = "
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_hashjoin = on;
    SET LOCAL enable_mergejoin = on;";

/// How changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AccessPath {
    /// Reads an index in the order of the export and applies the filters to each change.
    Ordered,
    /// Finds all matching changes by the index of a filter, then sorts them.
    Sorted,
}

/// Opens the cursor over the changes that match the filters of a timeline.
pub(crate) async fn open(
    conn: &mut AsyncPgConnection,
    timeline: &Timeline,
    order: Order,
    limit: Option<i64>,
) -> QueryResult<()> {
    let filters = filter_names(timeline);
    let path = choose_path(conn, timeline, &filters).await?;
    let mut query = ordered(timeline.unpaged_query(), order);
    if path == AccessPath::Ordered && !filters.is_empty() {
        query = filter_each_change(query);
    }
    if let Some(limit) = limit {
        query = query.limit(limit);
    }
    conn.batch_execute(match path {
        AccessPath::Ordered => {
            "SET LOCAL enable_sort = off; SET LOCAL cursor_tuple_fraction = 0.01"
        }
        AccessPath::Sorted => "SET LOCAL enable_sort = on; SET LOCAL cursor_tuple_fraction = 1",
    })
    .await?;
    let declare = Declare {
        cursor: "threadline_export",
        query,
    };
    declare.execute(conn).await?;
    Ok(())
}

/// Fetches the next [`FETCH_ROWS`] changes, or fewer at the end.
pub(crate) async fn fetch(
    conn: &mut AsyncPgConnection,
) -> QueryResult<impl Stream<Item = QueryResult<TimelineEntry>> + Send + Unpin + '_> {
    Fetch.load_stream::<TimelineEntry>(conn).await
}

fn filter_names(timeline: &Timeline) -> Vec<String> {
    let filters = timeline.filters_json();
    let fields = filters.as_object().into_iter().flatten();
    fields.map(|(name, _)| name.clone()).collect()
}

/// The access path if it depends on the filters alone; `None` if it depends on the number of changes.
fn path_by_filters(filters: &[String]) -> Option<AccessPath> {
    if filters.iter().any(|name| name == ROW_FILTER) {
        return Some(AccessPath::Sorted);
    }
    let in_order = filters
        .iter()
        .all(|name| ORDERED_FILTERS.contains(&name.as_str()));
    in_order.then_some(AccessPath::Ordered)
}

async fn choose_path(
    conn: &mut AsyncPgConnection,
    timeline: &Timeline,
    filters: &[String],
) -> QueryResult<AccessPath> {
    conn.batch_execute(INDEX_SCANS_ONLY).await?;
    if let Some(path) = path_by_filters(filters) {
        return Ok(path);
    }
    let found = probe(conn, timeline).await?;
    Ok(if found > MAX_SORTED_ROWS {
        AccessPath::Ordered
    } else {
        AccessPath::Sorted
    })
}

/// Counts the matching changes, up to [`MAX_SORTED_ROWS`] and one. Estimates are not good enough: an
/// actor or a correlation can have two changes or half of the trail.
async fn probe(conn: &mut AsyncPgConnection, timeline: &Timeline) -> QueryResult<usize> {
    conn.batch_execute("SET LOCAL cursor_tuple_fraction = 1")
        .await?;
    let probe = Declare {
        cursor: "threadline_probe",
        query: timeline
            .unpaged_query()
            .select(sql::<Integer>("1"))
            // Replaces the order of changes, which is not needed.
            .order(sql::<Nullable<Integer>>("NULL::integer")),
    };
    probe.execute(conn).await?;
    let found = diesel::sql_query(PROBE_ROWS).execute(conn).await?;
    conn.batch_execute("CLOSE threadline_probe").await?;
    Ok(found)
}

/// Counts the changes that match the filters of a timeline.
pub(crate) async fn count(conn: &mut AsyncPgConnection, timeline: &Timeline) -> QueryResult<i64> {
    let filters = filter_names(timeline);
    let mut query = timeline.unpaged_query();
    match path_by_filters(&filters) {
        Some(AccessPath::Ordered) => {}
        Some(AccessPath::Sorted) => conn.batch_execute(INDEX_SCANS_ONLY).await?,
        None => {
            conn.batch_execute(INDEX_SCANS_ONLY).await?;
            let found = probe(conn, timeline).await?;
            if found <= MAX_SORTED_ROWS {
                return Ok(i64::try_from(found).unwrap_or(i64::MAX));
            }
            conn.batch_execute(ANY_PLAN).await?;
            query = filter_each_change(query);
        }
    }
    query
        .select(count_star())
        // Replaces the order of changes, which is not needed.
        .order(count_star())
        .get_result(conn)
        .await
}

fn ordered(query: ChangesQuery<'static>, order: Order) -> ChangesQuery<'static> {
    match order {
        Order::OldestFirst => {
            query.order((audit_changes::captured_at.asc(), audit_changes::id.asc()))
        }
        Order::NewestFirst => {
            query.order((audit_changes::captured_at.desc(), audit_changes::id.desc()))
        }
    }
}

/// Keeps the planner from converting `IN (SELECT ...)` into a join. Under an `OR`, the subquery is
/// hashed once and each change is looked up in it.
fn filter_each_change(query: ChangesQuery<'static>) -> ChangesQuery<'static> {
    query.or_filter(sql::<Bool>("FALSE"))
}

/// `DECLARE` a cursor over a query.
struct Declare<Q> {
    cursor: &'static str,
    query: Q,
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Declare<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("DECLARE ");
        out.push_sql(self.cursor);
        out.push_sql(" NO SCROLL CURSOR FOR ");
        self.query.walk_ast(out)
    }
}

impl<Q> QueryId for Declare<Q> {
    type QueryId = ();
    // The type does not identify the query.
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// `FETCH` the next changes.
#[derive(Debug, Clone, Copy, QueryId)]
struct Fetch;

impl Query for Fetch {
    type SqlType = <ChangesQuery<'static> as Query>::SqlType;
}

impl QueryFragment<Pg> for Fetch {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(FETCH);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_have_the_numbers_of_the_constants() {
        assert_eq!(FETCH, format!("FETCH {FETCH_ROWS} FROM threadline_export"));
        assert_eq!(
            PROBE_ROWS,
            format!("MOVE {} FROM threadline_probe", MAX_SORTED_ROWS + 1)
        );
    }

    #[test]
    fn filter_names_match_those_of_timelines() {
        let timeline = Timeline::new()
            .table("orders".parse().unwrap())
            .op(threadline_diesel::models::Op::Update)
            .ids(1..=9)
            .from(chrono::DateTime::UNIX_EPOCH)
            .to(chrono::DateTime::UNIX_EPOCH);
        let mut names = filter_names(&timeline);
        names.sort();
        assert_eq!(names, ["from", "ids", "op", "table", "to"]);
        let row = Timeline::new().row(
            "orders".parse().unwrap(),
            &threadline_core::row_key::RowKeyText::from_values(vec!["1".into()]),
        );
        assert_eq!(filter_names(&row), [ROW_FILTER]);
    }
}
