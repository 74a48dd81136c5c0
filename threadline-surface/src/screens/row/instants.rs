//! A row as of one instant, or compared between two.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use threadline_diesel::models::StoredJson;
use threadline_diesel::query::UnknownReason;
use threadline_diesel::query::diff::{FieldState, RowDiff};
use threadline_diesel::{AsOf, DocumentAsOf, Page, TimelineEntry, document_as_of, nearest_changes};

use super::Row;
use crate::page_error::PageError;
use crate::question::GivenInstant;
use crate::request::PageContext;
use crate::view::as_of::recorded_row;
use crate::view::value::{PAGE_CHARS, value};

/// The instants of a page: one, or A and B.
pub(super) struct Instants(pub(super) Vec<State>);

/// The row as of an instant.
pub(super) struct State {
    /// The name of the parameter.
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) given: GivenInstant,
    is_default: bool,
    pub(super) answer: AsOf<StoredJson>,
    /// The instants of the changes before and after.
    pub(super) previous: Option<DateTime<Utc>>,
    pub(super) next: Option<DateTime<Utc>>,
}

/// Reads the row as of an instant, under the scope of the request.
pub(super) async fn as_of(
    context: &mut PageContext<'_>,
    row: &Row,
    at: DateTime<Utc>,
) -> Result<AsOf<StoredJson>, PageError> {
    let query = DocumentAsOf::new(row.question.table.clone(), &row.key, at);
    let query = match context.request.scope() {
        Some(scope) => query.scope(scope),
        None => query,
    };
    Ok(document_as_of(context.conn, &query).await?)
}

/// The instants of the changes before and after an instant.
type Neighbours = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// The neighbours of an instant among the changes of a page; none if the page may not have them.
fn listed_neighbours(
    row: &Row,
    page: &Page<TimelineEntry>,
    at: DateTime<Utc>,
) -> Option<Neighbours> {
    if row.question.field.is_some() || row.question.with_children {
        return None;
    }
    let listed = || page.entries.iter().map(|entry| entry.change.captured_at);
    let previous = listed().filter(|one| *one < at).max();
    let next = listed().filter(|one| *one > at).min();
    let is_known =
        (previous.is_some() || !page.has_more()) && (next.is_some() || !page.has_previous());
    is_known.then_some((previous, next))
}

async fn read_neighbours(
    context: &mut PageContext<'_>,
    row: &Row,
    at: DateTime<Utc>,
) -> Result<Neighbours, PageError> {
    let window = row.timeline(context.request).from(at).to(at);
    let nearest = nearest_changes(context.conn, &window).await?;
    let captured_at = |entry: TimelineEntry| entry.change.captured_at;
    Ok((
        nearest.before.map(captured_at),
        nearest.after.map(captured_at),
    ))
}

impl State {
    async fn read(
        context: &mut PageContext<'_>,
        row: &Row,
        (name, label): (&'static str, &'static str),
        (given, is_default): (GivenInstant, bool),
        page: &Page<TimelineEntry>,
    ) -> Result<Self, PageError> {
        let at = given.instant;
        let answer = as_of(context, row, at).await?;
        let (previous, next) = match listed_neighbours(row, page, at) {
            Some(listed) => listed,
            None => read_neighbours(context, row, at).await?,
        };
        Ok(Self {
            name,
            label,
            given,
            is_default,
            answer,
            previous,
            next,
        })
    }

    /// The states of its fields; none of an unknown row.
    pub(super) fn states(&self, row: &Row) -> BTreeMap<String, FieldState> {
        let image = recorded_row(&self.answer).map(|known| &known.row);
        let diff = RowDiff::between(&row.question.table, None, image, &row.rules);
        let fields = diff.fields.into_iter();
        fields.map(|one| (one.field, one.after)).collect()
    }

    /// Why the value of a column is not known.
    fn unknown_reason(&self, column: &str) -> Option<UnknownReason> {
        let unknown = &recorded_row(&self.answer)?.unknown;
        let column = unknown.iter().find(|one| one.column == column)?;
        Some(column.reason)
    }

    /// A value of the row as a cell.
    pub(super) fn cell(&self, states: &BTreeMap<String, FieldState>, name: &str) -> Markup {
        let content = match (&self.answer, self.unknown_reason(name), states.get(name)) {
            (_, Some(reason), _) => html! { span.token { (reason) } },
            (_, None, Some(state)) => value(state, PAGE_CHARS),
            (AsOf::Deleted(_) | AsOf::Absent(_), ..) => html! { span.token { "no row" } },
            _ => html! { span.token { "not known" } },
        };
        html! { td { (content) } }
    }
}

impl Instants {
    /// Reads the row as of the instants of the address: `at`, or A and B. B is now unless given, and A is just
    /// before the last change before B.
    pub(super) async fn read(
        context: &mut PageContext<'_>,
        row: &Row,
        page: &Page<TimelineEntry>,
    ) -> Result<Self, PageError> {
        let question = &row.question;
        if let Some(at) = question.at.clone() {
            let state = State::read(context, row, ("at", "As of"), (at, false), page).await?;
            return Ok(Self(vec![state]));
        }
        let now = GivenInstant::parse("now", context.request.now, context.request.zone());
        let now = now.map_err(|_| PageError::Internal("now"))?;
        let b = question.b.clone().map_or((now, true), |b| (b, false));
        let b = State::read(context, row, ("b", "B"), b, page).await?;
        let before_last = || Some(GivenInstant::at(b.previous? - TimeDelta::microseconds(1)));
        let a = match question.a.clone() {
            Some(a) => Some((a, false)),
            None => before_last().map(|a| (a, true)),
        };
        let Some(a) = a else {
            return Ok(Self(vec![b]));
        };
        let a = State::read(context, row, ("a", "A"), a, page).await?;
        Ok(Self(vec![a, b]))
    }

    /// Whether no change of the row is known.
    pub(super) fn is_unknown(&self) -> bool {
        self.0.iter().all(
            |state| matches!(&state.answer, AsOf::NotYetKnown(horizon) if horizon.first.is_none()),
        )
    }

    /// The instants, for commands.
    pub(super) fn shown(&self) -> impl Iterator<Item = DateTime<Utc>> {
        self.0.iter().map(|state| state.given.instant)
    }

    /// The names of the fields of the recorded rows.
    pub(super) fn field_names(&self) -> Vec<String> {
        let rows = self
            .0
            .iter()
            .filter_map(|state| recorded_row(&state.answer));
        let fields = rows.flat_map(|known| known.row.fields());
        let names: BTreeSet<_> = fields.map(|(name, _)| name).collect();
        names.into_iter().collect()
    }

    /// The instant that a restoration takes: that of A if the row is recorded there, otherwise of B; none for
    /// the last state of a deleted row.
    pub(super) fn restored_instant(&self) -> Option<DateTime<Utc>> {
        let (a, b) = (self.0.first()?, self.0.last()?);
        let is_deleted = matches!(b.answer, AsOf::Deleted(_));
        if !a.is_default || (recorded_row(&a.answer).is_some() && !is_deleted) {
            return Some(a.given.instant);
        }
        (!is_deleted).then_some(b.given.instant)
    }
}
