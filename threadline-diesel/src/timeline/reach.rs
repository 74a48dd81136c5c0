//! Which way changes are found that are told by something about their transaction or action.
//!
//! There is no index on changes for it, so there are two ways: to look up the transactions, and
//! their changes; or to read changes in order and check each, until the page is full. The first is
//! right for the rare, the second for the frequent, and each is hopeless for the other. So the
//! library looks the transactions up first, no further than the point where it does not matter. Of many,
//! the newest are tried before either ([`super::newest`]).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Integer, Uuid as SqlUuid};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::transaction::AuditTransactionId;
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

/// A condition up to its bound for the id, and the order of the index that it is for.
#[derive(Debug, Clone)]
pub(crate) struct NewestFirst {
    up_to_id: Condition,
    order: String,
}

impl NewestFirst {
    /// The first columns of an index, of rows that have a column, are these values, by bounds: nothing
    /// but the index gives the order then. As equality, the planner may expect so many rows that it
    /// reads all in order.
    pub(crate) fn with(present: &str, columns: &[&str], values: &Condition) -> Self {
        let listed = columns.join(", ");
        let up_to_id = Condition::sql(format!("{present} IS NOT NULL AND ({listed}, id) >= ("))
            .embed(values)
            .then(format!(", '{}') AND ({listed}, id) <= (", Uuid::nil()))
            .embed(values)
            .then(", ")
            .unseen();
        let descending = columns.iter().map(|column| format!("{column} DESC, "));
        Self {
            up_to_id,
            order: descending.chain(["id DESC".to_owned()]).collect(),
        }
    }

    /// The index has these rows alone, by their ids.
    pub(crate) fn where_id_is_first(condition: &str) -> Self {
        Self {
            up_to_id: Condition::sql(format!("{condition} AND (id) <= (")),
            order: "id DESC".to_owned(),
        }
    }

    fn walk<'b>(&'b self, until: &'b Uuid, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.up_to_id.walk_bare(out.reborrow())?;
        out.push_sql("(SELECT ");
        out.push_bind_param::<SqlUuid, _>(until)?;
        out.push_sql(")) ORDER BY ");
        out.push_sql(&self.order);
        Ok(())
    }
}

impl Reach {
    /// All of them, as one query.
    fn query(&self) -> Condition {
        let transactions = self.transactions.as_ref().map(|transactions| {
            Condition::sql(from_transactions_where()).with(&transactions.condition)
        });
        match (transactions, &self.others) {
            (Some(transactions), Some(others)) => transactions.then(" UNION ALL ").embed(others),
            (Some(one), None) => one,
            (None, Some(others)) => others.clone(),
            (None, None) => Condition::sql("SELECT NULL::uuid LIMIT 0"),
        }
    }
}

/// The transactions that a reach found, no more than one too many of each kind.
#[derive(Debug, Clone)]
pub(crate) struct FoundTransactions {
    /// How many were asked for.
    most: usize,
    /// Those whose own row says so, the newest first.
    transactions: Vec<Uuid>,
    others: Vec<Uuid>,
}

impl FoundTransactions {
    fn are_few(&self) -> bool {
        self.transactions.len() + self.others.len() <= self.most
    }

    fn all(&self) -> impl Iterator<Item = Uuid> {
        self.transactions.iter().chain(&self.others).copied()
    }

    /// The newest transactions, as far as they are known without a gap: all, or those that are not older
    /// than the oldest found.
    pub(super) fn newest(&self) -> Option<NewestTransactions> {
        if self.others.len() > self.most {
            return None;
        }
        let is_complete = self.transactions.len() <= self.most;
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
    /// What [`Reached`] gives.
    pub(crate) fn found(rows: Vec<FoundRow>) -> Self {
        let of = |(_, most, transactions, others): FoundRow| FoundTransactions {
            most: usize::try_from(most).unwrap_or_default(),
            transactions,
            others,
        };
        Self::Found(rows.into_iter().map(of).collect())
    }

    /// Along transactions that are known, where they are few.
    pub(crate) fn along(transactions: BTreeSet<Uuid>) -> Option<Self> {
        (transactions.len() <= FEW).then(|| {
            Self::Found(vec![FoundTransactions {
                most: FEW,
                transactions: Vec::new(),
                others: transactions.into_iter().collect(),
            }])
        })
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

/// Gives the transactions of each reach, and one too many where there are more than are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    reaches: Vec<Reach>,
    most: usize,
    until: Uuid,
}

impl Reached {
    /// As many as are worth looking up one by one.
    pub(crate) fn few(reaches: Vec<Reach>) -> Self {
        Self {
            reaches,
            most: FEW,
            until: Uuid::max(),
        }
    }

    /// Whether they can be had in the order they began.
    pub(crate) fn has_order(&self) -> bool {
        let has_order = |reach: &Reach| {
            let transactions = reach.transactions.as_ref();
            transactions.is_some_and(|one| one.newest_first.is_some())
        };
        self.reaches.len() == 1 && self.reaches.iter().all(has_order)
    }

    /// As many as are tried first.
    pub(crate) fn newest(self) -> Self {
        Self {
            most: super::newest::TRIED_AT_MOST,
            ..self
        }
    }

    /// As many as are tried first of those that began by an instant.
    pub(crate) fn newest_until(self, instant: DateTime<Utc>) -> Self {
        Self {
            until: AuditTransactionId::first_after(instant).as_uuid(),
            ..self.newest()
        }
    }
}

/// What it gives: the reach's place, how many were asked for, the transactions, and the others.
pub(crate) type FoundRow = (i32, i32, Vec<Uuid>, Vec<Uuid>);

impl Query for Reached {
    type SqlType = (Integer, Integer, Array<SqlUuid>, Array<SqlUuid>);
}

impl QueryId for Reached {
    type QueryId = ();
    // The same type stands for any query.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for Reached {}

impl QueryFragment<Pg> for Reached {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        const NONE: &str = "SELECT NULL::uuid LIMIT 0";
        let limit = format!(" LIMIT {}", self.most + 1);
        for (place, reach) in self.reaches.iter().enumerate() {
            if place > 0 {
                out.push_sql(" UNION ALL ");
            }
            let transactions = reach.transactions.as_ref();
            let newest_first = transactions.and_then(|one| one.newest_first.as_ref());
            out.push_sql(&format!("SELECT {place}, {}, ARRAY(", self.most));
            match (newest_first, transactions) {
                (Some(newest_first), _) => {
                    out.push_sql(&from_transactions_where());
                    newest_first.walk(&self.until, out.reborrow())?;
                    out.push_sql(&limit);
                }
                (None, Some(transactions)) => {
                    out.push_sql(&from_transactions_where());
                    transactions.condition.walk_ast(out.reborrow())?;
                    out.push_sql(&limit);
                }
                (None, None) => out.push_sql(NONE),
            }
            out.push_sql("), ARRAY(");
            match &reach.others {
                Some(others) => {
                    others.walk_ast(out.reborrow())?;
                    out.push_sql(&limit);
                }
                None => out.push_sql(NONE),
            }
            out.push_sql(")");
        }
        out.push_sql(" ORDER BY 1");
        Ok(())
    }
}

fn from_transactions_where() -> String {
    format!("SELECT id FROM {STORAGE_SCHEMA}.audit_transactions WHERE ")
}
