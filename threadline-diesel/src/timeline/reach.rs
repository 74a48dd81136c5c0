//! Which way changes are found that are told by something about their transaction or action.
//!
//! There is no index on changes for it, so there are two ways: to look up the transactions, and
//! their changes; or to read changes in order and check each, until the page is full. The first is
//! right for the rare, the second for the frequent, and each is hopeless for the other. So the
//! library looks the transactions up first, no further than the point where it does not matter.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Integer, Uuid as SqlUuid};
use uuid::Uuid;

use crate::condition::Condition;

/// More transactions than this are not looked up one by one.
const FEW: usize = 1_000;

/// PostgreSQL expects ten values of an array it does not know. With fewer it would think that planning
/// anew for these few is cheaper than the plan it has, and planning takes longest. The same value
/// again costs nothing.
const NOT_FEWER_THAN_EXPECTED: usize = 12;

/// How to find changes by their transactions.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// As the planner thinks best: where nobody can ask first.
    Planned,
    /// The transactions that were found, for each reach in its order.
    Found(Vec<Vec<Uuid>>),
}

impl Route {
    /// What was found, as [`Reached`] gives it.
    pub(crate) fn found(reached: Vec<(i32, Vec<Uuid>)>) -> Self {
        Self::Found(reached.into_iter().map(|(_, found)| found).collect())
    }

    /// The condition that finds rows by the transactions that a query gives, the reach at a place
    /// among the question's; none where rows are better read in order.
    pub(crate) fn to(&self, column: &str, place: usize, reach: &Condition) -> Option<Condition> {
        let transactions = Condition::sql(column);
        match self {
            Self::Planned => Some(transactions.then(" IN ").with(reach)),
            Self::Found(reaches) => {
                let mut found = reaches
                    .get(place)
                    .filter(|found| found.len() <= FEW)?
                    .clone();
                if let Some(last) = found.last().copied() {
                    let padded = found.len().max(NOT_FEWER_THAN_EXPECTED);
                    found.resize(padded, last);
                }
                Some(transactions.then(" = ANY (").uuids(found).then(")"))
            }
        }
    }

    /// Whether some of the reaches found few transactions.
    pub(crate) fn is_short(&self) -> bool {
        self.newest().is_some()
    }

    /// How many transactions there are to look up, where they are few, and the last to start.
    pub(crate) fn newest(&self) -> Option<(usize, Uuid)> {
        let Self::Found(reaches) = self else {
            return None;
        };
        let few = reaches.iter().filter(|found| found.len() <= FEW);
        let fewest = few.min_by_key(|found| found.len())?;
        Some((
            fewest.len(),
            fewest.iter().copied().max().unwrap_or_default(),
        ))
    }
}

/// Always true, and to the planner rare. It thinks that each partition of the trail has its share of
/// the transactions looked up, and with that many changes it would rather read the transactions and
/// actions of all months than look up those of a few.
pub(crate) const FEW_CHANGES: &str = "audit_changes.id + 0 = audit_changes.id";

/// Gives the transactions of each reach, and one too many where there are more than a few.
#[derive(Debug, Clone)]
pub(crate) struct Reached(pub(crate) Vec<Condition>);

impl Query for Reached {
    type SqlType = (Integer, Array<SqlUuid>);
}

impl QueryId for Reached {
    type QueryId = ();
    // The same type stands for any query.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for Reached {}

impl QueryFragment<Pg> for Reached {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (place, reach) in self.0.iter().enumerate() {
            if place > 0 {
                out.push_sql(" UNION ALL ");
            }
            out.push_sql(&format!("SELECT {place}, ARRAY("));
            reach.walk_ast(out.reborrow())?;
            out.push_sql(&format!(" LIMIT {})", FEW + 1));
        }
        out.push_sql(" ORDER BY 1");
        Ok(())
    }
}
