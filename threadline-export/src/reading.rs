//! How changes are read: in order, from the first, without sorting the trail.
//!
//! The trail is indexed in the order of an export, so the first change can leave at once and no more
//! than a portion is ever held. The planner, asked for everything in order, would rather read all of
//! it, join it and sort it; and where it cannot know how many changes an actor or a correlation has,
//! it goes badly wrong in either direction. So the way is chosen here, and the planner is bound to it
//! by settings that end with the transaction.

use diesel::dsl::{count_star, sql};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Bool, Integer, Nullable};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::Stream;
use threadline_diesel::change::TimelineEntry;
use threadline_diesel::schema::audit_changes;
use threadline_diesel::timeline::{ChangesQuery, Timeline};

use crate::format::Order;

/// How many changes the server sends at once. Whoever stops early has so many still to come, not
/// the rest of the trail.
pub(crate) const PORTION_ROWS: u64 = 2_000;

const FETCH: &str = "FETCH 2000 FROM threadline_export";

/// Up to so many changes are found by their index and sorted, which is a matter of milliseconds.
const FEW: usize = 20_000;

const ASK_WHETHER_FEW: &str = "MOVE 20001 FROM threadline_probe";

/// Filters that the order of the trail, or of one of its tables, answers by itself.
const IN_ORDER: [&str; 4] = ["table", "op", "from", "to"];

/// A filter that finds the changes of one row, of which there are never so many that order
/// matters.
const OF_A_ROW: &str = "row";

/// Every join is a look-up by index: the trail's indexes are made for that, and nothing the planner
/// may believe about numbers makes it read a whole table for each change.
const LOOK_UPS_ONLY: &str = "
    SET LOCAL jit = off;
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off;";

/// Takes that back, for what has to look at the whole trail.
const ANY_PLAN: &str = "
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_hashjoin = on;
    SET LOCAL enable_mergejoin = on;";

/// The way an export finds its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Along the trail's order. Filters are looked at on the way.
    Along,
    /// All that match by the index that finds them, then sorted.
    Gather,
}

/// Opens the cursor over the changes a timeline asks for.
pub(crate) async fn open(
    conn: &mut AsyncPgConnection,
    timeline: &Timeline,
    order: Order,
    limit: Option<i64>,
) -> QueryResult<()> {
    let filters = names_of_filters(timeline);
    let way = choose(conn, timeline, &filters).await?;
    let mut query = ordered(timeline.unpaged_query(), order);
    if way == Way::Along && !filters.is_empty() {
        query = tested_change_by_change(query);
    }
    if let Some(limit) = limit {
        query = query.limit(limit);
    }
    conn.batch_execute(match way {
        Way::Along => "SET LOCAL enable_sort = off; SET LOCAL cursor_tuple_fraction = 0.01",
        Way::Gather => "SET LOCAL enable_sort = on; SET LOCAL cursor_tuple_fraction = 1",
    })
    .await?;
    let declare = Declare {
        cursor: "threadline_export",
        query,
    };
    declare.execute(conn).await?;
    Ok(())
}

/// The next changes, as they arrive: as many as a portion has, or the last.
pub(crate) async fn portion(
    conn: &mut AsyncPgConnection,
) -> QueryResult<impl Stream<Item = QueryResult<TimelineEntry>> + Send + Unpin + '_> {
    Fetch.load_stream::<TimelineEntry>(conn).await
}

fn names_of_filters(timeline: &Timeline) -> Vec<String> {
    let filters = timeline.filters_json();
    let fields = filters.as_object().into_iter().flatten();
    fields.map(|(name, _)| name.clone()).collect()
}

/// What the filters alone say about the way; nothing where numbers decide.
fn way_by_filters(filters: &[String]) -> Option<Way> {
    if filters.iter().any(|name| name == OF_A_ROW) {
        return Some(Way::Gather);
    }
    let in_order = filters.iter().all(|name| IN_ORDER.contains(&name.as_str()));
    in_order.then_some(Way::Along)
}

async fn choose(
    conn: &mut AsyncPgConnection,
    timeline: &Timeline,
    filters: &[String],
) -> QueryResult<Way> {
    conn.batch_execute(LOOK_UPS_ONLY).await?;
    if let Some(way) = way_by_filters(filters) {
        return Ok(way);
    }
    let found = probe(conn, timeline).await?;
    Ok(if found > FEW { Way::Along } else { Way::Gather })
}

/// How many changes match, up to one more than are few. Counted, not estimated: what belongs to an
/// actor or to a correlation can be two changes or half of the trail.
async fn probe(conn: &mut AsyncPgConnection, timeline: &Timeline) -> QueryResult<usize> {
    conn.batch_execute("SET LOCAL cursor_tuple_fraction = 1")
        .await?;
    let probe = Declare {
        cursor: "threadline_probe",
        query: timeline
            .unpaged_query()
            .select(sql::<Integer>("1"))
            // Replaces the order of changes, which this has no use for.
            .order(sql::<Nullable<Integer>>("NULL::integer")),
    };
    probe.execute(conn).await?;
    let found = diesel::sql_query(ASK_WHETHER_FEW).execute(conn).await?;
    conn.batch_execute("CLOSE threadline_probe").await?;
    Ok(found)
}

/// How many changes a timeline asks for, in a transaction that has just begun.
pub(crate) async fn count(conn: &mut AsyncPgConnection, timeline: &Timeline) -> QueryResult<i64> {
    let filters = names_of_filters(timeline);
    let mut query = timeline.unpaged_query();
    match way_by_filters(&filters) {
        Some(Way::Along) => {}
        Some(Way::Gather) => conn.batch_execute(LOOK_UPS_ONLY).await?,
        None => {
            conn.batch_execute(LOOK_UPS_ONLY).await?;
            let found = probe(conn, timeline).await?;
            if found <= FEW {
                return Ok(i64::try_from(found).unwrap_or(i64::MAX));
            }
            conn.batch_execute(ANY_PLAN).await?;
            query = tested_change_by_change(query);
        }
    }
    query
        .select(count_star())
        // Replaces the order of changes, which a count has no use for.
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

/// The same changes, for a planner that must not turn "is it one of these transactions?" into a join:
/// under an OR the set is hashed once, and each change is looked up in it.
fn tested_change_by_change(query: ChangesQuery<'static>) -> ChangesQuery<'static> {
    query.or_filter(sql::<Bool>("FALSE"))
}

/// `DECLARE` of a cursor over a query.
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
    // The same type stands for any query.
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// `FETCH` of the next changes.
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
    fn statements_say_the_numbers_they_stand_for() {
        assert_eq!(
            FETCH,
            format!("FETCH {PORTION_ROWS} FROM threadline_export")
        );
        assert_eq!(
            ASK_WHETHER_FEW,
            format!("MOVE {} FROM threadline_probe", FEW + 1)
        );
    }

    #[test]
    fn filters_are_known_by_the_names_they_have() {
        let timeline = Timeline::new()
            .table("orders".parse().unwrap())
            .op(threadline_diesel::change::Op::Update)
            .from(chrono::DateTime::UNIX_EPOCH)
            .to(chrono::DateTime::UNIX_EPOCH);
        let mut names = names_of_filters(&timeline);
        names.sort();
        assert_eq!(names, ["from", "op", "table", "to"]);
        let row = Timeline::new().row(
            "orders".parse().unwrap(),
            &threadline_core::row_key::RowKeyText::from_values(vec!["1".into()]),
        );
        assert_eq!(names_of_filters(&row), [OF_A_ROW]);
    }
}
