//! One field of a row over time, and when it became a value.

use maud::{Markup, html};
use threadline_core::table::{AuditedTable, ColumnRule};
use threadline_diesel::query::ColumnName;
use threadline_diesel::query::diff::ChangeDiff;
use threadline_diesel::{Op, Page, TimelineEntry};

use super::Row;
use super::instants::Instants;
use crate::access::Capability;
use crate::request::GrantedRequest;
use crate::view::actor::actor;
use crate::view::diff::field_cells;
use crate::view::form::{Choice, Field, field, select};
use crate::view::id::{change_id, transaction_id};
use crate::view::instant::instant;
use crate::view::op::op;
use crate::view::pager::pager;

impl Row {
    /// The form that asks when a field became a value.
    pub(super) fn field_form(&self, request: &GrantedRequest, instants: &Instants) -> Markup {
        let declared = self
            .rules
            .iter()
            .find(|one| *one.name() == self.question.table);
        let mut names: Vec<_> = declared
            .into_iter()
            .flat_map(AuditedTable::columns)
            .filter(|column| column.rule != ColumnRule::Exclude)
            .map(|column| column.name.clone())
            .collect();
        if names.is_empty() {
            names = instants.field_names();
        }
        let selected = self.question.field.as_ref().map(ColumnName::as_str);
        let choices = names
            .iter()
            .map(|name| Choice::new(name, Some(name.as_str()) == selected));
        let became = Field::new("became", "Set to (optional)")
            .value(self.question.became.as_deref().unwrap_or_default());
        html! {
            @if !names.is_empty() {
                h2 { "When was a field set to a value?" }
                form.fields method="get" action=(request.href("/rows")) {
                    (self.hidden_fields())
                    (select("field", "Field", choices))
                    @if request.allows(Capability::Values) { (field(&became)) }
                    div.field { button type="submit" { "Ask" } }
                }
            }
        }
    }

    /// Table and key as hidden fields of a form.
    pub(super) fn hidden_fields(&self) -> Markup {
        html! {
            input type="hidden" name="table" value=(self.question.table);
            @for key in &self.question.key { input type="hidden" name="key" value=(key); }
        }
    }

    /// The changes of the field as a table: its values over time.
    pub(super) fn field_changes(
        &self,
        request: &GrantedRequest,
        page: &Page<TimelineEntry>,
    ) -> Markup {
        let Some(name) = self.question.field.as_ref().map(ColumnName::as_str) else {
            return html! {};
        };
        let shows_values = request.allows(Capability::Values);
        html! {
            (self.became_answer(request, page))
            div.scroll tabindex="0" role="region" aria-label="Changes of the field" {
                table.diff {
                    thead {
                        tr {
                            th scope="col" { "Time" }
                            th scope="col" { "Operation" }
                            @if shows_values { th scope="col" { "Before" } th scope="col" { "After" } }
                            th scope="col" { "Actor" }
                            th scope="col" { "Change" }
                            th scope="col" { "Transaction" }
                        }
                    }
                    tbody {
                        @for entry in &page.entries {
                            tr {
                                td { (instant(request, entry.change.captured_at)) }
                                td { (op(entry.change.op)) }
                                @if shows_values { (self.value_cells(entry, name)) }
                                td { (actor(request, entry.actor())) }
                                td { (change_id(request, entry.change.id)) }
                                td { (transaction_id(request, entry.change.transaction_id)) }
                            }
                        }
                    }
                }
            }
            (pager(&self.question.list(request.href("/rows")), page))
        }
    }

    fn value_cells(&self, entry: &TimelineEntry, name: &str) -> Markup {
        let diff = ChangeDiff::with_rules_among(&entry.change, &self.rules);
        html! {
            @if let Some(field) = diff.field(name) { (field_cells(diff.op, field)) }
            @else { td {} td {} }
        }
    }

    /// The answer to "when did the field become the value": the last and the first time.
    fn became_answer(&self, request: &GrantedRequest, page: &Page<TimelineEntry>) -> Markup {
        let (Some(field), Some(value)) = (&self.question.field, &self.question.became) else {
            return html! {};
        };
        let Some(last) = page.entries.first().filter(|_| !page.has_previous()) else {
            return html! {};
        };
        let first = page.entries.last().filter(|_| !page.has_more());
        let first = first.filter(|first| first.change.id != last.change.id);
        let change = |entry: &TimelineEntry| {
            html! {
                (instant(request, entry.change.captured_at)) " by " (actor(request, entry.actor()))
                ", change " (change_id(request, entry.change.id))
            }
        };
        html! {
            p.headline {
                bdi.strong { (field.as_str()) } " became " bdi.value { (value) }
                @match last.change.op {
                    Op::Insert => " when the row was inserted, at ",
                    _ => " at ",
                }
                (change(last))
                @if let Some(first) = first { ". The first time was at " (change(first)) }
            }
        }
    }
}
