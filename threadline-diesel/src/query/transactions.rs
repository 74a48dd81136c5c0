//! Database transactions that changed audited rows, newest first.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl;
use diesel::pg::Pg;
use diesel::prelude::*;
use serde::Serialize;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

use super::error::InvalidQuery;
use super::filter_values::MetaPattern;
use super::filters::{ContextFilter, TRANSACTION_META, actor_is, meta_contains};
use super::page_reader::PagedQuery;
use super::pagination::{Cursor, Order, Page, PageSize, Paging, Start, digest};
use super::scope::Scope;
use super::sql_fragment::SqlFragment;
use super::timeline::{CandidateIds, CandidateQuery, IdSource};
use crate::models::AuditTransaction;
use crate::schema::audit_transactions;

/// The Diesel query of a page of transactions, for the host's own filters.
pub type TransactionsQuery<'a> = dsl::IntoBoxed<
    'a,
    dsl::Select<audit_transactions::table, dsl::AsSelect<AuditTransaction, Pg>>,
    Pg,
>;

/// A query for transactions, read a page at a time by [`transactions`](crate::transactions()).
///
/// Transactions are in the order of their ids, which is the order in which they began. The filter by
/// actor finds the transactions in which the actor made a change.
///
/// ```
/// use threadline_diesel::query::Transactions;
///
/// let query = Transactions::new()
///     .job_id("nightly-1".parse()?)
///     .from("2026-01-12T00:00:00Z".parse()?);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transactions {
    filters: Filters,
    paging: Paging,
    scope: Option<Scope>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Filters {
    context: ContextFilter,
}

/// The transactions in which an actor made a change.
///
/// ```
/// use threadline_diesel::query::actor_history;
///
/// let query = actor_history("user:42".parse()?);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn actor_history(actor: ActorRef) -> Transactions {
    Transactions::new().actor(actor)
}

impl Transactions {
    /// All transactions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only transactions by an actor.
    #[must_use]
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.filters.context.actor = Some(actor);
        self
    }

    /// Only transactions by actors of a type. No index serves this filter: transactions are read in order
    /// until the page is full.
    #[must_use]
    pub fn actor_type(mut self, actor_type: ActorType) -> Self {
        self.filters.context.actor_type = Some(actor_type);
        self
    }

    /// Only transactions on behalf of an actor, by any actor.
    #[must_use]
    pub fn on_behalf_of(mut self, represented: ActorRef) -> Self {
        self.filters.context.on_behalf_of = Some(represented);
        self
    }

    /// Only transactions of a correlation.
    #[must_use]
    pub fn correlation_id(mut self, id: ContextId) -> Self {
        self.filters.context.correlation_id = Some(id);
        self
    }

    /// Only transactions of a request.
    #[must_use]
    pub fn request_id(mut self, id: ContextId) -> Self {
        self.filters.context.request_id = Some(id);
        self
    }

    /// Only transactions of a job.
    #[must_use]
    pub fn job_id(mut self, id: ContextId) -> Self {
        self.filters.context.job_id = Some(id);
        self
    }

    /// Only transactions begun at or after an instant.
    #[must_use]
    pub fn from(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.context.from = Some(instant);
        self
    }

    /// Only transactions begun at or before an instant.
    #[must_use]
    pub fn to(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.context.to = Some(instant);
        self
    }

    /// Only transactions with these fields in `meta`.
    #[must_use]
    pub fn meta(mut self, facts: MetaPattern) -> Self {
        self.filters.context.meta = Some(facts);
        self
    }

    /// Restricts the list to a scope.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    /// The number of entries of a page; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.paging.size = size;
        self
    }

    /// The page after a cursor of the same query.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.paging.start = Start::After(cursor);
        self
    }

    /// The page before a cursor of the same query: the entries that precede the cursor, in the order
    /// of the list.
    #[must_use]
    pub fn before(mut self, cursor: Cursor) -> Self {
        self.paging.start = Start::Before(cursor);
        self
    }

    /// The Diesel query of one page, for the host's own filters. It reads one row more than the page,
    /// with [`before`](Self::before) against the order of the list; [`page`](Self::page) cuts the page
    /// out of the rows.
    ///
    /// # Errors
    /// [`InvalidQuery`] when the cursor belongs to another query, the window is empty, or the scope
    /// cannot be applied.
    pub fn query(&self) -> Result<TransactionsQuery<'static>, InvalidQuery> {
        self.select(&self.paging, None)
    }

    /// The query of the transactions of the actor; none without that filter.
    pub(crate) fn candidate_query(&self) -> Option<CandidateQuery> {
        let context = &self.filters.context;
        let since = context.from;
        let since = since.map(|from| SqlFragment::sql("captured_at >= ").bind_instant(from));
        let changes = changes_by(context.actor.as_ref()?).and(since);
        CandidateQuery::new(&[vec![changes]])
    }

    /// The query of a page. With candidates, the actor's transactions are among them if they are few;
    /// without, the planner chooses.
    fn select(
        &self,
        paging: &Paging,
        candidates: Option<&CandidateIds>,
    ) -> Result<TransactionsQuery<'static>, InvalidQuery> {
        self.filters.context.validate()?;
        let mut query = audit_transactions::table
            .select(AuditTransaction::as_select())
            .into_boxed();
        for condition in self.filters.conditions(candidates) {
            query = query.filter(condition);
        }
        if let Some(scope) = &self.scope {
            query = query.filter(scope.transaction_condition()?);
        }
        // Ids are ordered by time, so the id alone is the position.
        let position = paging.position::<Uuid>(&self.digest(), Order::NewestFirst)?;
        if let Some((comparison, position)) = position {
            let beyond = SqlFragment::sql(format!("audit_transactions.id {comparison} "));
            query = query.filter(beyond.bind_uuid(position.id));
        }
        let query = if paging.reads_descending(Order::NewestFirst) {
            query.order(audit_transactions::id.desc())
        } else {
            query.order(audit_transactions::id.asc())
        };
        Ok(query.limit(paging.size.limit()))
    }

    #[cfg(feature = "async")]
    pub(crate) fn context(&self) -> &ContextFilter {
        &self.filters.context
    }

    #[cfg(feature = "async")]
    pub(crate) fn is_scoped(&self) -> bool {
        self.scope.is_some()
    }

    /// The last entry until an instant, whatever the window of this query.
    #[cfg(feature = "async")]
    pub(crate) fn last_until(&self, to: DateTime<Utc>) -> Self {
        let mut query = self.clone().to(to).page_size(PageSize::ONE);
        query.filters.context.from = None;
        query.paging.start = Start::Beginning;
        query
    }

    /// The first entry since an instant, whatever the window of this query.
    #[cfg(feature = "async")]
    pub(crate) fn first_since(&self, from: DateTime<Utc>) -> Self {
        let mut query = self.clone().from(from).page_size(PageSize::ONE);
        query.filters.context.to = None;
        // The list is newest first: the page before the oldest possible entry is read oldest first.
        let oldest = Cursor::at(&query.digest(), DateTime::UNIX_EPOCH, &Uuid::nil());
        query.before(oldest)
    }

    fn digest(&self) -> String {
        let scope = self.scope.as_ref();
        digest("transactions", &self.filters, scope, Order::NewestFirst)
    }

    /// Cuts the page out of the rows of [`query`](Self::query).
    #[must_use]
    pub fn page(&self, rows: Vec<AuditTransaction>) -> Page<AuditTransaction> {
        let digest = self.digest();
        self.paging.page(rows, |transaction| {
            Cursor::at(&digest, transaction.occurred_at, &transaction.id)
        })
    }

    /// The list with the candidates that [`candidate_query`](Self::candidate_query) found.
    pub(crate) fn among<'a>(&'a self, candidates: &'a CandidateIds) -> TransactionList<'a> {
        TransactionList {
            query: self,
            candidates,
        }
    }
}

/// Transactions with the candidates of their filter by actor.
pub(crate) struct TransactionList<'a> {
    query: &'a Transactions,
    candidates: &'a CandidateIds,
}

impl PagedQuery for TransactionList<'_> {
    type Statement = TransactionsQuery<'static>;
    type Row = AuditTransaction;

    fn paging(&self) -> &Paging {
        &self.query.paging
    }

    fn statement(&self, paging: &Paging) -> Result<TransactionsQuery<'static>, InvalidQuery> {
        self.query.select(paging, Some(self.candidates))
    }

    fn page(&self, rows: Vec<AuditTransaction>) -> Page<AuditTransaction> {
        self.query.page(rows)
    }
}

impl Filters {
    fn conditions(&self, candidates: Option<&CandidateIds>) -> Vec<SqlFragment> {
        let mut conditions = self.context.column_conditions("audit_transactions");
        if let Some(facts) = &self.context.meta {
            conditions.push(meta_contains(TRANSACTION_META, facts));
        }
        if let Some(actor) = &self.context.actor {
            conditions.push(match candidates.map(CandidateIds::few) {
                Some(Some(ids)) => SqlFragment::sql("audit_transactions.id = ANY (")
                    .bind_uuids(ids.to_vec())
                    .push_sql(")"),
                Some(None) => has_change_by(actor),
                None => SqlFragment::sql("audit_transactions.id IN ")
                    .push_group(&changes_by(actor).select_all()),
            });
        }
        if let Some(from) = self.context.from {
            conditions.push(id_bound(">=", from));
        }
        if let Some(to) = self.context.to {
            conditions.push(id_bound("<", to + TimeDelta::microseconds(1)));
        }
        conditions
    }
}

/// The changes of an actor.
fn changes_by(actor: &ActorRef) -> IdSource {
    IdSource::changes("actor", actor.to_string())
}

/// The actor made a change in the transaction, looked up for each transaction: for an actor with many.
fn has_change_by(actor: &ActorRef) -> SqlFragment {
    SqlFragment::sql(format!(
        "(SELECT true FROM {STORAGE_SCHEMA}.audit_changes \
         WHERE audit_changes.transaction_id = audit_transactions.id \
         AND audit_changes.captured_at >= audit_transactions.occurred_at - interval '1 day' AND "
    ))
    .append(&actor_is("audit_changes.actor", actor))
    .push_sql(" LIMIT 1)")
    .into_filter_only()
}

fn id_bound(comparison: &str, instant: DateTime<Utc>) -> SqlFragment {
    SqlFragment::sql(format!(
        "audit_transactions.id {comparison} {STORAGE_SCHEMA}.transaction_id_from("
    ))
    .bind_instant(instant)
    .push_sql(")")
}
