//! The records of an export for people: one for each field that a change set.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;
use threadline_core::table::{AuditedTable, TableName};
use threadline_diesel::json::StoredJson;
use threadline_diesel::query::diff::{ChangeDiff, FieldDiff, FieldState};
use threadline_diesel::{Op, TimelineEntry};

use crate::record::{as_instant, instant};

/// The columns of exports with [`Layout::Fields`](crate::Layout::Fields), in order.
pub const FIELD_COLUMNS: [&str; 11] = [
    "when",
    "who",
    "action",
    "reason",
    "table",
    "row",
    "field",
    "before",
    "after",
    "op",
    "change_id",
];

/// A field that a change set. Its fields are in the order of [`FIELD_COLUMNS`].
#[derive(Debug, Serialize)]
pub(crate) struct FieldRecord<'a> {
    #[serde(serialize_with = "as_instant")]
    when: DateTime<Utc>,
    who: &'a str,
    action: Option<&'a str>,
    reason: Option<&'a str>,
    table: &'a str,
    row: Option<&'a str>,
    field: Option<&'a str>,
    before: Option<String>,
    after: Option<String>,
    op: Op,
    change_id: i64,
}

impl FieldRecord<'_> {
    /// The values as text, in the order of the columns; `None` for an empty field.
    pub(crate) fn texts(&self) -> [Option<Cow<'_, str>>; FIELD_COLUMNS.len()] {
        [
            Some(Cow::Owned(instant(self.when))),
            Some(Cow::Borrowed(self.who)),
            self.action.map(Cow::Borrowed),
            self.reason.map(Cow::Borrowed),
            Some(Cow::Borrowed(self.table)),
            self.row.map(Cow::Borrowed),
            self.field.map(Cow::Borrowed),
            self.before.as_deref().map(Cow::Borrowed),
            self.after.as_deref().map(Cow::Borrowed),
            Some(Cow::Borrowed(self.op.as_str())),
            Some(Cow::Owned(self.change_id.to_string())),
        ]
    }
}

/// Calls `write` with the record of each field that a change set, in the order of their names; once,
/// without a field, for a change that set none, such as a truncate.
///
/// `tables` are the deployed declarations, which tell masked and excluded columns.
pub(crate) fn write_fields<E>(
    entry: &TimelineEntry,
    tables: &[AuditedTable],
    mut write: impl FnMut(&FieldRecord<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let change = &entry.change;
    let diff = ChangeDiff::of_values(change, tables);
    let table = TableName::new(&change.table_schema, &change.table_name).to_string();
    let (who, row) = (describe_actor(entry), change.shown_key());
    let action = entry.action.as_ref();
    let record = |field: Option<&FieldDiff>| FieldRecord {
        when: change.captured_at,
        who: &who,
        action: action.map(|action| action.name.as_str()),
        reason: action.and_then(|action| action.reason.as_deref()),
        table: &table,
        row: Some(row.as_str()).filter(|row| !row.is_empty()),
        field: None,
        before: field.and_then(|field| describe_state(&field.before)),
        after: field.and_then(|field| describe_state(&field.after)),
        op: change.op,
        change_id: change.id,
    };
    let mut has_field = false;
    for field in diff.fields.iter().filter(|field| is_set(change.op, field)) {
        has_field = true;
        write(&FieldRecord {
            field: Some(&field.field),
            ..record(Some(field))
        })?;
    }
    if has_field {
        return Ok(());
    }
    write(&record(None))
}

/// Whether a change gets a record for a field: an insert or delete if the row had a value, an update if it
/// is recorded as changed. Whether an update changed an excluded column is not recorded.
fn is_set(op: Op, field: &FieldDiff) -> bool {
    let has_value = |state: &FieldState| !matches!(state, FieldState::Null | FieldState::Absent);
    match op {
        Op::Insert | Op::Baseline => has_value(&field.after),
        Op::Delete => has_value(&field.before),
        _ => field.before != FieldState::Excluded,
    }
}

/// The actor, and whom it represents; for an unattributed change the database user.
fn describe_actor(entry: &TimelineEntry) -> String {
    let Some(actor) = entry.actor() else {
        let user = entry.transaction.as_ref().map(|found| &found.db_user);
        return user.map_or_else(
            || "(unattributed)".to_owned(),
            |user| format!("(unattributed: database user {user})"),
        );
    };
    match entry.on_behalf_of() {
        Some(represented) => format!("{actor} on behalf of {represented}"),
        None => actor.to_string(),
    }
}

/// A state as text; none where there was no row. A value that is not known is named in parentheses.
fn describe_state(state: &FieldState) -> Option<String> {
    match state {
        FieldState::Absent => None,
        FieldState::Value(value) => Some(describe_value(value)),
        other => Some(format!("({})", other.as_str())),
    }
}

/// A value as text. A text in parentheses is quoted as in JSON, so that it is not taken for a state.
fn describe_value(value: &StoredJson) -> String {
    let text = value.to_text();
    let size = text
        .strip_prefix("[TOO LARGE: ")
        .and_then(|size| size.strip_suffix(']'));
    match (text.as_str(), size) {
        ("[ERASED]", _) => "(erased)".to_owned(),
        (_, Some(size)) => format!("(too large: {size})"),
        (text, _) if text.starts_with('(') && text.ends_with(')') => value.as_str().to_owned(),
        _ => text,
    }
}
