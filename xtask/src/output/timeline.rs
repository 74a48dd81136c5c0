//! Timelines and histories on a terminal.

use comfy_table::{Cell, Color};
use threadline_diesel::json::StoredJson;
use threadline_diesel::query::RowMove;
use threadline_diesel::{AuditChange, Op, TimelineEntry};

use super::table::{
    actor_cell, coloured, keep_whole, new_table, show_actors, show_context, show_reason,
};
use super::text::{escape, show_instant};

/// The longest value in a table, in characters. JSON has the whole value.
const VALUE_CHARS: usize = 40;

/// A timeline as a table for people.
#[must_use]
pub fn show_timeline(entries: &[TimelineEntry]) -> String {
    show_history(entries, &[])
}

/// The history of a row as a table for people. A move between partitions, stored as a delete and an insert,
/// is one line.
pub(crate) fn show_history(entries: &[TimelineEntry], moves: &[RowMove]) -> String {
    let mut table = new_table();
    table.set_header(["when (UTC)", "change", "who", "action", "op", "row", "what"]);
    for entry in entries {
        let id = entry.change.id;
        if moves.iter().any(|one| one.left_id == id) {
            continue;
        }
        let (op, what) = match moves.iter().find(|one| one.arrived_id == id) {
            Some(one) => (
                coloured(Cell::new("moved"), Color::Blue),
                show_fields(&one.changed_from, entry.change.data_after.as_ref()),
            ),
            None => (op_cell(entry.change.op), show_change(&entry.change)),
        };
        table.add_row([
            Cell::new(show_instant(entry.change.captured_at)),
            Cell::new(entry.change.id),
            actor_cell(show_actors(entry.actor(), entry.on_behalf_of())),
            Cell::new(
                entry
                    .action
                    .as_ref()
                    .map_or_else(String::new, |action| escape(&action.name)),
            ),
            op,
            Cell::new(show_row(&entry.change)),
            Cell::new(what),
        ]);
    }
    keep_whole(&mut table, &[0, 1, 2, 3, 4]);
    table.to_string()
}

/// More of a timeline as a table without header.
pub(crate) fn show_more_of_timeline(entries: &[TimelineEntry]) -> String {
    let shown = show_timeline(entries);
    let below_the_header = shown
        .lines()
        .skip_while(|line| !line.starts_with('─'))
        .skip(1);
    below_the_header.collect::<Vec<_>>().join("\n")
}

/// The actor, action and context of a change on one line.
pub(crate) fn show_attribution(entry: &TimelineEntry) -> String {
    let mut text = format!(
        "by {}",
        show_actors(entry.actor(), entry.on_behalf_of()).replace('\n', " ")
    );
    if let Some(action) = &entry.action {
        text.push_str(" under ");
        text.push_str(&escape(&action.name));
        let reason = show_reason(action);
        if !reason.is_empty() {
            text.push_str(": ");
            text.push_str(&escape(&reason));
        }
    }
    let context = entry.transaction.as_ref().map(show_context);
    for id in context.iter().flat_map(|context| context.lines()) {
        text.push_str(", ");
        text.push_str(id);
    }
    text
}

fn op_cell(op: Op) -> Cell {
    let color = match op {
        Op::Insert => Color::Green,
        Op::Update => Color::Blue,
        Op::Delete | Op::Truncate => Color::Red,
        _ => return Cell::new(op),
    };
    coloured(Cell::new(op), color)
}

/// The table and the key of a changed row.
pub(crate) fn show_row(change: &AuditChange) -> String {
    let table = if change.table_schema == "public" {
        change.table_name.clone()
    } else {
        format!("{}.{}", change.table_schema, change.table_name)
    };
    match change.shown_key() {
        key if key.is_empty() => escape(&table),
        key => escape(&format!("{table} {key}")),
    }
}

/// The values of a change.
fn show_change(change: &AuditChange) -> String {
    match change.op {
        Op::Update => change
            .changed_from
            .as_ref()
            .map_or_else(String::new, |from| {
                show_fields(from, change.data_after.as_ref())
            }),
        Op::Truncate => "all rows".to_owned(),
        Op::Delete => show_image(change, change.changed_from.as_ref()),
        _ => show_image(change, change.data_after.as_ref()),
    }
}

/// The changed fields, one per line.
fn show_fields(from: &StoredJson, after: Option<&StoredJson>) -> String {
    let mut fields = from.fields();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
        .iter()
        .map(|(name, before)| {
            format!(
                "{}: {} → {}",
                escape(name),
                show_value(before),
                show_field(after, name)
            )
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The fields of an image that are not null and not part of the key.
fn show_image(change: &AuditChange, image: Option<&StoredJson>) -> String {
    let key = change.table_pk.as_ref();
    let is_key = |name: &str| key.is_some_and(|key| key.field(name).is_some());
    image
        .map(StoredJson::fields)
        .unwrap_or_default()
        .iter()
        .filter(|(name, value)| !value.is_null() && !is_key(name))
        .map(|(name, value)| format!("{}={}", escape(name), show_value(value)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A field of an image; `?` if the image does not have it.
pub(crate) fn show_field(image: Option<&StoredJson>, name: &str) -> String {
    image
        .and_then(|image| image.field(name))
        .map_or_else(|| "?".to_owned(), |value| show_value(&value))
}

/// A value on one line, cut to [`VALUE_CHARS`].
pub(crate) fn show_value(value: &StoredJson) -> String {
    let text = escape(&value.to_text());
    if text.chars().count() > VALUE_CHARS {
        let start: String = text.chars().take(VALUE_CHARS - 1).collect();
        format!("{start}…")
    } else {
        text
    }
}
