//! One database transaction with its actions and changes.

use diesel::prelude::*;
use serde::Serialize;
use threadline_core::transaction::AuditTransactionId;

use super::actions::Actions;
use super::error::InvalidQuery;
use super::pagination::{Cursor, MAX_PAGE_SIZE, Order, Page, PageSize};
use super::scope::Scope;
use super::timeline::Timeline;
use super::transactions::TransactionsQuery;
use crate::models::{AuditAction, AuditChange, AuditTransaction, TimelineEntry};
use crate::schema::audit_transactions;

/// The largest and the default number of changes of an [`IncidentBundle`].
pub const MAX_INCIDENT_CHANGES: i64 = MAX_PAGE_SIZE as i64;

/// The largest number of actions of an [`IncidentBundle`]; [`Actions::transaction`] reads the rest.
pub const MAX_INCIDENT_ACTIONS: u32 = 1_000;

/// A query for one transaction: its actions and changes, read by [`incident`](crate::incident()), or its
/// changes alone, by [`transaction`](crate::transaction()).
///
/// ```
/// use threadline_diesel::{Incident, PageSize};
///
/// let id = "000303c2-476f-25e9-0000-0000000002f8".parse()?;
/// let query = Incident::new(id).page_size(PageSize::new(100)?);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    id: AuditTransactionId,
    changes: Timeline,
    scope: Option<Scope>,
}

impl From<AuditTransactionId> for Incident {
    fn from(id: AuditTransactionId) -> Self {
        Self::new(id)
    }
}

impl Incident {
    /// The transaction with this id.
    #[must_use]
    pub fn new(id: AuditTransactionId) -> Self {
        let changes = Timeline::new()
            .transaction(id)
            .order(Order::OldestFirst)
            .page_size(PageSize::MAX);
        Self {
            id,
            changes,
            scope: None,
        }
    }

    /// Restricts transaction, actions and changes to a scope.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.changes = self.changes.scope(scope);
        self.scope = Some(scope.clone());
        self
    }

    /// The number of changes of a page; 10 000 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.changes = self.changes.page_size(size);
        self
    }

    /// The page of changes after a cursor of the same query.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.changes = self.changes.after(cursor);
        self
    }

    /// The page of changes before a cursor of the same query.
    #[must_use]
    pub fn before(mut self, cursor: Cursor) -> Self {
        self.changes = self.changes.before(cursor);
        self
    }

    /// The transaction's changes as a timeline, in the order of capture.
    #[must_use]
    pub fn changes(&self) -> &Timeline {
        &self.changes
    }

    /// The query of the actions of a bundle.
    pub(crate) fn actions(&self) -> Actions {
        let size = PageSize::new(MAX_INCIDENT_ACTIONS).unwrap_or_default();
        let actions = Actions::new()
            .transaction(self.id)
            .page_size(size)
            .with_changes();
        match &self.scope {
            Some(scope) => actions.scope(scope),
            None => actions,
        }
    }

    /// The statement that reads the transaction.
    pub(crate) fn select_transaction(&self) -> Result<TransactionsQuery<'static>, InvalidQuery> {
        let mut query = audit_transactions::table
            .select(AuditTransaction::as_select())
            .filter(audit_transactions::id.eq(self.id.as_uuid()))
            .into_boxed();
        if let Some(scope) = &self.scope {
            query = query.filter(scope.transaction_condition()?);
        }
        Ok(query)
    }
}

/// One transaction and a page of its changes, each with its actor and action.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TransactionChanges {
    /// The transaction.
    pub transaction: AuditTransaction,
    /// A page of its changes, in the order of capture.
    pub changes: Page<TimelineEntry>,
}

/// One transaction with its actions and its changes, in the order they were captured.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IncidentBundle {
    /// The transaction.
    pub transaction: AuditTransaction,
    /// Its actions, in the order of their ids.
    pub actions: Vec<AuditAction>,
    /// Whether there were more actions than [`MAX_INCIDENT_ACTIONS`].
    pub actions_truncated: bool,
    /// A page of its changes, in the order of capture.
    pub changes: Vec<AuditChange>,
    /// Whether there are more changes after these.
    pub truncated: bool,
    /// The cursor of the next changes.
    pub next: Option<Cursor>,
    /// The cursor of the previous changes.
    pub previous: Option<Cursor>,
}

impl IncidentBundle {
    pub(crate) fn new(
        transaction: AuditTransaction,
        actions: Page<AuditAction>,
        changes: Page<AuditChange>,
    ) -> Self {
        let actions_truncated = actions.has_more();
        let mut actions = actions.entries;
        actions.reverse();
        Self {
            transaction,
            actions,
            actions_truncated,
            truncated: changes.has_more(),
            changes: changes.entries,
            next: changes.next,
            previous: changes.previous,
        }
    }
}
