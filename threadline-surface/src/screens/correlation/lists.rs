//! The lists of a correlation, and their entries on one clock.

use chrono::{DateTime, Utc};
use threadline_diesel::{
    AuditAction, AuditTransaction, Correlation, Page, TimelineEntry, correlation, timeline,
    transactions,
};

use crate::access::Capability;
use crate::page_error::PageError;
use crate::request::{CONSOLE_CATEGORY, GrantedRequest, PageContext};

/// The newest entries of each list of a correlation.
pub(super) struct Lists {
    pub(super) transactions: Page<AuditTransaction>,
    /// None if the scope does not say which actions are visible.
    pub(super) actions: Option<Page<AuditAction>>,
    pub(super) changes: Page<TimelineEntry>,
}

/// An entry of the merged list.
#[derive(Clone, Copy)]
pub(super) enum Item<'a> {
    Transaction(&'a AuditTransaction),
    Action(&'a AuditAction),
    Change(&'a TimelineEntry),
}

impl Item<'_> {
    pub(super) fn at(self) -> DateTime<Utc> {
        match self {
            Self::Transaction(one) => one.occurred_at,
            Self::Action(one) => one.recorded_at,
            Self::Change(one) => one.change.captured_at,
        }
    }
}

/// Reads the newest entries of each list.
pub(super) async fn read(
    context: &mut PageContext<'_>,
    query: &Correlation,
) -> Result<Lists, PageError> {
    match correlation(context.conn, query)
        .await
        .map_err(PageError::from)
    {
        Ok(bundle) => {
            let mut actions = bundle.actions;
            hide_console(context.request, &mut actions.entries);
            Ok(Lists {
                transactions: bundle.transactions,
                actions: Some(actions),
                changes: bundle.changes,
            })
        }
        Err(PageError::Unscoped) => Ok(Lists {
            transactions: transactions(context.conn, &query.transactions()).await?,
            actions: None,
            changes: timeline(context.conn, &query.changes()).await?,
        }),
        Err(error) => Err(error),
    }
}

/// Leaves out the actions of the console, which need the capability `log`.
pub(super) fn hide_console(request: &GrantedRequest, actions: &mut Vec<AuditAction>) {
    if !request.allows(Capability::Log) {
        actions.retain(|one| one.category.as_deref() != Some(CONSOLE_CATEGORY));
    }
}

impl Lists {
    pub(super) fn actions(&self) -> impl Iterator<Item = &AuditAction> {
        self.actions.iter().flat_map(|page| &page.entries)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.transactions.entries.is_empty()
            && self.actions().next().is_none()
            && self.changes.entries.is_empty()
    }

    /// The entries of all lists, newest first, back to the instant from which every list is complete.
    pub(super) fn merged(&self) -> Vec<Item<'_>> {
        let transactions = self.transactions.entries.iter().map(Item::Transaction);
        let changes = self.changes.entries.iter().map(Item::Change);
        let mut items: Vec<_> = transactions
            .chain(self.actions().map(Item::Action))
            .chain(changes)
            .collect();
        items.sort_by_key(|item| std::cmp::Reverse(item.at()));
        let ends = [
            (
                self.transactions.has_more(),
                last_at(&self.transactions, |one| one.occurred_at),
            ),
            (
                self.changes.has_more(),
                last_at(&self.changes, |one| one.change.captured_at),
            ),
            (
                self.actions.as_ref().is_some_and(Page::has_more),
                self.actions
                    .as_ref()
                    .and_then(|page| last_at(page, |one| one.recorded_at)),
            ),
        ];
        let complete_from = ends
            .into_iter()
            .filter_map(|(has_more, last)| last.filter(|_| has_more))
            .max();
        items.retain(|item| complete_from.is_none_or(|from| item.at() >= from));
        items
    }
}

fn last_at<T>(page: &Page<T>, at: fn(&T) -> DateTime<Utc>) -> Option<DateTime<Utc>> {
    page.entries.last().map(at)
}
