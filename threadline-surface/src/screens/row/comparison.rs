//! The states of a row at the instants of the page, side by side.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use threadline_diesel::query::diff::{FieldDiff, FieldState, RowDiff};
use threadline_diesel::{Op, Page, TimelineEntry};

use super::Row;
use super::instants::{Instants, State};
use crate::access::Capability;
use crate::question::GivenInstant;
use crate::request::GrantedRequest;
use crate::view::as_of::{recorded_row, state_sentence};
use crate::view::diff::field_cells;
use crate::view::form::{Field, field};
use crate::view::instant::instant;

impl Row {
    /// The states of the row with the form that chooses the instants, and the fields side by side.
    pub(super) fn comparison(
        &self,
        request: &GrantedRequest,
        instants: &Instants,
        page: &Page<TimelineEntry>,
    ) -> Markup {
        let stops = self.stops(page);
        let texts: Vec<_> = stops
            .iter()
            .map(|stop| GivenInstant::at(*stop).text)
            .collect();
        let is_single = instants.0.len() == 1;
        html! {
            form method="get" action=(request.href("/rows")) data-stops=(texts.join(" ")) {
                (self.hidden_fields())
                div.columns.states { @for state in &instants.0 { (self.state_card(request, state, &stops)) } }
                div.buttons {
                    button.primary type="submit" { @if is_single { "Show" } @else { "Compare" } }
                    @if let Some(at) = &self.question.at {
                        a href=(self.question.row(request.href("/rows")).with("a", at.fixed().text)) { "Compare with now" }
                    }
                }
            }
            (self.field_table(request, &instants.0))
        }
    }

    /// The instants of the known changes of this page, oldest first.
    fn stops(&self, page: &Page<TimelineEntry>) -> Vec<DateTime<Utc>> {
        if self.question.with_children {
            return Vec::new();
        }
        let mut stops: Vec<_> = page
            .entries
            .iter()
            .map(|one| one.change.captured_at)
            .collect();
        stops.sort_unstable();
        stops.dedup();
        stops
    }

    fn state_card(
        &self,
        request: &GrantedRequest,
        state: &State,
        stops: &[DateTime<Utc>],
    ) -> Markup {
        let (name, at) = (state.name, state.given.instant);
        let id = format!("state-{name}");
        let slider = format!("slider-{name}");
        let place = stops.iter().rposition(|stop| *stop <= at).unwrap_or(0);
        let step = |to: Option<DateTime<Utc>>| {
            to.map(|to| self.question.at_instant(request.href("/rows"), name, to))
        };
        let input = Field::new(name, "Instant").value(&state.given.text);
        html! {
            section.card aria-labelledby=(id) {
                h2 id=(id) { (state.label) " · " (instant(request, at)) }
                (field(&input))
                @if stops.len() > 1 {
                    div hidden data-script {
                        label.hidden for=(slider) { "Known changes" }
                        input id=(slider) type="range" min="0" max=(stops.len() - 1) value=(place)
                            data-field={ "field-" (name) } aria-valuetext=(GivenInstant::at(stops[place]).text);
                    }
                }
                p.links.moves {
                    @if let Some(href) = step(state.previous) { a href=(href) { "◀ change before" } }
                    @if let Some(href) = step(state.next) { a href=(href) { "change after ▶" } }
                }
                (state_sentence(request, at, &state.answer, &self.completeness))
            }
        }
    }

    /// The fields, those that differ first.
    fn field_table(&self, request: &GrantedRequest, states: &[State]) -> Markup {
        let values: Vec<_> = states.iter().map(|state| state.states(self)).collect();
        let names: BTreeSet<_> = values.iter().flat_map(BTreeMap::keys).collect();
        let differences = self.differences(states);
        let (different, same): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|name| differences.contains_key(name.as_str()));
        if !request.allows(Capability::Values) {
            return html! {
                p.note { "Your grant does not show values." }
                @if !different.is_empty() {
                    p { "Fields that differ: " @for name in &different { code { bdi { (name) } } " " } }
                }
            };
        }
        if different.is_empty() && same.is_empty() {
            return html! {};
        }
        html! {
            div.scroll tabindex="0" role="region" aria-label="Fields of the row" {
                table.diff {
                    thead {
                        tr {
                            th scope="col" { "Field" }
                            @for state in states { th scope="col" { (state.label) } }
                        }
                    }
                    tbody {
                        @for name in different {
                            tr.differs {
                                th scope="row" { bdi { (name) } }
                                @if let Some(diff) = differences.get(name.as_str()) { (field_cells(Op::Update, diff)) }
                            }
                        }
                        @for name in same {
                            tr {
                                th scope="row" { bdi { (name) } }
                                @for (state, values) in states.iter().zip(&values) { (state.cell(values, name)) }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The fields that differ between A and B, if both rows are recorded.
    fn differences(&self, states: &[State]) -> BTreeMap<String, FieldDiff> {
        let rows = states.iter().map(|state| recorded_row(&state.answer));
        let [Some(a), Some(b)] = rows.collect::<Vec<_>>()[..] else {
            return BTreeMap::new();
        };
        let diff = RowDiff::between(
            &self.question.table,
            Some(&a.row),
            Some(&b.row),
            &self.rules,
        );
        let fields = diff.fields.into_iter();
        fields
            .filter(|one| {
                one.before != one.after
                    && !matches!(one.after, FieldState::Masked | FieldState::Excluded)
            })
            .map(|one| (one.field.clone(), one))
            .collect()
    }
}
