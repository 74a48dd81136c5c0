//! The transactions in which to look for changes.
//!
//! Correlation, request, job, represented actor and action are not stored with a change, so no index
//! on changes finds them. The transactions that can match are looked up first, up to a limit: if they
//! are few, their changes are read by transaction id, otherwise changes are read in order and each is
//! checked. The first way is right for rare values, the second for frequent ones.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Uuid as SqlUuid};
use threadline_core::action::ActionStatus;
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

use super::Filters;
use crate::condition::Condition;

/// The most transactions whose changes are read one transaction after the other.
const MAX_CANDIDATES: usize = 1_000;

#[derive(Debug, Clone)]
enum SourceCondition {
    /// An index begins with this column.
    Equals(&'static str, String),
    /// An index has failed actions alone.
    Failed,
}

/// Rows of a table of the trail that an index finds, which name transactions.
#[derive(Debug, Clone)]
pub(crate) struct IdSource {
    /// The column with the transaction's id, and the table.
    from: &'static str,
    condition: SourceCondition,
    /// The columns that follow in the index, in descending order.
    then_by: &'static str,
    /// The first of them with its least and its greatest value.
    range: [&'static str; 3],
    /// A further condition.
    and: Option<Condition>,
}

impl IdSource {
    pub(crate) fn transactions(column: &'static str, value: impl Into<String>) -> Self {
        Self {
            from: "id FROM threadline_storage.audit_transactions",
            condition: SourceCondition::Equals(column, value.into()),
            then_by: "id DESC",
            range: [
                "id",
                "'00000000-0000-0000-0000-000000000000'",
                "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            ],
            and: None,
        }
    }

    pub(crate) fn actions(column: &'static str, value: impl Into<String>) -> Self {
        Self {
            from: "transaction_id FROM threadline_storage.audit_actions",
            ..Self::transactions(column, value)
        }
    }

    pub(crate) fn failed_actions() -> Self {
        Self {
            condition: SourceCondition::Failed,
            ..Self::actions("status", "error")
        }
    }

    pub(crate) fn changes(column: &'static str, value: impl Into<String>) -> Self {
        Self {
            from: "transaction_id FROM threadline_storage.audit_changes",
            then_by: "captured_at DESC, id DESC",
            range: ["captured_at", "'-infinity'", "'infinity'"],
            ..Self::transactions(column, value)
        }
    }

    pub(crate) fn and(self, condition: Option<Condition>) -> Self {
        Self {
            and: condition,
            ..self
        }
    }

    fn select(&self) -> Condition {
        let from = self.from.replace("threadline_storage", STORAGE_SCHEMA);
        Condition::sql(format!("SELECT {from} WHERE "))
    }

    /// All of them.
    pub(crate) fn all(&self) -> Condition {
        match &self.condition {
            SourceCondition::Equals(column, value) => {
                self.select().then(format!("{column} = ")).text(value)
            }
            SourceCondition::Failed => self.select().then("status = 'error'"),
        }
    }

    /// The newest, no more than one too many. A value is given as bounds of rows: the planner expects
    /// so much of them that it follows the index and stops. With equality it expects what is usual for
    /// the column, and would collect all rows of a frequent value first.
    fn newest(&self) -> Condition {
        let (found, order) = match &self.condition {
            SourceCondition::Equals(column, value) => {
                let [second, least, greatest] = self.range;
                let found = self
                    .select()
                    .then(format!("({column}, {second}) >= ("))
                    .text(value)
                    .then(format!(", {least}) AND ({column}, {second}) <= ("))
                    .text(value)
                    .then(format!(", {greatest}) AND {column} IS NOT NULL"));
                (found, format!("{column} DESC, {}", self.then_by))
            }
            SourceCondition::Failed => (self.all(), self.then_by.to_owned()),
        };
        let found = match &self.and {
            Some(condition) => found.then(" AND ").embed(condition),
            None => found,
        };
        let limit = MAX_CANDIDATES + 1;
        let newest = found.then(format!(" ORDER BY {order} LIMIT {limit}"));
        newest.unseen()
    }
}

/// Gives, for each filter that can find transactions, their ids, and one too many of a table if there
/// are more than [`MAX_CANDIDATES`].
#[derive(Debug, Clone)]
pub(crate) struct CandidateQuery(Vec<Condition>);

impl CandidateQuery {
    /// The candidates by one filter, which is about these tables.
    pub(crate) fn new(sources: &[IdSource]) -> Self {
        Self(vec![newest_of(sources)])
    }
}

fn newest_of(sources: &[IdSource]) -> Condition {
    let mut all = Condition::default();
    for (place, source) in sources.iter().enumerate() {
        let union = if place > 0 { " UNION ALL " } else { "" };
        all = all.then(union).with(&source.newest());
    }
    all
}

/// The ids that one filter finds.
pub(crate) type CandidateRow = Vec<Uuid>;

impl QueryFragment<Pg> for CandidateQuery {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (place, ids) in self.0.iter().enumerate() {
            out.push_sql(if place > 0 { " UNION ALL " } else { "" });
            out.push_sql("SELECT ARRAY(");
            ids.walk_bare(out.reborrow())?;
            out.push_sql(")");
        }
        Ok(())
    }
}

impl Query for CandidateQuery {
    type SqlType = Array<SqlUuid>;
}

impl QueryId for CandidateQuery {
    type QueryId = ();
    // The same type stands for any query.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for CandidateQuery {}

/// The transactions in which to look, if they are few.
#[derive(Debug, Clone, Default)]
pub(crate) struct CandidateIds(Option<Vec<Uuid>>);

impl CandidateIds {
    /// The fewest that a filter found.
    pub(crate) fn from_rows(rows: Vec<CandidateRow>) -> Self {
        let fewest = rows.into_iter().min_by_key(Vec::len);
        Self(fewest.filter(|ids| ids.len() <= MAX_CANDIDATES).map(unique))
    }

    /// Transactions that are known.
    pub(crate) fn known(ids: Vec<Uuid>) -> Self {
        Self::from_rows(vec![ids])
    }

    /// The ids, if they are few.
    pub(crate) fn few(&self) -> Option<&[Uuid]> {
        self.0.as_deref()
    }
}

fn unique(mut ids: Vec<Uuid>) -> Vec<Uuid> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

impl Filters {
    /// What finds candidates; none if row, transaction or columns of changes find them.
    pub(super) fn candidate_query(&self) -> Option<CandidateQuery> {
        let by_filter = self.id_sources();
        let queries: Vec<_> = by_filter.iter().map(|one| newest_of(one)).collect();
        (!queries.is_empty()).then_some(CandidateQuery(queries))
    }

    /// For each filter that indexes of transactions and actions answer, where the ids are.
    pub(super) fn id_sources(&self) -> Vec<Vec<IdSource>> {
        if self.row.is_some() || self.transaction.is_some() {
            return Vec::new();
        }
        let represented = self.circumstances.on_behalf_of.as_ref();
        let represented = represented.map(|actor| ("on_behalf_of", actor.to_string()));
        let ids = self.circumstances.ids();
        let of_both = ids.map(|(column, id)| (column, id.as_str().to_owned()));
        let of_both = of_both.chain(represented).map(|(column, value)| {
            vec![
                IdSource::transactions(column, value.clone()),
                IdSource::actions(column, value),
            ]
        });
        let name = self.deed.name.as_deref().map(str::trim);
        let name = name.map(|name| vec![IdSource::actions("name", name)]);
        let is_failed = self.deed.status == Some(ActionStatus::Error);
        let failed = is_failed.then(|| vec![IdSource::failed_actions()]);
        of_both.chain(name).chain(failed).collect()
    }
}
