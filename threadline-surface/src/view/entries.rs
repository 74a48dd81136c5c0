//! Lists of changes.

use maud::{Markup, html};
use threadline_core::table::{AuditedTable, TableName};
use threadline_diesel::query::diff::{ChangeDiff, FieldDiff, FieldState};
use threadline_diesel::{Op, TimelineEntry};

use super::actor::actor;
use super::id::{change_id, row_key, transaction_id};
use super::instant::instant;
use super::op::op;
use super::value::{LIST_CHARS, value};
use crate::access::Capability;
use crate::request::GrantedRequest;

/// The number of fields of a change in a list.
const LIST_FIELDS: usize = 4;

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
    let change = &entry.change;
    let table = TableName::new(&change.table_schema, &change.table_name);
    let diff = ChangeDiff::with_rules_among(change, rules);
    html! {
        li data-id=(change.id) {
            div.line {
                (instant(request, change.captured_at))
                " " (op(change.op))
                " " span.table { bdi { (table) } }
                " " (row_key(request, change))
                " " span.who { (actor(request, entry.actor())) (database_user(entry)) }
            }
            (summary(request, &diff))
            div.links {
                @if let Some(action) = &entry.action {
                    span.action { bdi { (action.name) } }
                }
                span { "change " (change_id(request, change.id)) }
                span { "transaction " (transaction_id(request, change.transaction_id)) }
            }
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
            html! { span.token { (json.edits.len()) " changes in the document" } }
        }
        (_, _, Some(text)) => html! { span.token { (text.hunks.len()) " changes in the text" } },
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
