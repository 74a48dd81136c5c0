//! Timelines and histories on a terminal.

use threadline_diesel::json::StoredJson;
use threadline_diesel::query::{ColumnName, RowMove};
use threadline_diesel::{AuditChange, Op, TimelineEntry};

use super::list::{Color, Column, ListEntry, Text, show_list};
use super::table::{
    actor_cell, instant_cells, instant_columns, instant_head, show_context, show_reason,
};
use super::text::escape;

/// The longest value in a list, in characters. JSON has the whole value.
const VALUE_CHARS: usize = 40;

/// The number of fields of an insert or delete in a list. `diff` and JSON have all.
const IMAGE_FIELDS: usize = 6;

/// A timeline as a list for people: a table, or stacked on a narrow terminal.
#[must_use]
pub fn show_timeline(entries: &[TimelineEntry]) -> String {
    show_history(entries, &[], None)
}

/// The history of a row as a list for people. A move between partitions, stored as a delete and an insert,
/// is one entry. With a field, only its values are shown.
pub(crate) fn show_history(
    entries: &[TimelineEntry],
    moves: &[RowMove],
    field: Option<&ColumnName>,
) -> String {
    let columns = [
        instant_columns("when"),
        vec![
            Column::whole("change"),
            Column::wrapped("who"),
            Column::wrapped("action"),
            Column::whole("op"),
            Column::wrapped("row"),
            Column::wrapped("what"),
        ],
    ];
    let shown: Vec<_> = entries
        .iter()
        .filter(|entry| moves.iter().all(|one| one.left_id != entry.change.id))
        .map(|entry| list_entry(entry, moves, field))
        .collect();
    show_list(&columns.concat(), &shown)
}

fn list_entry(entry: &TimelineEntry, moves: &[RowMove], field: Option<&ColumnName>) -> ListEntry {
    let change = &entry.change;
    let (op, what) = match moves.iter().find(|one| one.arrived_id == change.id) {
        Some(one) => (
            Text::colored("moved", Color::Blue),
            show_fields(&one.changed_from, change.data_after.as_ref(), field),
        ),
        None => (op_text(change.op), show_change(change, field)),
    };
    let who = actor_cell(
        entry.actor(),
        entry.on_behalf_of(),
        entry.transaction.as_ref(),
    );
    let action = entry.action.as_ref();
    let action = Text::from(action.map_or_else(String::new, |action| escape(&action.name)));
    let row = Text::from(show_row(change));
    let mut cells = instant_cells(change.captured_at);
    cells.extend([
        change.id.to_string().into(),
        who.clone(),
        action.clone(),
        op.clone(),
        row.clone(),
        what.join("\n").into(),
    ]);
    ListEntry {
        rows: vec![cells],
        head: vec![
            instant_head(change.captured_at),
            who.on_one_line(),
            action,
            op,
            row,
            format!("change {}", change.id).into(),
        ],
        details: what,
    }
}

/// The actor, action and context of a change on one line.
pub(crate) fn show_attribution(entry: &TimelineEntry) -> String {
    let who = actor_cell(
        entry.actor(),
        entry.on_behalf_of(),
        entry.transaction.as_ref(),
    );
    let mut text = format!("by {}", who.on_one_line().as_str());
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

pub(crate) fn op_text(op: Op) -> Text {
    match op {
        Op::Insert => Text::colored(op.as_str(), Color::Green),
        Op::Update => Text::colored(op.as_str(), Color::Blue),
        Op::Delete | Op::Truncate => Text::colored(op.as_str(), Color::Red),
        _ => Text::from(op.as_str()),
    }
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

/// The values of a change in lines: each changed field of an update; of an insert or delete the first
/// fields.
fn show_change(change: &AuditChange, field: Option<&ColumnName>) -> Vec<String> {
    let image = match change.op {
        Op::Update => {
            let from = change.changed_from.as_ref();
            return from.map_or_else(Vec::new, |from| {
                show_fields(from, change.data_after.as_ref(), field)
            });
        }
        Op::Truncate => return vec!["all rows".to_owned()],
        Op::Delete => change.changed_from.as_ref(),
        _ => change.data_after.as_ref(),
    };
    let shown = match field {
        Some(field) => format!(
            "{}={}",
            escape(field.as_str()),
            show_field(image, field.as_str())
        ),
        None => show_image(change, image),
    };
    Some(shown)
        .filter(|shown| !shown.is_empty())
        .into_iter()
        .collect()
}

/// The changed fields, one per line; only `field` if there is one.
fn show_fields(
    from: &StoredJson,
    after: Option<&StoredJson>,
    field: Option<&ColumnName>,
) -> Vec<String> {
    let mut fields = from.fields();
    fields.retain(|(name, _)| field.is_none_or(|field| field.as_str() == name));
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
        .collect()
}

/// The first fields of an image that are not null and not part of the key, and the number of the others.
fn show_image(change: &AuditChange, image: Option<&StoredJson>) -> String {
    let key = change.table_pk.as_ref();
    let is_key = |name: &str| key.is_some_and(|key| key.field(name).is_some());
    let mut fields = image.map(StoredJson::fields).unwrap_or_default();
    fields.retain(|(name, value)| !value.is_null() && !is_key(name));
    let mut shown: Vec<_> = fields
        .iter()
        .take(IMAGE_FIELDS)
        .map(|(name, value)| format!("{}={}", escape(name), show_value(value)))
        .collect();
    match fields.len().saturating_sub(IMAGE_FIELDS) {
        0 => {}
        1 => shown.push("… 1 more field".to_owned()),
        more => shown.push(format!("… {more} more fields")),
    }
    shown.join(", ")
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
