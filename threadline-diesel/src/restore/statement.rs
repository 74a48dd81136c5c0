//! The SQL of one restored row.

use std::collections::BTreeMap;

use threadline_core::identifier::{quote_identifier, quote_literal};

use super::catalog::{ColumnInfo, ColumnKind, TableInfo};
use super::plan::{MissingColumn, MissingEffect};
use crate::json::StoredJson;
use crate::query::{IncompatibleValue, UnknownReason};

/// In place of a value that a person has to fill in. A comment alone is a syntax error there.
const VALUE_NEEDED: &str = "/* value needed */";

/// The columns of an image that can be restored, and those that cannot.
#[derive(Debug)]
pub(super) struct ImageColumns<'a> {
    pub(super) known: Vec<&'a ColumnInfo>,
    pub(super) unknown: Vec<(&'a ColumnInfo, UnknownReason)>,
    pub(super) incompatible: BTreeMap<String, IncompatibleValue>,
    pub(super) generated: Vec<String>,
}

impl<'a> ImageColumns<'a> {
    pub(super) fn new(table: &'a TableInfo, image: &StoredJson) -> Self {
        let fields = image.fields();
        let mut columns = Self {
            known: Vec::new(),
            unknown: Vec::new(),
            incompatible: BTreeMap::new(),
            generated: Vec::new(),
        };
        for column in &table.columns {
            let stored = fields.iter().find(|(name, _)| *name == column.name);
            let reason = table.unknown_reason(column, stored.map(|(_, value)| value));
            match reason {
                _ if column.kind == ColumnKind::Generated => {
                    columns.generated.push(column.name.clone());
                }
                Some(reason) => columns.unknown.push((column, reason)),
                None => columns.known.push(column),
            }
        }
        columns
    }

    pub(super) fn known_names(&self) -> Vec<String> {
        let names = self.known.iter().map(|column| column.name.clone());
        names.collect()
    }

    /// Moves the columns whose stored values their types reject to the unknown ones.
    pub(super) fn reject(&mut self, incompatible: BTreeMap<String, IncompatibleValue>) {
        let (rejected, known): (Vec<&ColumnInfo>, _) =
            (self.known.iter()).partition(|column| incompatible.contains_key(&column.name));
        self.known = known;
        let rejected = rejected.into_iter();
        self.unknown
            .extend(rejected.map(|column| (column, UnknownReason::Incompatible)));
        self.incompatible = incompatible;
    }

    /// The unknown columns, with the effect of an insert on them.
    pub(super) fn missing_in_insert(&self) -> Vec<MissingColumn> {
        self.missing(|column| match column {
            column if column.has_default => MissingEffect::Default,
            column if column.is_not_null => MissingEffect::ValueNeeded,
            _ => MissingEffect::Null,
        })
    }

    /// The unknown columns, which an update does not change.
    pub(super) fn missing_in_update(&self) -> Vec<MissingColumn> {
        self.missing(|_| MissingEffect::Unchanged)
    }

    fn missing(&self, effect: impl Fn(&ColumnInfo) -> MissingEffect) -> Vec<MissingColumn> {
        let missing = self.unknown.iter().map(|(column, reason)| MissingColumn {
            column: column.name.clone(),
            reason: *reason,
            incompatible: self.incompatible.get(&column.name).cloned(),
            effect: effect(column),
        });
        missing.collect()
    }
}

/// A value as a literal of the column's type.
pub(super) fn typed_literal(value: Option<&str>, type_name: &str) -> String {
    match value {
        Some(text) => format!("{}::{type_name}", quote_literal(text)),
        None => "NULL".to_owned(),
    }
}

/// The expression of a column's value as text by its output function; null for NULL.
pub(super) fn text_of(alias: &str, column: &ColumnInfo) -> String {
    // `IS NULL` is also true for a composite value whose fields are all null.
    let value = format!("{alias}.{}", quote_identifier(&column.name));
    format!("CASE WHEN {value} IS DISTINCT FROM NULL THEN pg_catalog.format('%s', {value}) END")
}

/// The insert of a row. `values` are those of the known columns, in their order.
pub(super) fn insert(
    table: &TableInfo,
    columns: &ImageColumns<'_>,
    values: &[Option<String>],
) -> String {
    let known = columns.known.iter().zip(values).map(|(column, value)| {
        let literal = typed_literal(value.as_deref(), &column.type_name);
        (quote_identifier(&column.name), literal)
    });
    let needed = columns
        .missing_in_insert()
        .into_iter()
        .filter(|missing| missing.effect == MissingEffect::ValueNeeded)
        .map(|missing| (quote_identifier(&missing.column), VALUE_NEEDED.to_owned()));
    let (names, values): (Vec<_>, Vec<_>) = known.chain(needed).unzip();
    let needs_override = columns
        .known
        .iter()
        .any(|column| column.kind == ColumnKind::AlwaysIdentity);
    format!(
        "INSERT INTO {} (\n    {}\n)\n{}VALUES (\n    {}\n)",
        table.name.quoted(),
        names.join(",\n    "),
        if needs_override {
            "OVERRIDING SYSTEM VALUE\n"
        } else {
            ""
        },
        values.join(",\n    "),
    )
}

/// The update of the columns whose values differ; none if no value does.
pub(super) fn update(
    table: &TableInfo,
    columns: &ImageColumns<'_>,
    values: &[Option<String>],
    present: &[Option<String>],
    condition: &str,
) -> Option<String> {
    let settings: Vec<_> = columns
        .known
        .iter()
        .zip(values.iter().zip(present))
        .filter(|(_, (value, present))| value != present)
        .map(|(column, (value, _))| {
            let literal = typed_literal(value.as_deref(), &column.type_name);
            format!("{} = {literal}", quote_identifier(&column.name))
        })
        .collect();
    if settings.is_empty() {
        return None;
    }
    Some(format!(
        "UPDATE {}\nSET {}\nWHERE {condition}",
        table.name.quoted(),
        settings.join(",\n    "),
    ))
}
