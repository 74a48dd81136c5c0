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

use crate::change::AuditTransaction;
use crate::circumstances::{
    Circumstances, TRANSACTION_META, actor_is, meta_contains, questions_about,
};
use crate::condition::Condition;
use crate::error::InvalidQuestion;
use crate::page::{Cursor, Order, Page, PageSize, Paging, Start, digest};
use crate::schema::audit_transactions;
use crate::scope::Scope;
use crate::terms::MetaPattern;
use crate::timeline::{CandidateIds, CandidateQuery, IdSource};

/// The Diesel query behind a search for transactions, open to the host's own filters.
pub type TransactionsQuery<'a> = dsl::IntoBoxed<
    'a,
    dsl::Select<audit_transactions::table, dsl::AsSelect<AuditTransaction, Pg>>,
    Pg,
>;

/// A search for transactions: a question, built from types, answered a page at a time.
///
/// Transactions are in the order in which they began, which is what their ids say. An actor's are
/// those in which they made a change.
///
/// ```
/// use threadline_diesel::transactions::Transactions;
///
/// let question = Transactions::new()
///     .job_id("nightly-1".parse()?)
///     .from("2026-01-12T00:00:00Z".parse()?);
/// # let _ = question;
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
    circumstances: Circumstances,
}

/// Everything an actor did, a transaction an entry.
///
/// ```
/// use threadline_diesel::transactions::actor_history;
///
/// let question = actor_history("user:42".parse()?);
/// # let _ = question;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn actor_history(actor: ActorRef) -> Transactions {
    Transactions::new().actor(actor)
}

impl Transactions {
    /// Every transaction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    questions_about!("transactions", "begun");

    /// Only transactions with these facts in `meta`.
    #[must_use]
    pub fn meta(mut self, facts: MetaPattern) -> Self {
        self.filters.circumstances.meta = Some(facts);
        self
    }

    /// The query of one page, one row longer than the page, in the order of reading: with
    /// [`before`](Self::before) that is against the list's. [`page`](Self::page) turns it round.
    ///
    /// # Errors
    /// [`InvalidQuestion`] when the cursor belongs to another question, the window is empty, or the
    /// scope cannot be applied.
    pub fn query(&self) -> Result<TransactionsQuery<'static>, InvalidQuestion> {
        self.query_by(None)
    }

    /// What finds the transactions of an actor, if one is asked for.
    pub(crate) fn candidate_query(&self) -> Option<CandidateQuery> {
        let circumstances = &self.filters.circumstances;
        let since = circumstances.from;
        let since = since.map(|from| Condition::sql("captured_at >= ").instant(from));
        let changes = changes_by(circumstances.actor.as_ref()?).and(since);
        Some(CandidateQuery::new(&[changes]))
    }

    /// The query of one page; an actor's transactions are among the candidates if these are few, and
    /// are found as the planner thinks best if no candidates were looked up.
    pub(crate) fn query_by(
        &self,
        candidates: Option<&CandidateIds>,
    ) -> Result<TransactionsQuery<'static>, InvalidQuestion> {
        self.filters.circumstances.checked()?;
        let mut query = audit_transactions::table
            .select(AuditTransaction::as_select())
            .into_boxed();
        for condition in self.filters.conditions(candidates) {
            query = query.filter(condition);
        }
        if let Some(scope) = &self.scope {
            query = query.filter(scope.of_transactions()?);
        }
        // Ids sort by time, so they alone mark the place.
        let place = self
            .paging
            .place::<Uuid>(&self.digest(), Order::NewestFirst)?;
        if let Some((comparison, place)) = place {
            let beyond = Condition::sql(format!("audit_transactions.id {comparison} "));
            query = query.filter(beyond.uuid(place.id));
        }
        let query = if self.paging.reads_descending(Order::NewestFirst) {
            query.order(audit_transactions::id.desc())
        } else {
            query.order(audit_transactions::id.asc())
        };
        Ok(query.limit(self.paging.size.limit()))
    }

    fn digest(&self) -> String {
        let scope = self.scope.as_ref();
        digest("transactions", &self.filters, scope, Order::NewestFirst)
    }

    /// The page in what the query gave.
    #[must_use]
    pub fn page(&self, rows: Vec<AuditTransaction>) -> Page<AuditTransaction> {
        let question = self.digest();
        self.paging.page(rows, |transaction| {
            Cursor::at(&question, transaction.occurred_at, &transaction.id)
        })
    }

    pub(crate) fn paging(&self) -> &Paging {
        &self.paging
    }

    pub(crate) fn with_paging(&self, paging: Paging) -> Self {
        Self {
            paging,
            ..self.clone()
        }
    }
}

impl Filters {
    fn conditions(&self, candidates: Option<&CandidateIds>) -> Vec<Condition> {
        let mut conditions = self.circumstances.of_rows("audit_transactions");
        if let Some(facts) = &self.circumstances.meta {
            conditions.push(meta_contains(TRANSACTION_META, facts));
        }
        if let Some(actor) = &self.circumstances.actor {
            conditions.push(match candidates.map(CandidateIds::few) {
                Some(Some(ids)) => Condition::sql("audit_transactions.id = ANY (")
                    .uuids(ids.to_vec())
                    .then(")"),
                Some(None) => has_change_by(actor),
                None => Condition::sql("audit_transactions.id IN ").with(&changes_by(actor).all()),
            });
        }
        if let Some(from) = self.circumstances.from {
            conditions.push(id_bound(">=", from));
        }
        if let Some(to) = self.circumstances.to {
            conditions.push(id_bound("<", to + TimeDelta::microseconds(1)));
        }
        conditions
    }
}

/// The changes of an actor, which name their transactions.
fn changes_by(actor: &ActorRef) -> IdSource {
    IdSource::changes("actor", actor.to_string())
}

/// An actor made a change in the transaction, looked up for each transaction: for an actor of many.
fn has_change_by(actor: &ActorRef) -> Condition {
    Condition::sql(format!(
        "(SELECT true FROM {STORAGE_SCHEMA}.audit_changes \
         WHERE audit_changes.transaction_id = audit_transactions.id \
         AND audit_changes.captured_at >= audit_transactions.occurred_at - interval '1 day' AND "
    ))
    .embed(&actor_is("audit_changes.actor", actor))
    .then(" LIMIT 1)")
    .on_the_way()
}

fn id_bound(comparison: &str, instant: DateTime<Utc>) -> Condition {
    Condition::sql(format!(
        "audit_transactions.id {comparison} {STORAGE_SCHEMA}.transaction_id_from("
    ))
    .instant(instant)
    .then(")")
}
