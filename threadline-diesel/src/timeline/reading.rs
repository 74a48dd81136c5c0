//! How a page is read: first where its changes are, then whose they are.
//!
//! Changes are found a stretch at a time, and their transactions and actions looked up by id. Where
//! most of a stretch may be meant, its changes are read at once; where each has to be checked, only
//! their places are, and the changes of those that are asked for.
//!
//! The statements see the trail at different moments. What commits between them is not read, as if it
//! had committed afterwards; what retention removes between them is gone.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;
use threadline_core::transaction::AuditTransactionId;

use super::attributions::Attributions;
use super::conditions::row_segments;
use super::newest::Newest;
use super::stretch::{FindChanges, FindPlaces, Found, Stretch};
use super::{Place, Route, Timeline};
use crate::change::{AuditChange, TimelineEntry};
use crate::condition::Condition;
use crate::error::InvalidQuestion;
use crate::page::{Cursor, Page};
use crate::scope::Scope;

/// Places looked at at a time where each change has to be checked.
const CHECKED_AT_A_TIME: i64 = 200;
const CHECKED_AT_MOST: i64 = 16_000;

/// Fewer transactions than this are looked up in all months at once.
const IN_ANY_MONTH: usize = 64;

/// A page on its way.
#[derive(Debug)]
pub(crate) struct Reading<'q> {
    pub(super) question: &'q Timeline,
    route: &'q Route,
    /// Rows that are wanted, the one that tells whether there is more included.
    pub(super) wanted: usize,
    at_a_time: i64,
    pub(super) from: Option<(&'static str, Place<i64>)>,
    months: MonthsBack,
    is_first: bool,
    is_at_the_end: bool,
    pub(super) newest: Newest,
    pub(super) rows: Vec<TimelineEntry>,
}

/// What to load next.
pub(crate) enum Next {
    /// Changes, most of which may be meant.
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
            (true, false) => CHECKED_AT_A_TIME.max(4 * limit),
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
            is_first: true,
            is_at_the_end: false,
            newest: Newest::of(route),
            rows: Vec::new(),
        })
    }

    /// The page's changes alone, where it is known that their transaction may be seen.
    pub(crate) fn changes_alone(&self) -> Result<FindChanges, InvalidQuestion> {
        let route = Route::NONE;
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

    pub(super) fn reads_back_in_time(&self) -> bool {
        !self.is_by_id() && self.paging.reads_descending(self.order)
    }

    /// Whether the scope narrows transactions.
    pub(super) fn scopes_transactions(&self) -> bool {
        self.scope
            .as_ref()
            .is_some_and(Scope::looks_at_transactions)
    }

    /// Whether more must be known of a change than what it says itself.
    fn looks_at_attribution(&self) -> bool {
        self.scopes_transactions() || !self.filters.of_attribution().is_empty()
    }
}

impl Reading<'_> {
    /// What to load next; nothing when everything was seen or enough was read.
    pub(crate) fn next(&self) -> Result<Option<Next>, InvalidQuestion> {
        if self.is_at_the_end || self.rows.len() >= self.wanted {
            return Ok(None);
        }
        let stretch = self.stretch(self.at_a_time)?;
        Ok(Some(
            if self.is_checked() && !(self.is_first && self.route.is_short()) {
                Next::Places(stretch.places())
            } else {
                Next::Changes(stretch.changes())
            },
        ))
    }

    /// Whether transactions and actions tell which changes are asked for.
    pub(crate) fn is_checked(&self) -> bool {
        self.question.looks_at_attribution()
    }

    /// The same, where it is enough to know that there is something.
    pub(crate) fn any(&self) -> Result<Option<FindPlaces>, InvalidQuestion> {
        if self.is_at_the_end || !self.rows.is_empty() {
            return Ok(None);
        }
        let stretch = self.stretch(if self.is_checked() { self.at_a_time } else { 1 })?;
        Ok(Some(stretch.places()))
    }

    fn stretch(&self, limit: i64) -> Result<Stretch, InvalidQuestion> {
        let question = self.question;
        let table = self.table_walked();
        let mut conditions = match table {
            Some(_) => question.filters.of_changes_of_any_table(self.route),
            None => question.filters.of_changes(self.route),
        };
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
        if let Some(table) = table {
            conditions.extend(self.within(table));
        }
        if !self.route.is_short() {
            // An index in the order of reading is followed; there is nothing that values could tell.
            conditions = conditions.into_iter().map(Condition::unseen).collect();
        }
        Ok(Stretch {
            segments: row.map(|row| row_segments("SELECT * FROM ", row, "")),
            conditions,
            order: self.order(),
            limit,
        })
    }

    /// The table whose changes are read in the order of its index.
    fn table_walked(&self) -> Option<&TableName> {
        let is_walked = !self.question.is_by_id() && !self.route.is_short();
        self.question.filters.table.as_ref().filter(|_| is_walked)
    }

    /// Where in the index by table and time reading begins, and where it ends. Said by bounds, for
    /// where a table is given by equality, the planner may expect so many of its changes that it
    /// follows time alone, through all tables.
    fn within(&self, table: &TableName) -> [Condition; 2] {
        let at_the_end = |comparison: &str| {
            let columns = "(audit_changes.table_name, audit_changes.table_schema)";
            Condition::sql(format!("{columns} {comparison} ("))
                .text(table.name())
                .then(", ")
                .text(table.schema())
                .then(")")
        };
        let (first, last) = if self.reads_descending() {
            ("<=", ">=")
        } else {
            (">=", "<=")
        };
        let beginning = match &self.from {
            Some((comparison, place)) => Condition::sql(
                "(audit_changes.table_name, audit_changes.table_schema, audit_changes.captured_at, \
                 audit_changes.id) ",
            )
            .then(*comparison)
            .then(" (")
            .text(table.name())
            .then(", ")
            .text(table.schema())
            .then(", ")
            .instant(place.at)
            .then(", ")
            .number(place.id)
            .then(")"),
            None => at_the_end(first),
        };
        [beginning, at_the_end(last)]
    }

    fn reads_descending(&self) -> bool {
        self.question.paging.reads_descending(self.question.order)
    }

    fn order(&self) -> &'static str {
        let by_table = self.table_walked().is_some();
        match (self.question.is_by_id(), by_table, self.reads_descending()) {
            (true, _, true) => "audit_changes.id DESC",
            (true, _, false) => "audit_changes.id",
            (false, false, true) => "audit_changes.captured_at DESC, audit_changes.id DESC",
            (false, false, false) => "audit_changes.captured_at, audit_changes.id",
            (false, true, true) => {
                "audit_changes.table_name DESC, audit_changes.table_schema DESC, \
                 audit_changes.captured_at DESC, audit_changes.id DESC"
            }
            (false, true, false) => {
                "audit_changes.table_name, audit_changes.table_schema, \
                 audit_changes.captured_at, audit_changes.id"
            }
        }
    }

    /// Goes on after the last change that was found; with longer stretches, for the filters take few.
    fn go_on(&mut self, found: usize, last: Option<(DateTime<Utc>, i64)>) {
        let is_full = i64::try_from(found).unwrap_or(i64::MAX) >= self.at_a_time;
        if !is_full {
            self.is_at_the_end = self.months.is_last();
            self.months.go_back();
        }
        self.is_first = false;
        self.at_a_time = (self.at_a_time * 4).min(CHECKED_AT_MOST.max(self.at_a_time));
        if let Some((at, id)) = last {
            let place = Place {
                at,
                id,
                included: false,
            };
            self.from = Some((if self.reads_descending() { "<" } else { ">" }, place));
        }
    }

    /// Adds what is asked for of a stretch.
    pub(crate) fn read(&mut self, changes: Vec<AuditChange>, attributions: &Attributions<'_>) {
        let last = changes.last().map(|last| (last.captured_at, last.id));
        self.go_on(changes.len(), last);
        self.add(changes, attributions);
    }

    /// Adds what is asked for.
    pub(crate) fn add(&mut self, changes: Vec<AuditChange>, attributions: &Attributions<'_>) {
        self.rows.extend(attributions.entries(changes));
    }

    /// Of a stretch's places, whether there is one that is asked for.
    pub(crate) fn has_any(&mut self, found: &[Found], attributions: &Attributions<'_>) -> bool {
        self.go_on(found.len(), found.last().map(Found::place));
        found.iter().any(|one| attributions.are_asked_for(one))
    }

    /// The changes at those places of a stretch that are asked for, no more than are wanted; none if
    /// there are none.
    pub(crate) fn changes_at(
        &mut self,
        found: &[Found],
        attributions: &Attributions<'_>,
    ) -> Option<FindChanges> {
        self.go_on(found.len(), found.last().map(Found::place));
        let (instants, ids): (Vec<_>, Vec<_>) = found
            .iter()
            .filter(|one| attributions.are_asked_for(*one))
            .take(self.wanted - self.rows.len())
            .map(Found::place)
            .unzip();
        let ids_are = Condition::sql("audit_changes.id = ANY (")
            .numbers(ids.clone())
            .then(")")
            .on_the_way();
        let condition = Condition::sql("audit_changes.captured_at = ANY (")
            .instants(instants)
            .then(") AND ")
            .embed(&ids_are)
            .then(" AND ")
            .embed(&looked_up("audit_changes.id"));
        let stretch = Stretch {
            segments: None,
            conditions: vec![condition],
            order: self.order(),
            limit: self.question.paging.size.limit(),
        };
        (!ids.is_empty()).then(|| stretch.changes())
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

/// Rows that are known by their ids are looked up, however few others there are.
pub(crate) fn looked_up(column: &str) -> Condition {
    Condition::sql(format!("{STORAGE_SCHEMA}.looked_up({column})"))
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
