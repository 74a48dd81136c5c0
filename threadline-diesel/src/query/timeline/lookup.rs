//! The transactions and actions of changes, looked up by id.
//!
//! Planning one statement that joins the partitions of changes, transactions and actions takes longer
//! than running two that look up ids.

use std::collections::{BTreeMap, BTreeSet};

use diesel::dsl;
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Uuid as SqlUuid};
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

use crate::models::{AuditAction, AuditChange, AuditTransaction, TimelineEntry};

/// Transactions and actions by id.
#[derive(Debug, Default)]
pub(crate) struct TransactionCache {
    transactions: BTreeMap<Uuid, AuditTransaction>,
    actions: BTreeMap<Uuid, AuditAction>,
}

type TransactionColumns = dsl::AsSelect<Option<AuditTransaction>, Pg>;
type ActionColumns = dsl::AsSelect<Option<AuditAction>, Pg>;

/// Reads transactions and actions by their ids in one statement: each row is one or the other.
pub(crate) struct Lookup {
    transactions: Vec<Uuid>,
    actions: Vec<Uuid>,
    transaction_columns: TransactionColumns,
    action_columns: ActionColumns,
}

/// A row of [`Lookup`].
pub(crate) type LookupRow = (Option<AuditTransaction>, Option<AuditAction>);

impl TransactionCache {
    /// The statement for the transactions and actions of changes that are not cached; none if all are.
    pub(crate) fn lookup(&self, changes: &[AuditChange]) -> Option<Lookup> {
        let transactions = changes.iter().map(|change| change.transaction_id);
        let transactions = missing(transactions, &self.transactions);
        let actions = changes.iter().filter_map(|change| change.action_id);
        let actions = missing(actions, &self.actions);
        let is_needed = !transactions.is_empty() || !actions.is_empty();
        is_needed.then(|| Lookup {
            transactions,
            actions,
            transaction_columns: Option::<AuditTransaction>::as_select(),
            action_columns: Option::<AuditAction>::as_select(),
        })
    }

    pub(crate) fn add(&mut self, rows: Vec<LookupRow>) {
        for (transaction, action) in rows {
            self.extend(transaction, action);
        }
    }

    /// Adds transactions and actions that another query read.
    pub(crate) fn extend(
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

/// The distinct ids that are not cached.
fn missing<T>(ids: impl Iterator<Item = Uuid>, cached: &BTreeMap<Uuid, T>) -> Vec<Uuid> {
    let ids: BTreeSet<_> = ids.filter(|id| !cached.contains_key(id)).collect();
    ids.into_iter().collect()
}

impl Lookup {
    /// Selects rows by id, one index look-up each: the partition is chosen by the id at run time.
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

impl QueryFragment<Pg> for Lookup {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT transactions.*, actions.* FROM ");
        let (columns, ids) = (&self.transaction_columns, &self.transactions);
        Self::walk_table("audit_transactions", columns, ids, out.reborrow())?;
        out.push_sql(" AS transactions FULL JOIN ");
        let (columns, ids) = (&self.action_columns, &self.actions);
        Self::walk_table("audit_actions", columns, ids, out.reborrow())?;
        // Never true: the result is the two lists one after the other.
        out.push_sql(" AS actions ON false");
        Ok(())
    }
}

impl Query for Lookup {
    type SqlType = (
        <TransactionColumns as Expression>::SqlType,
        <ActionColumns as Expression>::SqlType,
    );
}

impl QueryId for Lookup {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for Lookup {}
