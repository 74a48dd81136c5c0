//! Whose changes are, and why: their transactions and actions, looked up by id, and what a question
//! asks of them.
//!
//! A query over the changes, transactions and actions of every month takes longer to plan than three
//! that look up ids take to run. So what [`Filters::of_attribution`] says in SQL, for queries that the
//! host goes on with, is said here once more of rows that were loaded. What only SQL can tell, what
//! `meta` contains and what a scope shows, is asked with the look-up.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use diesel::dsl;
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Bool, Nullable, Uuid as SqlUuid};
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

use super::stretch::Found;
use super::{Attribution, Filters, Timeline};
use crate::change::{AuditAction, AuditChange, AuditTransaction, StoredActor, TimelineEntry};
use crate::circumstances::meta_contains;
use crate::condition::Condition;
use crate::scope::Scope;

/// What says itself which transaction and action it belongs to.
pub(crate) trait Attributable {
    fn transaction_id(&self) -> Uuid;
    fn action_id(&self) -> Option<Uuid>;
    fn actor_ref(&self) -> Option<&StoredActor>;
}

impl Attributable for AuditChange {
    fn transaction_id(&self) -> Uuid {
        self.transaction_id
    }

    fn action_id(&self) -> Option<Uuid> {
        self.action_id
    }

    fn actor_ref(&self) -> Option<&StoredActor> {
        self.actor_ref.as_ref()
    }
}

impl Attributable for Found {
    fn transaction_id(&self) -> Uuid {
        self.transaction_id
    }

    fn action_id(&self) -> Option<Uuid> {
        self.action_id
    }

    fn actor_ref(&self) -> Option<&StoredActor> {
        self.actor_ref.as_ref()
    }
}

/// The transactions and actions of changes, as far as they were looked up.
#[derive(Debug)]
pub(crate) struct Attributions<'q> {
    /// What is asked of them; nothing where all are wanted.
    question: Option<&'q Timeline>,
    transactions: BTreeMap<Uuid, Option<(AuditTransaction, bool)>>,
    actions: BTreeMap<Uuid, Option<(AuditAction, bool)>>,
    gone: BTreeSet<i64>,
}

type TransactionColumns = dsl::AsSelect<Option<AuditTransaction>, Pg>;
type ActionColumns = dsl::AsSelect<Option<AuditAction>, Pg>;

/// Gives transactions and actions by their ids, in one round trip; each with whether its `meta` holds
/// what is asked for.
pub(crate) struct LookUp {
    transactions: Vec<Uuid>,
    actions: Vec<Uuid>,
    transaction_meta: Condition,
    action_meta: Condition,
    seen: Condition,
    transaction_columns: TransactionColumns,
    action_columns: ActionColumns,
}

/// What it gives: a transaction or an action.
pub(crate) type LookedUpRow = (
    Option<AuditTransaction>,
    Option<bool>,
    Option<AuditAction>,
    Option<bool>,
);

impl QueryFragment<Pg> for LookUp {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT transactions.*, actions.* FROM (SELECT ");
        self.transaction_columns.walk_ast(out.reborrow())?;
        out.push_sql(", ");
        self.transaction_meta.walk_ast(out.reborrow())?;
        out.push_sql(" AS has_meta FROM ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".audit_transactions WHERE ");
        walk_ids("audit_transactions.id", &self.transactions, out.reborrow())?;
        out.push_sql(" AND ");
        self.seen.walk_ast(out.reborrow())?;
        out.push_sql(") AS transactions FULL JOIN (SELECT ");
        self.action_columns.walk_ast(out.reborrow())?;
        out.push_sql(", ");
        self.action_meta.walk_ast(out.reborrow())?;
        out.push_sql(" AS has_meta FROM ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".audit_actions WHERE ");
        walk_ids("audit_actions.id", &self.actions, out.reborrow())?;
        // Two lists, not pairs.
        out.push_sql(") AS actions ON false");
        Ok(())
    }
}

fn walk_ids<'b>(column: &str, ids: &'b Vec<Uuid>, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
    if ids.is_empty() {
        // An empty array would have every month planned.
        out.push_sql("false");
        return Ok(());
    }
    out.push_sql(column);
    out.push_sql(" = ANY (");
    out.push_bind_param::<Array<SqlUuid>, _>(ids)?;
    out.push_sql(&format!(") AND {STORAGE_SCHEMA}.looked_up({column})"));
    Ok(())
}

impl Query for LookUp {
    type SqlType = (
        <TransactionColumns as Expression>::SqlType,
        Nullable<Bool>,
        <ActionColumns as Expression>::SqlType,
        Nullable<Bool>,
    );
}

impl QueryId for LookUp {
    type QueryId = ();
    // What is seen and asked of `meta` may be any SQL.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for LookUp {}

impl Timeline {
    /// Nothing looked up yet.
    pub(crate) fn attributions(&self) -> Attributions<'_> {
        Attributions {
            question: Some(self),
            ..Attributions::of_all()
        }
    }
}

impl Attributions<'_> {
    /// For changes of which nothing more is asked.
    pub(crate) fn of_all() -> Self {
        Self {
            question: None,
            transactions: BTreeMap::new(),
            actions: BTreeMap::new(),
            gone: BTreeSet::new(),
        }
    }

    fn is_scoped(&self) -> bool {
        self.question.is_some_and(Timeline::scopes_transactions)
    }

    fn meta_of(&self, table: &str) -> Condition {
        let filters = self.question.map(|question| &question.filters);
        match filters.and_then(|filters| filters.circumstances.meta.as_ref()) {
            Some(facts) => meta_contains(&format!("{table}.meta"), facts).on_the_way(),
            None => Condition::sql("false"),
        }
    }

    /// Of rows, the transactions and actions that were not looked up before; none if there are none.
    pub(crate) fn of(&self, rows: &[impl Attributable]) -> Option<LookUp> {
        let transactions = rows.iter().map(Attributable::transaction_id);
        let transactions = unknown(transactions, &self.transactions);
        let actions = rows.iter().filter_map(Attributable::action_id);
        let actions = unknown(actions, &self.actions);
        if transactions.is_empty() && actions.is_empty() {
            return None;
        }
        let scope = self.question.and_then(|question| question.scope.as_ref());
        let seen = scope.and_then(Scope::of_transactions_alone);
        Some(LookUp {
            transactions,
            actions,
            transaction_meta: self.meta_of("audit_transactions"),
            action_meta: self.meta_of("audit_actions"),
            seen: seen.unwrap_or_else(|| Condition::sql("true")),
            transaction_columns: Option::<AuditTransaction>::as_select(),
            action_columns: Option::<AuditAction>::as_select(),
        })
    }

    /// What was found of rows.
    pub(crate) fn add(&mut self, rows: &[impl Attributable], found: Vec<LookedUpRow>) {
        for row in rows {
            self.transactions.entry(row.transaction_id()).or_default();
            if let Some(action) = row.action_id() {
                self.actions.entry(action).or_default();
            }
        }
        for (transaction, transaction_has, action, action_has) in found {
            if let Some(found) = transaction.zip(transaction_has) {
                self.transactions.insert(found.0.id, Some(found));
            }
            if let Some(found) = action.zip(action_has) {
                self.actions.insert(found.0.id, Some(found));
            }
        }
    }

    /// What was loaded before, by a question that asks nothing of `meta`.
    pub(crate) fn know(&mut self, transactions: &[AuditTransaction], actions: &[AuditAction]) {
        let transactions = transactions.iter().cloned();
        self.transactions
            .extend(transactions.map(|one| (one.id, Some((one, false)))));
        let actions = actions.iter().cloned();
        self.actions
            .extend(actions.map(|one| (one.id, Some((one, false)))));
    }

    /// Changes whose transactions were not found: they may have been removed together.
    pub(crate) fn doubtful(&self, changes: &[AuditChange]) -> Vec<(DateTime<Utc>, i64)> {
        if self.is_scoped() {
            // What is not found is not to be seen.
            return Vec::new();
        }
        changes
            .iter()
            .filter(|change| self.transaction(change.transaction_id).is_none())
            .map(|change| (change.captured_at, change.id))
            .collect()
    }

    /// Of the doubtful, only these are still there.
    pub(crate) fn still_there(&mut self, doubtful: &[(DateTime<Utc>, i64)], there: &[i64]) {
        let there: BTreeSet<_> = there.iter().collect();
        let ids = doubtful.iter().map(|(_, id)| *id);
        self.gone.extend(ids.filter(|id| !there.contains(id)));
    }

    fn transaction(&self, id: Uuid) -> Option<&(AuditTransaction, bool)> {
        self.transactions.get(&id)?.as_ref()
    }

    fn action(&self, id: Option<Uuid>) -> Option<&(AuditAction, bool)> {
        self.actions.get(&id?)?.as_ref()
    }

    /// Whether a row's transaction and action are what is asked for.
    pub(crate) fn are_asked_for(&self, row: &impl Attributable) -> bool {
        let Some(question) = self.question else {
            return true;
        };
        let transaction = self.transaction(row.transaction_id());
        let action = self.action(row.action_id());
        (transaction.is_some() || !question.scopes_transactions())
            && question.filters.hold_for(&Attributed {
                in_force: row.actor_ref(),
                transaction: transaction.map(|(transaction, _)| transaction),
                action: action.map(|(action, _)| action),
                has_meta: transaction.is_some_and(|(_, has)| *has)
                    || action.is_some_and(|(_, has)| *has),
            })
    }

    /// The entries of changes, of those that are asked for.
    pub(crate) fn entries(&self, changes: Vec<AuditChange>) -> impl Iterator<Item = TimelineEntry> {
        changes
            .into_iter()
            .filter(|change| !self.gone.contains(&change.id) && self.are_asked_for(change))
            .map(|change| TimelineEntry {
                transaction: self
                    .transaction(change.transaction_id)
                    .map(|(transaction, _)| transaction.clone()),
                action: self
                    .action(change.action_id)
                    .map(|(action, _)| action.clone()),
                change,
            })
    }
}

/// Each id once of which nothing is known.
fn unknown<T>(ids: impl Iterator<Item = Uuid>, known: &BTreeMap<Uuid, T>) -> Vec<Uuid> {
    let ids: BTreeSet<_> = ids.filter(|id| !known.contains_key(id)).collect();
    ids.into_iter().collect()
}

/// What is known of a change beside itself.
struct Attributed<'a> {
    /// The actor in force, where it was not the transaction's.
    in_force: Option<&'a StoredActor>,
    transaction: Option<&'a AuditTransaction>,
    action: Option<&'a AuditAction>,
    has_meta: bool,
}

impl Attributed<'_> {
    fn actor(&self) -> Option<&threadline_core::actor::ActorRef> {
        let signed = || self.transaction?.actor_ref.as_ref();
        self.in_force.or_else(signed)?.known()
    }

    /// What the action says, or else the transaction.
    fn either<T: ?Sized>(
        &self,
        of_action: impl Fn(&AuditAction) -> Option<&T>,
        of_transaction: impl Fn(&AuditTransaction) -> Option<&T>,
    ) -> Option<&T> {
        let action = self.action.and_then(of_action);
        action.or_else(|| self.transaction.and_then(of_transaction))
    }
}

impl Filters {
    /// Whether a change's transaction and action are asked for: [`of_attribution`](Self::of_attribution)
    /// of what was loaded.
    fn hold_for(&self, seen: &Attributed<'_>) -> bool {
        let who = &self.circumstances;
        self.deed_holds(seen.action)
            && who
                .actor
                .as_ref()
                .is_none_or(|actor| seen.actor() == Some(actor))
            && who.actor_type.is_none_or(|asked| {
                seen.actor()
                    .is_some_and(|actor| actor.actor_type() == asked)
            })
            && who.on_behalf_of.as_ref().is_none_or(|asked| {
                let represented = seen.either(
                    |action| action.on_behalf_of.as_ref(),
                    |transaction| transaction.on_behalf_of.as_ref(),
                );
                represented.and_then(StoredActor::known) == Some(asked)
            })
            && self.ids_hold(seen)
            && (who.meta.is_none() || seen.has_meta)
            && self
                .attribution
                .is_none_or(|asked| seen.actor().is_some() == (asked == Attribution::Attributed))
    }

    fn deed_holds(&self, action: Option<&AuditAction>) -> bool {
        let is = |asked: Option<&str>, of: fn(&AuditAction) -> Option<&str>| {
            asked.is_none_or(|asked| action.and_then(of) == Some(asked))
        };
        let deed = &self.deed;
        is(deed.name.as_deref().map(str::trim), |action| {
            Some(&action.name)
        }) && is(deed.category.as_deref(), |action| {
            action.category.as_deref()
        }) && is(
            deed.status
                .map(threadline_core::action::ActionStatus::as_str),
            |action| Some(&action.status),
        )
    }

    fn ids_hold(&self, seen: &Attributed<'_>) -> bool {
        let who = &self.circumstances;
        let is = |asked: &Option<threadline_core::context::TraceId>, found: Option<&str>| {
            asked
                .as_ref()
                .is_none_or(|asked| found == Some(asked.as_str()))
        };
        is(
            &who.correlation_id,
            seen.either(
                |action| action.correlation_id.as_deref(),
                |transaction| transaction.correlation_id.as_deref(),
            ),
        ) && is(
            &who.request_id,
            seen.either(
                |action| action.request_id.as_deref(),
                |transaction| transaction.request_id.as_deref(),
            ),
        ) && is(
            &who.job_id,
            seen.either(
                |action| action.job_id.as_deref(),
                |transaction| transaction.job_id.as_deref(),
            ),
        )
    }
}
