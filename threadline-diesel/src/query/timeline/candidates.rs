//! Candidate transactions: those whose changes can match a filter on transactions or actions.
//!
//! Correlation, request, job, represented actor and action are not stored with a change, so no index
//! on changes serves them. The transactions that can match are looked up first, up to a limit. If they
//! are few, their changes are read by transaction id; otherwise changes are read in order and each is
//! checked. The first is fast for rare values, the second for frequent ones.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Uuid as SqlUuid};
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

use crate::query::sql_fragment::SqlFragment;

/// The largest number of candidates whose changes are read by transaction id.
const MAX_CANDIDATES: usize = 1_000;

#[derive(Debug, Clone)]
enum SourceCondition {
    /// The column, the first of an index, has this value.
    Equals(&'static str, String),
    /// The action failed. A partial index has only these.
    Failed,
}

/// Rows of a table of the trail with a transaction id, found by an index.
#[derive(Debug, Clone)]
pub(crate) struct IdSource {
    /// The column with the transaction id, and the table.
    from: &'static str,
    condition: SourceCondition,
    /// The further columns of the index, descending.
    then_by: &'static str,
    /// The first of these columns, its least and its greatest value.
    range: [&'static str; 3],
    /// A further condition.
    and: Option<SqlFragment>,
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

    pub(crate) fn and(self, condition: Option<SqlFragment>) -> Self {
        Self {
            and: condition,
            ..self
        }
    }

    fn select(&self) -> SqlFragment {
        let from = self.from.replace("threadline_storage", STORAGE_SCHEMA);
        SqlFragment::sql(format!("SELECT {from} WHERE "))
    }

    /// The query of all ids.
    pub(crate) fn select_all(&self) -> SqlFragment {
        match &self.condition {
            SourceCondition::Equals(column, value) => self
                .select()
                .push_sql(format!("{column} = "))
                .bind_text(value),
            SourceCondition::Failed => self.select().push_sql("status = 'error'"),
        }
    }

    /// The query of the newest ids, at most [`MAX_CANDIDATES`] and one.
    ///
    /// A value is compared as row bounds, for which the planner expects many rows: it follows the index
    /// and stops. For an equality it expects the column's average, and would collect all rows of a
    /// frequent value first.
    fn select_recent(&self) -> SqlFragment {
        let (found, order) = match &self.condition {
            SourceCondition::Equals(column, value) => {
                let [second, least, greatest] = self.range;
                let found = self
                    .select()
                    .push_sql(format!("({column}, {second}) >= ("))
                    .bind_text(value)
                    .push_sql(format!(", {least}) AND ({column}, {second}) <= ("))
                    .bind_text(value)
                    .push_sql(format!(", {greatest}) AND {column} IS NOT NULL"));
                (found, format!("{column} DESC, {}", self.then_by))
            }
            SourceCondition::Failed => (self.select_all(), self.then_by.to_owned()),
        };
        let found = match &self.and {
            Some(condition) => found.push_sql(" AND ").append(condition),
            None => found,
        };
        let limit = MAX_CANDIDATES + 1;
        let recent = found.push_sql(format!(" ORDER BY {order} LIMIT {limit}"));
        recent.hide_from_planner()
    }
}

/// One row per filter: the ids of the transactions that it finds, at most [`MAX_CANDIDATES`] and one
/// from each table.
#[derive(Debug, Clone)]
pub(crate) struct CandidateQuery(Vec<SqlFragment>);

impl CandidateQuery {
    /// The query for these filters, each with the tables that have its column; none without filters.
    pub(crate) fn new(filters: &[Vec<IdSource>]) -> Option<Self> {
        let queries: Vec<_> = filters
            .iter()
            .map(|sources| recent_transactions(sources))
            .collect();
        (!queries.is_empty()).then_some(Self(queries))
    }
}

fn recent_transactions(sources: &[IdSource]) -> SqlFragment {
    let mut all = SqlFragment::default();
    for (place, source) in sources.iter().enumerate() {
        let union = if place > 0 { " UNION ALL " } else { "" };
        all = all.push_sql(union).push_group(&source.select_recent());
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
    // Values of this type have different SQL, so there is no static query id.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for CandidateQuery {}

/// The candidate transactions, if they are few.
#[derive(Debug, Clone, Default)]
pub(crate) struct CandidateIds(Option<Vec<Uuid>>);

impl CandidateIds {
    /// The ids of the filter that found the fewest.
    pub(crate) fn from_rows(rows: Vec<CandidateRow>) -> Self {
        let fewest = rows.into_iter().min_by_key(Vec::len);
        Self(fewest.filter(|ids| ids.len() <= MAX_CANDIDATES).map(unique))
    }

    /// Candidates that are known without a query.
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
