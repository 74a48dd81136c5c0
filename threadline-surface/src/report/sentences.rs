//! The answer of a report in sentences.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use threadline_core::table::TableName;
use threadline_diesel::query::diff::FieldState;
use threadline_diesel::{AuditAction, Op, TimelineEntry};
use uuid::Uuid;

use super::evidence::{ChangeEvidence, Evidence, FieldEvidence};
use super::read::Report;
use crate::view::number::count_of;

/// The number of changes of a transaction that its sentence names.
const SENTENCE_CHANGES: usize = 5;

/// The number of fields of a change that a sentence names.
const SENTENCE_FIELDS: usize = 4;

/// The length of a value in a sentence, in characters.
const VALUE_CHARS: usize = 60;

/// The changes of a transaction under an action, by their places in the report.
type Group = ((Uuid, Option<Uuid>), Vec<usize>);

/// Who did what, for whom, when, from which value to which, and why: one sentence for each transaction and
/// action, oldest first.
pub(crate) fn sentences(report: &Report, evidence: &Evidence<'_>, zone: Tz) -> Vec<String> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, entry) in report.entries.iter().enumerate() {
        let id = (entry.change.transaction_id, entry.change.action_id);
        match groups.iter_mut().find(|(other, _)| *other == id) {
            Some((_, indexes)) => indexes.push(index),
            None => groups.push((id, vec![index])),
        }
    }
    let mut sentences: Vec<(DateTime<Utc>, String)> = groups
        .iter()
        .filter_map(|(_, indexes)| {
            let first = &report.entries[*indexes.first()?];
            let changes: Vec<_> = indexes.iter().map(|&one| &evidence.changes[one]).collect();
            let entries: Vec<_> = indexes.iter().map(|&one| &report.entries[one]).collect();
            let text = group_sentence(first, &entries, &changes, zone);
            Some((first.change.captured_at, text))
        })
        .collect();
    let with_changes: BTreeSet<_> = report
        .entries
        .iter()
        .filter_map(|entry| entry.change.action_id)
        .collect();
    for action in &report.actions {
        if !with_changes.contains(&action.id) {
            sentences.push((action.recorded_at, action_sentence(action, zone)));
        }
    }
    sentences.sort_by_key(|(at, _)| *at);
    sentences.into_iter().map(|(_, text)| text).collect()
}

fn group_sentence(
    first: &TimelineEntry,
    entries: &[&TimelineEntry],
    changes: &[&ChangeEvidence<'_>],
    zone: Tz,
) -> String {
    let who = match (first.actor(), &first.transaction) {
        (Some(actor), _) => actor.to_string(),
        (None, Some(known)) => format!(
            "an unattributed session of the database user {}",
            known.db_user
        ),
        (None, None) => "an unknown session".to_owned(),
    };
    let behalf = first.on_behalf_of();
    let behalf = behalf.map_or(String::new(), |one| format!(", on behalf of {one},"));
    let shown = entries.len().min(SENTENCE_CHANGES);
    let mut acts: Vec<_> = entries
        .iter()
        .zip(changes)
        .take(shown)
        .map(|(entry, change)| change_words(entry, change))
        .collect();
    if entries.len() > shown {
        let rest = u64::try_from(entries.len() - shown).unwrap_or_default();
        acts.push(format!("made {}", count_of(rest, "more change")));
    }
    let why = first.action.as_ref().map_or(String::new(), reasons);
    format!(
        "{}: {who}{behalf} {}{why}.",
        time(first.change.captured_at, zone),
        acts.join("; ")
    )
}

fn change_words(entry: &TimelineEntry, evidence: &ChangeEvidence<'_>) -> String {
    let change = &entry.change;
    let table = TableName::new(&change.table_schema, &change.table_name);
    let verb = match change.op {
        Op::Insert => "inserted",
        Op::Update => "updated",
        Op::Delete => "deleted",
        Op::Truncate => return format!("truncated {table}"),
        _ => "recorded",
    };
    let fields: Vec<_> = evidence
        .fields
        .iter()
        .filter_map(|field| field_words(change.op, field))
        .collect();
    let row = format!("{verb} {table} {}", change.shown_key());
    if fields.is_empty() {
        return row;
    }
    let shown = fields.len().min(SENTENCE_FIELDS);
    let mut words = fields[..shown].join(", ");
    if fields.len() > shown {
        words = format!("{words} and {} more", fields.len() - shown);
    }
    format!("{row} ({words})")
}

fn field_words(op: Op, field: &FieldEvidence) -> Option<String> {
    let name = &field.field;
    let (Some(before), Some(after)) = (&field.before, &field.after) else {
        return Some(name.clone());
    };
    match op {
        Op::Update if *after == FieldState::Excluded => None,
        Op::Update if before == after => Some(format!("{name} changed")),
        Op::Update => Some(format!("{name} {} → {}", state(before), state(after))),
        Op::Delete => before.value().map(|_| format!("{name} {}", state(before))),
        _ => after.value().map(|_| format!("{name} {}", state(after))),
    }
}

fn state(state: &FieldState) -> String {
    let Some(value) = state.value() else {
        return state.as_str().to_owned();
    };
    let text = value.to_text();
    match text.char_indices().nth(VALUE_CHARS) {
        _ if text.is_empty() => "empty text".to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn action_sentence(action: &AuditAction, zone: Tz) -> String {
    let who = action.actor.as_ref();
    let who = who.map_or("an unknown actor".to_owned(), ToString::to_string);
    let what = if action.status == "error" {
        "tried and failed, without a change"
    } else {
        "acted without a change"
    };
    format!(
        "{}: {who} {what}{}.",
        time(action.recorded_at, zone),
        reasons(action)
    )
}

/// The action and why: `, under the action invoice.delete, reason duplicate, comment “…”`.
fn reasons(action: &AuditAction) -> String {
    let mut text = format!(", under the action {}", action.name);
    if let Some(reason) = &action.reason {
        text = format!("{text}, reason {reason}");
    }
    if let Some(comment) = &action.comment {
        text = format!("{text}, comment “{comment}”");
    }
    text
}

fn time(instant: DateTime<Utc>, zone: Tz) -> String {
    let local = instant.with_timezone(&zone);
    local.format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// What the report does not know, in sentences.
pub(crate) fn unknown(report: &Report, evidence: &Evidence<'_>) -> Vec<String> {
    let mut unknown = Vec::new();
    let count = |test: fn(&TimelineEntry) -> bool| {
        let number = report.entries.iter().filter(|entry| test(entry)).count();
        u64::try_from(number).unwrap_or_default()
    };
    let unattributed = count(|entry| entry.actor().is_none());
    if unattributed > 0 {
        unknown.push(format!(
            "{} without an actor: the application did not name one.",
            count_of(unattributed, "change")
        ));
    }
    let without_transaction = count(|entry| entry.transaction.is_none());
    if without_transaction > 0 {
        unknown.push(format!(
            "Request, session and time of {} are not known: retention removed the transaction.",
            count_of(without_transaction, "change")
        ));
    }
    let odd = count(|entry| {
        (entry.transaction.as_ref()).is_some_and(|one| one.context.context_error.is_some())
    });
    if odd > 0 {
        unknown.push(format!(
            "The application sent an invalid context with {}.",
            count_of(odd, "change")
        ));
    }
    let mut hidden = BTreeSet::new();
    for (entry, change) in report.entries.iter().zip(&evidence.changes) {
        let table = TableName::new(&entry.change.table_schema, &entry.change.table_name);
        for field in &change.fields {
            for state in [&field.before, &field.after].into_iter().flatten() {
                if matches!(state, FieldState::Masked | FieldState::Excluded) {
                    hidden.insert(format!("{table}.{} ({})", field.field, state.as_str()));
                }
            }
        }
    }
    if !hidden.is_empty() {
        let hidden: Vec<_> = hidden.into_iter().collect();
        unknown.push(format!(
            "Values that the trail does not have: {}.",
            hidden.join(", ")
        ));
    }
    unknown.push(
        "Actor, request, correlation and reason are what the application said; the changes, their times \
         and the database user are recorded by PostgreSQL."
            .to_owned(),
    );
    unknown
}
