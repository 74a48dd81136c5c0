//! Everything with one correlation id, across requests, jobs and services.

use serde::Serialize;
use threadline_core::context::ContextId;

use super::actions::Actions;
use super::pagination::{Page, PageSize};
use super::scope::Scope;
use super::timeline::{CandidateIds, Timeline};
use super::transactions::Transactions;
use crate::models::{AuditAction, AuditTransaction, TimelineEntry};

/// A query for the transactions, actions and changes of a correlation, read by
/// [`correlation`](crate::correlation()).
///
/// The answer has the first page of each list. Further pages are read with the query of that list:
///
/// ```
/// # fn next(bundle: threadline_diesel::query::CorrelationBundle) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::Correlation;
///
/// let order = Correlation::new("order-7002".parse()?);
/// if let Some(next) = bundle.changes.next {
///     let more = order.changes().after(next);
/// #   let _ = more;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    id: ContextId,
    page_size: PageSize,
    scope: Option<Scope>,
}

impl Correlation {
    /// The correlation with this id.
    #[must_use]
    pub fn new(id: ContextId) -> Self {
        Self {
            id,
            page_size: PageSize::default(),
            scope: None,
        }
    }

    /// Restricts all lists to a scope, which must define which actions are visible.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    /// The number of entries of a page of each list; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.page_size = size;
        self
    }

    /// The query of its transactions.
    #[must_use]
    pub fn transactions(&self) -> Transactions {
        let query = Transactions::new()
            .correlation_id(self.id.clone())
            .page_size(self.page_size);
        match &self.scope {
            Some(scope) => query.scope(scope),
            None => query,
        }
    }

    /// The query of its actions, including those without changes.
    #[must_use]
    pub fn actions(&self) -> Actions {
        let query = Actions::new()
            .correlation_id(self.id.clone())
            .page_size(self.page_size);
        match &self.scope {
            Some(scope) => query.scope(scope),
            None => query,
        }
    }

    /// The query of its changes.
    #[must_use]
    pub fn changes(&self) -> Timeline {
        let query = Timeline::new()
            .correlation_id(self.id.clone())
            .page_size(self.page_size);
        match &self.scope {
            Some(scope) => query.scope(scope),
            None => query,
        }
    }

    /// The transactions of its changes, if the first pages of transactions and actions are complete.
    pub(crate) fn candidates(
        &self,
        transactions: &Page<AuditTransaction>,
        actions: &Page<AuditAction>,
    ) -> Option<CandidateIds> {
        if self.scope.is_some() || transactions.has_more() || actions.has_more() {
            return None;
        }
        let own = transactions.entries.iter().map(|one| one.id);
        let of_actions = actions.entries.iter().map(|one| one.transaction_id);
        Some(CandidateIds::known(own.chain(of_actions).collect()))
    }
}

/// The first page of each list of a correlation, newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CorrelationBundle {
    /// Its transactions.
    pub transactions: Page<AuditTransaction>,
    /// Its actions.
    pub actions: Page<AuditAction>,
    /// Its changes.
    pub changes: Page<TimelineEntry>,
}

impl CorrelationBundle {
    /// Whether nothing is recorded with this correlation id.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.transactions.entries.is_empty()
            && self.actions.entries.is_empty()
            && self.changes.entries.is_empty()
    }
}
