//! Everything about one database transaction.

use serde::Serialize;
use threadline_core::transaction::AuditTransactionId;

use crate::actions::Actions;
use crate::change::{AuditAction, AuditChange, AuditTransaction, TimelineEntry};
use crate::error::InvalidQuestion;
use crate::page::{Cursor, MAX_PAGE_SIZE, Order, Page, PageSize};
use crate::scope::Scope;
use crate::timeline::Timeline;
use crate::transactions::TransactionsQuery;

/// The most changes an incident bundle shows at a time, and unless it is told otherwise.
pub const MAX_INCIDENT_CHANGES: i64 = MAX_PAGE_SIZE as i64;

/// The most actions an incident bundle shows; [`Actions::transaction`] has the rest.
pub const MAX_INCIDENT_ACTIONS: u32 = 1_000;

/// One transaction, asked for.
///
/// ```
/// use threadline_diesel::incident::Incident;
/// use threadline_diesel::page::PageSize;
///
/// let id = "000303c2-476f-25e9-0000-0000000002f8".parse()?;
/// let question = Incident::of(id).page_size(PageSize::new(100)?);
/// # let _ = question;
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
        Self::of(id)
    }
}

impl Incident {
    /// The transaction of an id.
    #[must_use]
    pub fn of(id: AuditTransactionId) -> Self {
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

    /// Only what a caller may see.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.changes = self.changes.scope(scope);
        self.scope = Some(scope.clone());
        self
    }

    /// How many changes a page has; 10 000 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.changes = self.changes.page_size(size);
        self
    }

    /// The changes after a cursor of the same transaction.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.changes = self.changes.after(cursor);
        self
    }

    /// The changes before a cursor of the same transaction.
    #[must_use]
    pub fn before(mut self, cursor: Cursor) -> Self {
        self.changes = self.changes.before(cursor);
        self
    }

    /// The transaction's changes as a timeline, the first captured first.
    #[must_use]
    pub fn changes(&self) -> &Timeline {
        &self.changes
    }

    /// The transaction's actions, as far as a bundle has them.
    pub(crate) fn actions(&self) -> Actions {
        let size = PageSize::new(MAX_INCIDENT_ACTIONS).unwrap_or_default();
        let actions = Actions::new()
            .transaction(self.id)
            .page_size(size)
            .beside_changes();
        match &self.scope {
            Some(scope) => actions.scope(scope),
            None => actions,
        }
    }

    /// The transaction itself.
    pub(crate) fn transaction(&self) -> Result<TransactionsQuery<'static>, InvalidQuestion> {
        use diesel::prelude::*;

        use crate::schema::audit_transactions;
        let mut query = audit_transactions::table
            .select(AuditTransaction::as_select())
            .filter(audit_transactions::id.eq(self.id.as_uuid()))
            .into_boxed();
        if let Some(scope) = &self.scope {
            query = query.filter(scope.of_transactions()?);
        }
        Ok(query)
    }
}

/// One transaction and a page of its changes, each with its actor and its action.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TransactionChanges {
    /// Who, when, in what context.
    pub transaction: AuditTransaction,
    /// What happened, the first captured first.
    pub changes: Page<TimelineEntry>,
}

/// One transaction with its actions and its changes, in the order they were captured.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IncidentBundle {
    /// Who, when, in what context.
    pub transaction: AuditTransaction,
    /// What the application says it did, in order.
    pub actions: Vec<AuditAction>,
    /// Whether there were more actions than [`MAX_INCIDENT_ACTIONS`].
    pub actions_truncated: bool,
    /// What happened, in order: a page of it.
    pub changes: Vec<AuditChange>,
    /// Whether there are more changes after these.
    pub truncated: bool,
    /// Where they begin.
    pub next: Option<Cursor>,
    /// Where the changes before these end.
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
