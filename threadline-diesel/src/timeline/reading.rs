//! How a page is read: first where its changes are, then whose they are.
//!
//! Where a question is about changes alone, their transactions and actions are looked up by id. Where
//! it is about who and why, changes are found a stretch at a time, and what belongs to them is read
//! in one query between the ids that were found: that leaves out every month but theirs.
//!
//! The statements see the trail at different moments. What commits between them is not read, as if it
//! had committed afterwards; what retention removes between them is gone.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use diesel::prelude::*;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::transaction::AuditTransactionId;
use uuid::Uuid;

use super::conditions::row_segments;
use super::stretch::{FindChanges, FindPlaces, Found, Stretch};
use super::{ChangesQuery, Place, Route, Timeline};
use crate::change::{AuditAction, AuditChange, AuditTransaction, TimelineEntry};
use crate::condition::Condition;
use crate::error::InvalidQuestion;
use crate::page::{Cursor, Page};
use crate::scope::Scope;

/// Changes found at a time where each still has to be checked for who made it and why.
const CHECKED_AT_A_TIME: i64 = 1_000;
const CHECKED_AT_MOST: i64 = 16_000;

/// Fewer transactions than this are looked up in all months at once.
const IN_ANY_MONTH: usize = 64;

/// A page on its way.
#[derive(Debug)]
pub(crate) struct Reading<'q> {
    question: &'q Timeline,
    route: &'q Route,
    /// Rows that are wanted, the one that tells whether there is more included.
    wanted: usize,
    at_a_time: i64,
    from: Option<(&'static str, Place<i64>)>,
    months: MonthsBack,
    is_at_the_end: bool,
    rows: Vec<TimelineEntry>,
}

/// What to load next.
pub(crate) enum Next {
    /// Changes, to be read with what belongs to them.
    Changes(FindChanges),
    /// Where changes are that have to be checked.
    Places(FindPlaces),
}

impl Timeline {
    /// A page of it, to be read.
    pub(crate) fn reading<'q>(&'q self, route: &'q Route) -> Result<Reading<'q>, InvalidQuestion> {
        self.checked()?;
        let limit = self.paging.size.limit();
        let at_a_time = match (self.looks_at_attribution(), route.is_short()) {
            (false, _) => limit,
            // Nearly all that the transactions changed is meant.
            (true, true) => 2 * limit,
            (true, false) => CHECKED_AT_A_TIME.max(limit),
        };
        let from = self.paging.place::<i64>(&self.digest(), self.order)?;
        let months = match route.newest() {
            Some((count, newest)) if count >= IN_ANY_MONTH && self.reads_back_in_time() => {
                let place = from.as_ref().map(|(_, place)| place.at);
                let started = AuditTransactionId::from(newest).started_at();
                MonthsBack::from(started.into_iter().chain(place).min())
            }
            _ => MonthsBack::ALL,
        };
        Ok(Reading {
            question: self,
            route,
            wanted: usize::try_from(limit).unwrap_or(usize::MAX),
            at_a_time,
            from,
            months,
            is_at_the_end: false,
            rows: Vec::new(),
        })
    }

    /// The page's changes alone, where it is known that their transaction may be seen.
    pub(crate) fn changes_alone(&self) -> Result<FindChanges, InvalidQuestion> {
        let route = Route::Found(Vec::new());
        let reading = self.reading(&route)?;
        Ok(reading.stretch(self.paging.size.limit())?.changes())
    }

    /// The page in changes alone.
    pub(crate) fn page_of_changes(&self, rows: Vec<AuditChange>) -> Page<AuditChange> {
        let question = self.digest();
        self.paging.page(rows, |change| {
            Cursor::at(&question, change.captured_at, &change.id)
        })
    }

    fn reads_back_in_time(&self) -> bool {
        !self.is_by_id() && self.paging.reads_descending(self.order)
    }

    /// Whether more must be known of a change than what it says itself.
    fn looks_at_attribution(&self) -> bool {
        let by_scope = self
            .scope
            .as_ref()
            .is_some_and(Scope::looks_at_transactions);
        by_scope || !self.filters.of_attribution().is_empty()
    }
}

impl Reading<'_> {
    /// What to load next; nothing when everything was seen or enough was read.
    pub(crate) fn next(&self) -> Result<Option<Next>, InvalidQuestion> {
        if self.is_at_the_end || self.rows.len() >= self.wanted {
            return Ok(None);
        }
        let stretch = self.stretch(self.at_a_time)?;
        Ok(Some(if self.question.looks_at_attribution() {
            Next::Places(stretch.places())
        } else {
            Next::Changes(stretch.changes())
        }))
    }

    /// The same, where it is enough to know that there is something.
    pub(crate) fn any(&self) -> Result<Option<FindPlaces>, InvalidQuestion> {
        if self.is_at_the_end || !self.rows.is_empty() {
            return Ok(None);
        }
        let exact = !self.question.looks_at_attribution();
        let stretch = self.stretch(if exact { 1 } else { self.at_a_time })?;
        Ok(Some(stretch.places()))
    }

    /// Whether what is found needs no check.
    pub(crate) fn is_exact(&self) -> bool {
        !self.question.looks_at_attribution()
    }

    fn stretch(&self, limit: i64) -> Result<Stretch, InvalidQuestion> {
        let question = self.question;
        let mut conditions = question.filters.of_changes(self.route);
        if let Some(scope) = &question.scope {
            conditions.push(scope.of_changes_alone()?);
        }
        if let Some((comparison, place)) = &self.from {
            conditions.push(question.beyond(comparison, place));
        }
        conditions.extend(self.months.condition());
        let row = question.filters.row.as_ref();
        if row.is_some() {
            conditions.push(Condition::sql(
                "audit_changes.row_key = segment.row_key \
                 AND audit_changes.id BETWEEN segment.first_id AND segment.last_id",
            ));
        }
        let descending = question.paging.reads_descending(question.order);
        Ok(Stretch {
            segments: row.map(|row| row_segments("SELECT * FROM ", row, "")),
            conditions,
            order: match (question.is_by_id(), descending) {
                (true, true) => "audit_changes.id DESC",
                (true, false) => "audit_changes.id",
                (false, true) => "audit_changes.captured_at DESC, audit_changes.id DESC",
                (false, false) => "audit_changes.captured_at, audit_changes.id",
            },
            limit,
        })
    }

    /// Where to go on after what was found.
    fn go_on(&mut self, found: usize, last: Option<(DateTime<Utc>, i64)>) {
        let is_full = i64::try_from(found).unwrap_or(i64::MAX) >= self.at_a_time;
        if !is_full {
            self.is_at_the_end = self.months.is_last();
            self.months.go_back();
        }
        self.at_a_time = (self.at_a_time * 4).min(CHECKED_AT_MOST.max(self.at_a_time));
        if let Some((at, id)) = last {
            let descending = self.question.paging.reads_descending(self.question.order);
            let place = Place {
                at,
                id,
                included: false,
            };
            self.from = Some((if descending { "<" } else { ">" }, place));
        }
    }

    /// Adds changes with their transactions and actions.
    pub(crate) fn read_changes(&mut self, changes: Vec<AuditChange>, attribution: &Attributions) {
        let last = changes.last().map(|last| (last.captured_at, last.id));
        self.go_on(changes.len(), last);
        self.rows.extend(attribution.of(changes));
    }

    /// The query of the entries that are where changes were found; none if there are none.
    pub(crate) fn entries(
        &mut self,
        found: &[Found],
    ) -> Result<Option<ChangesQuery<'static>>, InvalidQuestion> {
        let last = found.last().map(|last| (last.captured_at, last.id));
        self.go_on(found.len(), last);
        let Some(within) = Within::of(found) else {
            return Ok(None);
        };
        let question = self.question;
        let mut query = within.changes_with_attribution();
        for condition in question.filters.of_changes(&Route::Found(Vec::new())) {
            query = query.filter(condition);
        }
        for condition in question.filters.of_attribution() {
            query = query.filter(condition);
        }
        if let Some(scope) = &question.scope {
            query = query.filter(scope.of_changes()?);
        }
        let is_dense = !question.is_by_id() && !self.route.is_short();
        query = query.filter(if is_dense {
            within.between()
        } else {
            within.exactly(found)
        });
        let left = self.wanted - self.rows.len();
        let query = question.ordered(query);
        Ok(Some(query.limit(i64::try_from(left).unwrap_or(i64::MAX))))
    }

    /// Adds what was read.
    pub(crate) fn read(&mut self, rows: Vec<TimelineEntry>) {
        self.rows.extend(rows);
    }

    /// Whether nothing was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The page.
    pub(crate) fn into_rows(self) -> Vec<TimelineEntry> {
        self.rows
    }
}

/// Going back in time, a few months at a time: where many transactions are looked up, each is looked
/// for in every month that is read.
#[derive(Debug, Clone, Copy)]
struct MonthsBack {
    /// No change before it is read.
    floor: Option<DateTime<Utc>>,
    next: u32,
}

impl MonthsBack {
    const ALL: Self = Self {
        floor: None,
        next: 1,
    };

    /// Begins with the month of an instant, and what is after it.
    fn from(instant: Option<DateTime<Utc>>) -> Self {
        let day = instant.and_then(|at| NaiveDate::from_ymd_opt(at.year(), at.month(), 1));
        Self {
            floor: day.map(|day| day.and_time(NaiveTime::MIN).and_utc()),
            next: 1,
        }
    }

    fn is_last(self) -> bool {
        self.floor.is_none()
    }

    fn go_back(&mut self) {
        let floor = self.floor.filter(|_| self.next <= 4);
        self.floor = floor.and_then(|floor| floor.checked_sub_months(Months::new(self.next)));
        self.next *= 2;
    }

    fn condition(self) -> Option<Condition> {
        Some(Condition::sql("audit_changes.captured_at >= ").instant(self.floor?))
    }
}

/// The transactions and actions of changes.
#[derive(Debug, Default)]
pub(crate) struct Attributions {
    transactions: BTreeMap<Uuid, AuditTransaction>,
    actions: BTreeMap<Uuid, AuditAction>,
    gone: BTreeSet<i64>,
}

impl Attributions {
    pub(crate) fn transactions_of(changes: &[AuditChange]) -> Vec<Uuid> {
        let ids: BTreeSet<_> = changes.iter().map(|change| change.transaction_id).collect();
        ids.into_iter().collect()
    }

    pub(crate) fn actions_of(changes: &[AuditChange]) -> Vec<Uuid> {
        let ids: BTreeSet<_> = changes
            .iter()
            .filter_map(|change| change.action_id)
            .collect();
        ids.into_iter().collect()
    }

    pub(crate) fn new(transactions: Vec<AuditTransaction>, actions: Vec<AuditAction>) -> Self {
        Self {
            transactions: transactions.into_iter().map(|one| (one.id, one)).collect(),
            actions: actions.into_iter().map(|one| (one.id, one)).collect(),
            gone: BTreeSet::new(),
        }
    }

    /// Changes whose transactions were not found: they may have been removed together.
    pub(crate) fn doubtful(&self, changes: &[AuditChange]) -> Vec<(DateTime<Utc>, i64)> {
        changes
            .iter()
            .filter(|change| !self.transactions.contains_key(&change.transaction_id))
            .map(|change| (change.captured_at, change.id))
            .collect()
    }

    /// Of the doubtful, only these are still there.
    pub(crate) fn still_there(&mut self, doubtful: &[(DateTime<Utc>, i64)], there: &[i64]) {
        let there: BTreeSet<_> = there.iter().collect();
        let ids = doubtful.iter().map(|(_, id)| *id);
        self.gone = ids.filter(|id| !there.contains(id)).collect();
    }

    pub(crate) fn of(&self, changes: Vec<AuditChange>) -> impl Iterator<Item = TimelineEntry> {
        changes
            .into_iter()
            .filter(|change| !self.gone.contains(&change.id))
            .map(|change| TimelineEntry {
                transaction: self.transactions.get(&change.transaction_id).cloned(),
                action: change
                    .action_id
                    .and_then(|id| self.actions.get(&id).cloned()),
                change,
            })
    }
}

/// Between what the changes that were found are, and their transactions and actions.
struct Within {
    /// The places of the earliest and the latest.
    ends: [(DateTime<Utc>, i64); 2],
    captured_at: Vec<DateTime<Utc>>,
    transactions: Vec<Uuid>,
    actions: Vec<Uuid>,
}

impl Within {
    fn of(found: &[Found]) -> Option<Self> {
        let place = |found: &Found| (found.captured_at, found.id);
        let (first, last) = (place(found.first()?), place(found.last()?));
        Some(Self {
            ends: [first.min(last), first.max(last)],
            captured_at: distinct(found.iter().map(|found| found.captured_at)),
            transactions: distinct(found.iter().map(|found| found.transaction_id)),
            actions: distinct(found.iter().filter_map(|found| found.action_id)),
        })
    }

    fn changes_with_attribution(&self) -> ChangesQuery<'static> {
        let one_of = |column: &str, ids: &[Uuid]| {
            looked_up(column)
                .then(format!(" AND {column} = ANY ("))
                .uuids(ids.to_vec())
                .then(")")
        };
        super::changes_with_attribution(
            super::of_the_transaction()
                .then(" AND ")
                .embed(&one_of("audit_transactions.id", &self.transactions)),
            super::of_the_action()
                .then(" AND ")
                .embed(&one_of("audit_actions.id", &self.actions)),
        )
        .into_boxed()
    }

    /// Changes in a stretch of time, without those that were not there when it was seen, and whose
    /// transactions and actions are not looked for.
    fn between(&self) -> Condition {
        let [(first, first_id), (last, last_id)] = self.ends;
        let known = Condition::sql("audit_changes.transaction_id = ANY (")
            .uuids(self.transactions.clone())
            .then(") AND (audit_changes.action_id IS NULL OR audit_changes.action_id = ANY (")
            .uuids(self.actions.clone())
            .then("))")
            .on_the_way();
        // Many changes may have one instant, so the ids count as well; the instants alone leave out
        // the other months.
        Condition::sql("audit_changes.captured_at BETWEEN ")
            .instant(first)
            .then(" AND ")
            .instant(last)
            .then(" AND (audit_changes.captured_at, audit_changes.id) >= (")
            .instant(first)
            .then(", ")
            .number(first_id)
            .then(") AND (audit_changes.captured_at, audit_changes.id) <= (")
            .instant(last)
            .then(", ")
            .number(last_id)
            .then(") AND ")
            .embed(&known)
    }

    /// The changes that were found.
    fn exactly(&self, found: &[Found]) -> Condition {
        let ids = Condition::sql("audit_changes.id = ANY (")
            .numbers(found.iter().map(|found| found.id).collect())
            .then(")")
            .on_the_way();
        Condition::sql("audit_changes.captured_at = ANY (")
            .instants(self.captured_at.clone())
            .then(") AND ")
            .embed(&ids)
            .then(" AND ")
            .embed(&looked_up("audit_changes.id"))
    }
}

/// Rows that are known by their ids are looked up, however few others there are.
pub(crate) fn looked_up(column: &str) -> Condition {
    Condition::sql(format!("{STORAGE_SCHEMA}.looked_up({column})"))
}

/// Each once, in order.
fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let values: BTreeSet<_> = values.collect();
    values.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_back_ends_with_everything() {
        let mut months = MonthsBack::from("2026-03-15T12:00:00Z".parse().ok());
        let mut floors = Vec::new();
        while let Some(floor) = months.floor {
            floors.push(floor.to_rfc3339());
            months.go_back();
        }
        let first_days = ["2026-03-01", "2026-02-01", "2025-12-01", "2025-08-01"];
        assert_eq!(
            floors,
            first_days.map(|day| format!("{day}T00:00:00+00:00"))
        );
        assert!(months.is_last());
        assert!(MonthsBack::ALL.is_last());
    }
}
