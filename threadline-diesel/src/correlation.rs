//! What came of one order, one import, one click, across requests, jobs and services.

use serde::Serialize;
use threadline_core::context::ContextId;

use crate::actions::Actions;
use crate::change::{AuditAction, AuditTransaction, TimelineEntry};
use crate::page::{Page, PageSize};
use crate::scope::Scope;
use crate::timeline::{CandidateIds, Timeline};
use crate::transactions::Transactions;

/// Everything of one correlation, asked for.
///
/// The answer is three lists, each its first page. More of one is asked for with its own question:
///
/// ```
/// # fn next(bundle: threadline_diesel::correlation::CorrelationBundle) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::correlation::Correlation;
///
/// let order = Correlation::of("order-7002".parse()?);
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
    /// What has a correlation's id.
    #[must_use]
    pub fn of(id: ContextId) -> Self {
        Self {
            id,
            page_size: PageSize::default(),
            scope: None,
        }
    }

    /// Only what a caller may see. The scope has to say which actions, too.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    /// How many entries each list has; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.page_size = size;
        self
    }

    /// Its transactions.
    #[must_use]
    pub fn transactions(&self) -> Transactions {
        let question = Transactions::new()
            .correlation_id(self.id.clone())
            .page_size(self.page_size);
        match &self.scope {
            Some(scope) => question.scope(scope),
            None => question,
        }
    }

    /// Its actions, also those that changed nothing.
    #[must_use]
    pub fn actions(&self) -> Actions {
        let question = Actions::new()
            .correlation_id(self.id.clone())
            .page_size(self.page_size);
        match &self.scope {
            Some(scope) => question.scope(scope),
            None => question,
        }
    }

    /// Its changes.
    #[must_use]
    pub fn changes(&self) -> Timeline {
        let question = Timeline::new()
            .correlation_id(self.id.clone())
            .page_size(self.page_size);
        match &self.scope {
            Some(scope) => question.scope(scope),
            None => question,
        }
    }

    /// The transactions that its changes are in, where the first pages of transactions and actions say
    /// it all.
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

/// The first page of everything that belongs to a correlation, each list newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CorrelationBundle {
    /// Transactions that changed rows.
    pub transactions: Page<AuditTransaction>,
    /// What the application says it did.
    pub actions: Page<AuditAction>,
    /// What changed.
    pub changes: Page<TimelineEntry>,
}

impl CorrelationBundle {
    /// Whether nothing is known of the correlation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.transactions.entries.is_empty()
            && self.actions.entries.is_empty()
            && self.changes.entries.is_empty()
    }
}
