//! Diffs: the differences that a change made, by field.

mod document;
mod rows;
mod sequence;
mod show;
mod state;
mod text;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use threadline_core::column_type::ColumnType;
use threadline_core::table::{AuditedTable, Column, ColumnRule};
use uuid::Uuid;

pub use self::document::{JsonDiff, JsonEdit};
pub use self::rows::RowDiff;
pub use self::state::FieldState;
pub use self::text::{Hunk, Line, LineKind, TextDiff};
use crate::json::StoredJson;
use crate::models::{AuditChange, Op};

/// The version of the JSON document. It is incremented when a field changes its meaning or is removed, not
/// when fields or states are added.
pub const DIFF_SCHEMA_VERSION: u32 = 1;

/// The length above which texts are compared line by line.
const LONG_TEXT_CHARS: usize = 120;

/// The value that capture stores for a changed column without a rule.
const UNCLASSIFIED: &str = "[UNCLASSIFIED]";

/// A key: column name to value as text.
pub type KeyValues = BTreeMap<String, String>;

/// A diff was applied to another value than the one it was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the diff does not match the value: apply it to the value that it was made from")]
pub struct DiffMismatch;

/// The differences that a change made, by field.
///
/// ```no_run
/// # fn example(change: &threadline_diesel::AuditChange) {
/// use threadline_diesel::query::diff::ChangeDiff;
///
/// let diff = ChangeDiff::of(change);
/// println!("{diff}");
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangeDiff {
    /// The version of the document: [`DIFF_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The id of the change, in the order of capture.
    pub id: i64,
    /// The operation.
    pub op: Op,
    /// The table's schema.
    pub table_schema: String,
    /// The table's name.
    pub table_name: String,
    /// The key before the change, column name to value as text; none if there was no row, or its key is
    /// not known.
    pub key_before: Option<KeyValues>,
    /// The key after the change; none if the row was removed.
    pub key_after: Option<KeyValues>,
    /// When the change was captured.
    pub captured_at: DateTime<Utc>,
    /// The database transaction that made the change.
    pub transaction_id: Uuid,
    /// The action in force.
    pub action_id: Option<Uuid>,
    /// The partition, if a truncate emptied one partition only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_name: Option<String>,
    /// Whether redaction rules were applied to the states of fields.
    pub rules: RulesSource,
    /// The fields, sorted by name: of an update those that changed, otherwise those of the row. With rules,
    /// excluded columns are included.
    pub fields: Vec<FieldDiff>,
}

/// Whether redaction rules were applied to the states of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RulesSource {
    /// Rules were given: masked and excluded columns have their own states.
    Declared,
    /// No rules were given: a placeholder is shown as a value, and excluded columns are not shown.
    Unknown,
}

/// A field of a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FieldDiff {
    /// The name of the column.
    pub field: String,
    /// The state before the change.
    pub before: FieldState,
    /// The state after the change.
    pub after: FieldState,
    /// The differences within a JSON document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonDiff>,
    /// The differences within a long text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextDiff>,
}

impl ChangeDiff {
    /// The diff of a change without redaction rules.
    #[must_use]
    pub fn of(change: &AuditChange) -> Self {
        Images::new(change, None).diff(change)
    }

    /// The diff of a change with the redaction rules of its table: as declared
    /// ([`registry`](threadline_core::registry), [`Audited`](threadline_core::Audited)) or as deployed
    /// (`threadline_diesel::deployed_tables`). A change does not contain the rules under which it was
    /// captured; a stored value is shown as it is.
    ///
    /// The rules of a table with another name are ignored.
    #[must_use]
    pub fn with_rules(change: &AuditChange, table: &AuditedTable) -> Self {
        let is_same_table = table.name().schema() == change.table_schema
            && table.name().name() == change.table_name;
        Images::new(change, is_same_table.then_some(table)).diff(change)
    }

    /// The diff of a change with the rules of its table, if that is one of `tables`.
    #[must_use]
    pub fn with_rules_among(change: &AuditChange, tables: &[AuditedTable]) -> Self {
        tables
            .iter()
            .find(|table| {
                table.name().schema() == change.table_schema
                    && table.name().name() == change.table_name
            })
            .map_or_else(|| Self::of(change), |table| Self::with_rules(change, table))
    }

    /// As [`with_rules_among`](Self::with_rules_among), without the differences within documents and texts.
    #[must_use]
    pub fn of_values(change: &AuditChange, tables: &[AuditedTable]) -> Self {
        let table = tables.iter().find(|table| {
            table.name().schema() == change.table_schema && table.name().name() == change.table_name
        });
        let images = Images::new(change, table);
        Images {
            with_details: false,
            ..images
        }
        .diff(change)
    }

    /// The diff of a field; none if the diff does not have the field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&FieldDiff> {
        self.fields.iter().find(|field| field.field == name)
    }
}

/// The images of a row before and after, with the rules of its table.
struct Images<'a> {
    op: Op,
    table: Option<&'a AuditedTable>,
    before: BTreeMap<String, StoredJson>,
    after: BTreeMap<String, StoredJson>,
    with_details: bool,
}

impl<'a> Images<'a> {
    fn new(change: &AuditChange, table: Option<&'a AuditedTable>) -> Self {
        Self {
            op: change.op,
            table,
            before: image_fields(change.changed_from.as_ref()),
            after: image_fields(change.data_after.as_ref()),
            with_details: true,
        }
    }

    fn rules(&self) -> RulesSource {
        match self.table {
            Some(_) => RulesSource::Declared,
            None => RulesSource::Unknown,
        }
    }

    fn diff(&self, change: &AuditChange) -> ChangeDiff {
        let (key_before, key_after) = self.keys(change);
        ChangeDiff {
            schema_version: DIFF_SCHEMA_VERSION,
            id: change.id,
            op: change.op,
            table_schema: change.table_schema.clone(),
            table_name: change.table_name.clone(),
            key_before,
            key_after,
            captured_at: change.captured_at,
            transaction_id: change.transaction_id,
            action_id: change.action_id,
            partition_name: change.partition_name.clone(),
            rules: self.rules(),
            fields: self
                .names()
                .into_iter()
                .map(|name| self.field(name))
                .collect(),
        }
    }

    /// The key before and after.
    fn keys(&self, change: &AuditChange) -> (Option<KeyValues>, Option<KeyValues>) {
        let stored: Option<KeyValues> = change.table_pk.as_ref().map(|key| {
            key.fields()
                .into_iter()
                .map(|(name, value)| (name, value.to_text()))
                .collect()
        });
        match self.op {
            Op::Insert | Op::Baseline => (None, stored),
            Op::Delete => (stored, None),
            Op::Update => {
                let before = stored.clone().map(|key| {
                    key.into_iter()
                        .map(|(name, value)| {
                            let old = self.before.get(&name).map(StoredJson::to_text);
                            (name, old.unwrap_or(value))
                        })
                        .collect()
                });
                (before, stored)
            }
            Op::Truncate | Op::Other => (None, None),
        }
    }

    /// The names of the fields of the diff.
    fn names(&self) -> Vec<&str> {
        if self.op == Op::Truncate {
            return Vec::new();
        }
        let stored = match self.op {
            Op::Update if !self.before.is_empty() => &self.before,
            Op::Delete => &self.before,
            _ => &self.after,
        };
        let declared = self
            .table
            .into_iter()
            .flat_map(AuditedTable::columns)
            // An update stores its changed columns; of the others only excluded ones are listed.
            .filter(|column| self.op != Op::Update || column.rule == ColumnRule::Exclude)
            .map(|column| column.name.as_str());
        let mut names: Vec<_> = stored.keys().map(String::as_str).chain(declared).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn field(&self, name: &str) -> FieldDiff {
        let (before, after) = self.states(name);
        let (json, text) = match (before.value(), after.value()) {
            (Some(before), Some(after)) if self.with_details => self.details(name, before, after),
            _ => (None, None),
        };
        FieldDiff {
            field: name.to_owned(),
            before,
            after,
            json,
            text,
        }
    }

    fn states(&self, name: &str) -> (FieldState, FieldState) {
        let before = |missing| self.state(name, self.before.get(name), missing);
        let after = |missing| self.state(name, self.after.get(name), missing);
        match self.op {
            Op::Insert => (FieldState::Absent, after(FieldState::Absent)),
            // The row existed before, with unknown values.
            Op::Baseline => (FieldState::Unknown, after(FieldState::Absent)),
            Op::Delete => (before(FieldState::Absent), FieldState::Absent),
            Op::Update if self.is_unclassified(name) => (FieldState::Unknown, FieldState::Unknown),
            Op::Update => (before(FieldState::Unknown), after(FieldState::Unknown)),
            Op::Truncate => (FieldState::Unknown, FieldState::Absent),
            Op::Other => (FieldState::Unknown, after(FieldState::Unknown)),
        }
    }

    /// The state of a stored value; `missing` if there is none.
    fn state(&self, name: &str, stored: Option<&StoredJson>, missing: FieldState) -> FieldState {
        let rule = self.column(name).map(|column| column.rule);
        match (stored, rule) {
            (None, Some(ColumnRule::Exclude)) => FieldState::Excluded,
            (None, _) => missing,
            (Some(value), Some(rule)) if rule.is_masked() && self.is_placeholder(value) => {
                FieldState::Masked
            }
            (Some(value), _) => FieldState::from_stored(value),
        }
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.table?
            .columns()
            .iter()
            .find(|column| column.name == name)
    }

    fn is_placeholder(&self, value: &StoredJson) -> bool {
        self.table.is_some_and(|table| {
            value.as_str().starts_with('"') && value.to_text() == table.mask_with()
        })
    }

    /// Whether a changed column had no rule: capture then stores its name, but neither value.
    fn is_unclassified(&self, name: &str) -> bool {
        !self.after.contains_key(name)
            && self
                .before
                .get(name)
                .is_some_and(|value| value.to_text() == UNCLASSIFIED)
    }

    /// The differences within a JSON document or a long text.
    fn details(
        &self,
        name: &str,
        before: &StoredJson,
        after: &StoredJson,
    ) -> (Option<JsonDiff>, Option<TextDiff>) {
        let is_json = self
            .column(name)
            .is_some_and(|column| column.column_type == ColumnType::builtin("json"));
        // Documents of json columns are stored as text.
        let document = |value: &StoredJson| {
            if is_json {
                serde_json::from_str::<StoredJson>(&value.to_text()).ok()
            } else {
                Some(value.clone())
            }
        };
        if let (Some(old), Some(new)) = (document(before), document(after))
            && is_container(&old)
            && is_container(&new)
        {
            let diff = JsonDiff::between(&old, &new);
            // Documents that differ in white space only are compared as text.
            if !diff.edits.is_empty() {
                return (Some(diff), None);
            }
        }
        let text = |value: &StoredJson| value.read::<String>().ok();
        match (text(before), text(after)) {
            (Some(old), Some(new)) if is_long(&old) || is_long(&new) => {
                (None, Some(TextDiff::between(&old, &new)))
            }
            _ => (None, None),
        }
    }
}

fn image_fields(image: Option<&StoredJson>) -> BTreeMap<String, StoredJson> {
    image.into_iter().flat_map(StoredJson::fields).collect()
}

fn is_container(value: &StoredJson) -> bool {
    value.as_str().starts_with(['{', '['])
}

fn is_long(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n') || text.chars().count() > LONG_TEXT_CHARS
}
