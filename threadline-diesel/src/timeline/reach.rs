//! Which way changes are found that are told by something about their transaction or action.
//!
//! There is no index on changes for it, so there are two ways: to look up the transactions, and
//! their changes; or to read changes in order and check each, until the page is full. The first is
//! right for the rare, the second for the frequent, and each is hopeless for the other. So the
//! library looks the transactions up first, no further than the point where it does not matter.

use std::collections::BTreeSet;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Bool, Integer, Uuid as SqlUuid};
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

use crate::condition::Condition;

/// More transactions than this are not looked up one by one.
const FEW: usize = 1_000;

/// PostgreSQL expects ten values of an array it does not know. With fewer it would think that planning
/// anew for these few is cheaper than the plan it has, and planning takes longest. The same value
/// again costs nothing.
const NOT_FEWER_THAN_EXPECTED: usize = 12;

/// The transactions in which to look, as queries of ids that indexes answer.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// Those whose own row says so.
    pub(crate) transactions: Option<OfTransactions>,
    /// Those of which a change or an action says so.
    pub(crate) others: Option<Condition>,
}

/// A query of transactions.
#[derive(Debug, Clone)]
pub(crate) struct OfTransactions {
    /// What they say.
    pub(crate) condition: Condition,
    /// The same in the order they began, where an index gives it.
    pub(crate) newest_first: Option<NewestFirst>,
}

/// A condition in a form that nothing but the index can follow, and its order.
#[derive(Debug, Clone)]
pub(crate) struct NewestFirst {
    pub(crate) condition: Condition,
    pub(crate) order: String,
}

impl Reach {
    /// All of them, as one query.
    fn query(&self) -> Condition {
        let transactions = self
            .transactions
            .as_ref()
            .map(|transactions| from_transactions().with(&transactions.condition));
        match (transactions, &self.others) {
            (Some(transactions), Some(others)) => transactions.then(" UNION ALL ").embed(others),
            (Some(one), None) => one,
            (None, Some(others)) => others.clone(),
            (None, None) => Condition::sql("SELECT NULL::uuid LIMIT 0"),
        }
    }
}

pub(crate) fn from_transactions() -> Condition {
    Condition::sql(format!(
        "SELECT id FROM {STORAGE_SCHEMA}.audit_transactions WHERE "
    ))
}

/// The transactions that a reach found, no more than one too many of each kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct FoundTransactions {
    /// Those whose own row says so; the newest first, where `is_in_order`.
    transactions: Vec<Uuid>,
    others: Vec<Uuid>,
    is_in_order: bool,
}

impl FoundTransactions {
    fn are_few(&self) -> bool {
        self.transactions.len() + self.others.len() <= FEW
    }

    fn all(&self) -> impl Iterator<Item = Uuid> {
        self.transactions.iter().chain(&self.others).copied()
    }

    /// The newest transactions, as far as they are known without a gap: all, or those that are not older
    /// than the oldest found.
    pub(super) fn newest(&self) -> Option<NewestTransactions> {
        if !self.is_in_order || self.others.len() > FEW {
            return None;
        }
        let is_complete = self.transactions.len() <= FEW;
        let oldest = self.transactions.last().copied().filter(|_| !is_complete);
        let ids = self
            .all()
            .filter(|id| oldest.is_none_or(|oldest| *id >= oldest));
        Some(NewestTransactions {
            ids: ids.collect(),
            oldest,
        })
    }
}

/// Transactions without a gap between them.
#[derive(Debug, Clone)]
pub(super) struct NewestTransactions {
    pub(super) ids: BTreeSet<Uuid>,
    /// There may be older ones than this.
    pub(super) oldest: Option<Uuid>,
}

/// How to find changes by their transactions.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// As the planner thinks best: where nobody can ask first.
    Planned,
    /// The transactions that were found, for each reach in its order.
    Found(Vec<FoundTransactions>),
}

impl Route {
    /// What was found, as [`Reached`] gives it.
    pub(crate) fn found(rows: Vec<FoundRow>) -> Self {
        let of = |(_, is_in_order, transactions, others)| FoundTransactions {
            transactions,
            others,
            is_in_order,
        };
        Self::Found(rows.into_iter().map(of).collect())
    }

    /// Where there is nothing to look up.
    pub(crate) const NONE: Self = Self::Found(Vec::new());

    /// The condition that finds rows by the transactions that a query gives, the reach at a place
    /// among the question's; none where rows are better read in order.
    pub(crate) fn to(&self, column: &str, place: usize, reach: &Reach) -> Option<Condition> {
        match self {
            Self::Planned => {
                let is_in = Condition::sql(column).then(" IN ");
                Some(is_in.with(&reach.query()))
            }
            Self::Found(reaches) => {
                let found = reaches.get(place).filter(|found| found.are_few())?;
                Some(one_of(column, found.all().collect()))
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
        let few = reaches.iter().filter(|found| found.are_few());
        let fewest = few.min_by_key(|found| found.all().count())?;
        Some((fewest.all().count(), fewest.all().max().unwrap_or_default()))
    }

    /// What the one reach found, where there is one.
    pub(super) fn only(&self) -> Option<&FoundTransactions> {
        match self {
            Self::Found(reaches) => match reaches.as_slice() {
                [only] => Some(only),
                _ => None,
            },
            Self::Planned => None,
        }
    }
}

/// A column is one of these ids.
pub(super) fn one_of(column: &str, mut ids: Vec<Uuid>) -> Condition {
    if let Some(last) = ids.last().copied() {
        let padded = ids.len().max(NOT_FEWER_THAN_EXPECTED);
        ids.resize(padded, last);
    }
    Condition::sql(format!("{column} = ANY ("))
        .uuids(ids)
        .then(")")
}

/// Always true, and to the planner rare. It thinks that each partition of the trail has its share of
/// the transactions looked up, and with that many changes it would rather read the transactions and
/// actions of all months than look up those of a few.
pub(crate) const FEW_CHANGES: &str = "audit_changes.id + 0 = audit_changes.id";

/// Gives the transactions of each reach, and one too many where there are more than a few.
#[derive(Debug, Clone)]
pub(crate) struct Reached(pub(crate) Vec<Reach>);

/// What it gives: the reach's place, whether its transactions are in order, they, and the others.
pub(crate) type FoundRow = (i32, bool, Vec<Uuid>, Vec<Uuid>);

impl Query for Reached {
    type SqlType = (Integer, Bool, Array<SqlUuid>, Array<SqlUuid>);
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
            let transactions = reach.transactions.as_ref();
            let is_in_order = transactions.is_some_and(|one| one.newest_first.is_some());
            out.push_sql(&format!("SELECT {place}, {is_in_order}, ARRAY("));
            match &reach.transactions {
                Some(transactions) => transactions.walk_ast(out.reborrow())?,
                None => out.push_sql("SELECT NULL::uuid LIMIT 0"),
            }
            out.push_sql("), ARRAY(");
            match &reach.others {
                Some(others) => {
                    others.walk_ast(out.reborrow())?;
                    out.push_sql(&format!(" LIMIT {}", FEW + 1));
                }
                None => out.push_sql("SELECT NULL::uuid LIMIT 0"),
            }
            out.push_sql(")");
        }
        out.push_sql(" ORDER BY 1");
        Ok(())
    }
}

impl QueryFragment<Pg> for OfTransactions {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT id FROM ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".audit_transactions WHERE ");
        match &self.newest_first {
            Some(newest_first) => {
                newest_first.condition.walk_ast(out.reborrow())?;
                out.push_sql(" ORDER BY ");
                out.push_sql(&newest_first.order);
            }
            None => self.condition.walk_ast(out.reborrow())?,
        }
        out.push_sql(&format!(" LIMIT {}", FEW + 1));
        Ok(())
    }
}
