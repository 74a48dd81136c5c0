//! The transactions and actions of changes, looked up by id.
//!
//! A statement that joins the changes, transactions and actions of every partition takes longer to
//! plan than two that look up ids take to run.

use std::collections::{BTreeMap, BTreeSet};

use diesel::dsl;
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Uuid as SqlUuid};
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

use crate::change::{AuditAction, AuditChange, AuditTransaction, TimelineEntry};

/// The transactions and actions that were looked up.
#[derive(Debug, Default)]
pub(crate) struct TransactionCache {
    transactions: BTreeMap<Uuid, AuditTransaction>,
    actions: BTreeMap<Uuid, AuditAction>,
}

type TransactionColumns = dsl::AsSelect<Option<AuditTransaction>, Pg>;
type ActionColumns = dsl::AsSelect<Option<AuditAction>, Pg>;

/// Gives transactions and actions by their ids, in one round trip: each row is one or the other.
pub(crate) struct LookUp {
    transactions: Vec<Uuid>,
    actions: Vec<Uuid>,
    transaction_columns: TransactionColumns,
    action_columns: ActionColumns,
}

/// A row of [`LookUp`].
pub(crate) type LookUpRow = (Option<AuditTransaction>, Option<AuditAction>);

impl TransactionCache {
    /// The statement for the transactions and actions of changes that are not known yet; none if all
    /// are.
    pub(crate) fn missing(&self, changes: &[AuditChange]) -> Option<LookUp> {
        let transactions = changes.iter().map(|change| change.transaction_id);
        let transactions = without(transactions, &self.transactions);
        let actions = changes.iter().filter_map(|change| change.action_id);
        let actions = without(actions, &self.actions);
        let is_needed = !transactions.is_empty() || !actions.is_empty();
        is_needed.then(|| LookUp {
            transactions,
            actions,
            transaction_columns: Option::<AuditTransaction>::as_select(),
            action_columns: Option::<AuditAction>::as_select(),
        })
    }

    pub(crate) fn add(&mut self, rows: Vec<LookUpRow>) {
        for (transaction, action) in rows {
            self.add_known(transaction, action);
        }
    }

    /// Adds what another question found.
    pub(crate) fn add_known(
        &mut self,
        transactions: impl IntoIterator<Item = AuditTransaction>,
        actions: impl IntoIterator<Item = AuditAction>,
    ) {
        let transactions = transactions.into_iter().map(|one| (one.id, one));
        self.transactions.extend(transactions);
        let actions = actions.into_iter().map(|one| (one.id, one));
        self.actions.extend(actions);
    }

    /// The changes with their transactions and actions.
    pub(crate) fn entries(&self, changes: Vec<AuditChange>) -> Vec<TimelineEntry> {
        let entry = |change: AuditChange| TimelineEntry {
            transaction: self.transactions.get(&change.transaction_id).cloned(),
            action: change
                .action_id
                .and_then(|id| self.actions.get(&id))
                .cloned(),
            change,
        };
        changes.into_iter().map(entry).collect()
    }
}

/// Each id once that is not known.
fn without<T>(ids: impl Iterator<Item = Uuid>, known: &BTreeMap<Uuid, T>) -> Vec<Uuid> {
    let ids: BTreeSet<_> = ids.filter(|id| !known.contains_key(id)).collect();
    ids.into_iter().collect()
}

impl LookUp {
    /// Rows by id, a look-up each: with the id alone known when the plan is executed, only the
    /// partition that can have it is read.
    fn walk_table<'b>(
        table: &'static str,
        columns: &'b impl QueryFragment<Pg>,
        ids: &'b Vec<Uuid>,
        mut out: AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        out.push_sql("(SELECT found.* FROM unnest((SELECT ");
        out.push_bind_param::<Array<SqlUuid>, _>(ids)?;
        out.push_sql(")) AS wanted (id) CROSS JOIN LATERAL (SELECT ");
        columns.walk_ast(out.reborrow())?;
        out.push_sql(&format!(
            " FROM {STORAGE_SCHEMA}.{table} WHERE {table}.id = wanted.id LIMIT 1) AS found)"
        ));
        Ok(())
    }
}

impl QueryFragment<Pg> for LookUp {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT transactions.*, actions.* FROM ");
        let (columns, ids) = (&self.transaction_columns, &self.transactions);
        Self::walk_table("audit_transactions", columns, ids, out.reborrow())?;
        out.push_sql(" AS transactions FULL JOIN ");
        let (columns, ids) = (&self.action_columns, &self.actions);
        Self::walk_table("audit_actions", columns, ids, out.reborrow())?;
        // Two lists, not pairs.
        out.push_sql(" AS actions ON false");
        Ok(())
    }
}

impl Query for LookUp {
    type SqlType = (
        <TransactionColumns as Expression>::SqlType,
        <ActionColumns as Expression>::SqlType,
    );
}

impl QueryId for LookUp {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for LookUp {}
