//! Lists of changes.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use threadline_core::table::{AuditedTable, TableName};
use threadline_diesel::query::diff::{ChangeDiff, FieldDiff, FieldState};
use threadline_diesel::{Op, TimelineEntry};

use super::actor::actor;
use super::diff::diff_table;
use super::id::{change_id, row_key, transaction_id};
use super::instant::instant;
use super::op::op;
use super::value::{LIST_CHARS, value};
use crate::access::Capability;
use crate::href::Href;
use crate::question::instant_text;
use crate::request::GrantedRequest;

/// The number of fields of a change in a list.
const LIST_FIELDS: usize = 4;

/// The time before and after a change that its link to other changes shows.
const AROUND: TimeDelta = TimeDelta::minutes(5);

/// Changes as a list. `rules` are the redaction rules of their tables.
pub(crate) fn entries(
    request: &GrantedRequest,
    entries: &[TimelineEntry],
    rules: &[AuditedTable],
) -> Markup {
    html! {
        ul.entries aria-label="Changes" {
            @for one in entries { (entry(request, one, rules)) }
        }
    }
}

/// A change as an entry of a list. The script knows it by its id.
pub(crate) fn entry(
    request: &GrantedRequest,
    entry: &TimelineEntry,
    rules: &[AuditedTable],
) -> Markup {
    let diff = ChangeDiff::with_rules_among(&entry.change, rules);
    entry_of_diff(request, entry, &diff, &html! {})
}

/// A change as an entry of a list, with its diff and a note under it.
pub(crate) fn entry_of_diff(
    request: &GrantedRequest,
    entry: &TimelineEntry,
    diff: &ChangeDiff,
    note: &Markup,
) -> Markup {
    let change = &entry.change;
    let table = TableName::new(&change.table_schema, &change.table_name);
    html! {
        li data-id=(change.id) {
            div.line {
                (instant(request, change.captured_at))
                " " (op(change.op))
                " " span.table { bdi { (table) } }
                " " (row_key(request, change))
                " " span.who { (actor(request, entry.actor())) (database_user(entry)) }
            }
            (summary(request, diff))
            (note)
            div.links {
                @if let Some(action) = &entry.action {
                    span.action { bdi { (action.name) } }
                }
                span { "change " (change_id(request, change.id)) }
                @if request.route.screen != "transaction" {
                    span { "transaction " (transaction_id(request, change.transaction_id)) }
                    @if let Some(href) = around(request, change.captured_at) { a href=(href) { "±5 min" } }
                }
            }
        }
    }
}

/// The timeline of all tables around an instant.
fn around(request: &GrantedRequest, at: DateTime<Utc>) -> Option<Href> {
    let from = at.checked_sub_signed(AROUND)?;
    let to = at.checked_add_signed(AROUND)?;
    let timeline = request.screen("timeline")?;
    Some(
        timeline
            .with("from", instant_text(from))
            .with("to", instant_text(to)),
    )
}

/// The whole diff of an update, folded, if the entry does not show all of it.
pub(crate) fn folded_diff(request: &GrantedRequest, diff: &ChangeDiff) -> Markup {
    let has_details = |field: &FieldDiff| field.json.is_some() || field.text.is_some();
    let is_shown = diff.fields.len() <= LIST_FIELDS && !diff.fields.iter().any(has_details);
    html! {
        @if diff.op == Op::Update && !is_shown {
            details { summary { "Diff" } (diff_table(request, diff)) }
        }
    }
}

/// Of an unattributed change, what PostgreSQL knows of its writer.
fn database_user(entry: &TimelineEntry) -> Markup {
    let transaction = entry
        .transaction
        .as_ref()
        .filter(|_| entry.actor().is_none());
    html! {
        @if let Some(known) = transaction {
            span.note {
                " db user " bdi { (known.db_user) }
                @if let Some(name) = known.application_name.as_ref().filter(|one| !one.is_empty()) {
                    ", " bdi { (name) }
                }
            }
        }
    }
}

/// The first fields of a change.
fn summary(request: &GrantedRequest, diff: &ChangeDiff) -> Markup {
    let fields: Vec<_> = diff
        .fields
        .iter()
        .filter(|field| is_shown(diff.op, field))
        .collect();
    let (first, rest) = fields.split_at(fields.len().min(LIST_FIELDS));
    html! {
        @if !fields.is_empty() {
            div.summary {
                @for field in first {
                    span.field-change { bdi.name { (field.field) } " " (field_change(request, diff.op, field)) }
                }
                @if !rest.is_empty() { span.note { "+" (rest.len()) " more fields" } }
            }
        }
    }
}

/// Whether a field tells something in a list: of inserts and deletes, values only.
fn is_shown(op: Op, field: &FieldDiff) -> bool {
    match op {
        Op::Update => field.after != FieldState::Excluded,
        _ => field.before.value().is_some() || field.after.value().is_some(),
    }
}

fn field_change(request: &GrantedRequest, op: Op, field: &FieldDiff) -> Markup {
    if !request.allows(Capability::Values) {
        return html! {};
    }
    match (op, &field.json, &field.text) {
        (_, Some(json), _) => {
            html! { span.token { (counted(json.edits.len())) " in the document" } }
        }
        (_, _, Some(text)) => html! { span.token { (counted(text.hunks.len())) " in the text" } },
        (Op::Update, ..) if field.before == field.after => html! {
            (value(&field.after, LIST_CHARS)) ", changed"
        },
        (Op::Update, ..) => html! {
            del { span.hidden { "was " } (value(&field.before, LIST_CHARS)) }
            " → "
            ins { span.hidden { "now " } (value(&field.after, LIST_CHARS)) }
        },
        (Op::Delete, ..) => value(&field.before, LIST_CHARS),
        _ => value(&field.after, LIST_CHARS),
    }
}

fn counted(changes: usize) -> String {
    format!("{changes} change{}", if changes == 1 { "" } else { "s" })
}
