//! Which way changes are found that are told by something about their transaction or action.
//!
//! There is no index on changes for it, so there are two ways: to look up the transactions, and
//! their changes; or to read changes in order and check each, until the page is full. The first is
//! right for the rare, the second for the frequent, and each is hopeless for the other. So the
//! library counts the transactions first, no further than the point where it does not matter.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt};

use crate::condition::Condition;

/// More transactions than this are not looked up one by one.
const FEW: i64 = 2_000;

/// How to find changes by their transactions.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// As the planner thinks best: where nobody can ask first.
    Planned,
    /// As was counted, for each reach in its order.
    Counted(Vec<i64>),
}

impl Route {
    /// The condition that finds rows by the transactions that a query gives, the reach at a place
    /// among the question's; none where rows are better read in order.
    pub(crate) fn to(&self, column: &str, place: usize, reach: &Condition) -> Option<Condition> {
        let transactions = Condition::sql(column);
        match self {
            Self::Planned => Some(transactions.then(" IN ").with(reach)),
            Self::Counted(counts) if counts.get(place).is_some_and(|count| *count > FEW) => None,
            // As an array it is looked up once, and can lead to nothing but the index.
            Self::Counted(_) => Some(transactions.then(" = ANY (ARRAY").with(reach).then(")")),
        }
    }
}

/// Always true, and to the planner rare. It thinks that each partition of the trail has its share of
/// the transactions looked up, and with that many changes it would rather read the transactions and
/// actions of all months than look up those of a few.
pub(crate) const FEW_CHANGES: &str = "audit_changes.id + 0 = audit_changes.id";

/// Counts the transactions of each reach, up to where it does not matter any more.
#[derive(Debug, Clone)]
pub(crate) struct Reached(pub(crate) Vec<Condition>);

impl Query for Reached {
    type SqlType = Array<BigInt>;
}

impl QueryId for Reached {
    type QueryId = ();
    // The same type stands for any query.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for Reached {}

impl QueryFragment<Pg> for Reached {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("SELECT ARRAY[");
        for (place, reach) in self.0.iter().enumerate() {
            if place > 0 {
                out.push_sql(", ");
            }
            out.push_sql("(SELECT count(*) FROM (");
            reach.walk_ast(out.reborrow())?;
            out.push_sql(" LIMIT ");
            out.push_sql(&(FEW + 1).to_string());
            out.push_sql(") AS reached)");
        }
        out.push_sql("]");
        Ok(())
    }
}
