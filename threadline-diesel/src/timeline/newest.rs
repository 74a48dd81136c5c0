//! The first way to a page of what somebody did, in one request, in one job: by their newest
//! transactions, a few of them.
//!
//! What these changed is the newest that there is, unless a transaction that began before them went on
//! for so long that it changed something since. The trail is asked for those, by a summary of its pages
//! (`late_transactions`); where there are any that count, the page is read the other ways.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Timestamptz, Uuid as SqlUuid};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::transaction::AuditTransactionId;
use uuid::Uuid;

use super::attributions::Attributions;
use super::reach::{FEW_CHANGES, FoundTransactions, NewestTransactions, one_of};
use super::reading::{Reading, looked_up};
use super::stretch::{FindChanges, Stretch};
use super::{Reached, Route, Timeline};
use crate::change::{AuditChange, TimelineEntry};
use crate::condition::Condition;
use crate::error::InvalidQuestion;

/// How many transactions are tried, one after the other.
const TRIED: [usize; 2] = [8, TRIED_AT_MOST];
pub(super) const TRIED_AT_MOST: usize = 64;

/// The newest transactions, while they are tried.
#[derive(Debug, Default)]
pub(super) struct Newest {
    transactions: Option<NewestTransactions>,
    tries: usize,
    /// The oldest of those that are being tried.
    oldest_tried: Option<Uuid>,
}

impl Newest {
    /// Those of a route.
    pub(super) fn of(route: &Route) -> Self {
        let many = route.only().filter(|_| !route.is_short());
        Self {
            transactions: many.and_then(FoundTransactions::newest),
            ..Self::default()
        }
    }
}

/// Gives the transactions that changed something between two instants though they began before one.
#[derive(Debug)]
pub(crate) struct LateTransactions {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    began_before: Uuid,
}

impl Timeline {
    /// Whether a page may be read by the newest transactions that were reached.
    pub(crate) fn is_read_by_newest(&self, reached: &Reached) -> bool {
        self.reads_back_in_time() && self.filters.table.is_none() && reached.has_order()
    }

    /// The last instant of which changes are read, if it is said.
    pub(crate) fn until(&self) -> Result<Option<DateTime<Utc>>, InvalidQuestion> {
        let place = self.paging.place::<i64>(&self.digest(), self.order)?;
        let place = place.map(|(_, place)| place.at);
        let asked = self.filters.circumstances.to;
        Ok(place.into_iter().chain(asked).min())
    }
}

impl Reading<'_> {
    /// The changes of the newest transactions, as long as it is worth a try.
    pub(crate) fn newest(&mut self) -> Result<Option<FindChanges>, InvalidQuestion> {
        let tried = TRIED.get(self.newest.tries).copied();
        let (Some(tried), true) = (tried, self.rows.is_empty()) else {
            return Ok(None);
        };
        let Some(transactions) = &self.newest.transactions else {
            return Ok(None);
        };
        let newest: Vec<_> = transactions.ids.iter().rev().take(tried).copied().collect();
        let oldest = newest.last().copied();
        let floor = oldest.and_then(|id| AuditTransactionId::from(id).started_at());
        let stretch = self.stretch_of(newest, floor)?;
        self.newest.tries += 1;
        self.newest.oldest_tried = oldest;
        Ok(Some(stretch.changes()))
    }

    fn stretch_of(
        &self,
        transactions: Vec<Uuid>,
        floor: Option<DateTime<Utc>>,
    ) -> Result<Stretch, InvalidQuestion> {
        let question = self.question;
        let mut conditions = question.filters.of_changes(&Route::NONE);
        conditions.push(one_of("audit_changes.transaction_id", transactions));
        conditions.push(Condition::sql(FEW_CHANGES));
        conditions.push(looked_up("audit_changes.id"));
        if let Some(floor) = floor {
            let since = Condition::sql("audit_changes.captured_at >= ").instant(floor);
            conditions.push(since.unseen());
        }
        if let Some(scope) = &question.scope {
            conditions.push(scope.of_changes_alone()?);
        }
        if let Some((comparison, place)) = &self.from {
            conditions.push(question.beyond(comparison, place));
        }
        Ok(Stretch {
            segments: None,
            conditions,
            order: "audit_changes.captured_at DESC, audit_changes.id DESC",
            limit: 2 * question.paging.size.limit(),
        })
    }

    /// Whether so many changes may be a page: one that is the last is read the other ways.
    pub(crate) fn may_be_a_page(&self, changes: &[AuditChange]) -> bool {
        changes.len() >= self.wanted
    }

    /// Reads what the newest transactions changed. Gives what has to be asked before it counts, if it is
    /// a page.
    pub(crate) fn read_newest(
        &mut self,
        changes: Vec<AuditChange>,
        attributions: &Attributions<'_>,
    ) -> Result<Option<LateTransactions>, InvalidQuestion> {
        let until = self.question.until()?;
        self.rows = attributions.entries(changes).take(self.wanted).collect();
        let last = self.rows.last().filter(|_| self.rows.len() == self.wanted);
        let late = last
            .zip(self.newest.oldest_tried)
            .map(|(last, oldest)| LateTransactions {
                from: last.change.captured_at,
                to: until.unwrap_or(DateTime::<Utc>::MAX_UTC),
                began_before: oldest,
            });
        if late.is_none() {
            self.rows.clear();
        }
        Ok(late)
    }

    /// The page, if there is one.
    pub(crate) fn into_page(self) -> Option<Vec<TimelineEntry>> {
        (!self.rows.is_empty()).then_some(self.rows)
    }

    /// Keeps the page, unless a late transaction may belong to it.
    pub(crate) fn decide_on_newest(&mut self, late: &[Uuid]) {
        let counts = |id: &Uuid| {
            self.newest.transactions.as_ref().is_none_or(|known| {
                known.ids.contains(id) || known.oldest.is_some_and(|oldest| *id < oldest)
            })
        };
        if late.iter().any(counts) {
            self.rows.clear();
            self.newest.tries = TRIED.len();
        }
    }
}

impl QueryFragment<Pg> for LateTransactions {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT transaction_id FROM ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".late_transactions(");
        out.push_bind_param::<Timestamptz, _>(&self.from)?;
        out.push_sql(", ");
        out.push_bind_param::<Timestamptz, _>(&self.to)?;
        out.push_sql(", ");
        out.push_bind_param::<SqlUuid, _>(&self.began_before)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryId for LateTransactions {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for LateTransactions {
    type SqlType = SqlUuid;
}

impl<Conn> RunQueryDsl<Conn> for LateTransactions {}
