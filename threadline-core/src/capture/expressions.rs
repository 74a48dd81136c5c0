//! SQL expressions over the columns of a row: images, keys and comparisons.

use std::collections::BTreeSet;

use crate::column_type::{ColumnType, Comparison, Rendering, SessionSetting};
use crate::identifier::{is_plain_identifier, quote_identifier, quote_literal};
use crate::storage::STORAGE_SCHEMA;
use crate::table::{AuditedTable, Column, ColumnRule};

/// `jsonb_build_object` takes at most 100 arguments.
const MAX_PAIRS: usize = 50;

/// The SQL expressions that store a row: in generated functions, and in statements that record rows which
/// no trigger captured.
///
/// They require `search_path = pg_catalog, pg_temp` and the [canonical
/// settings](RowExpressions::settings).
#[derive(Debug, Clone, Copy)]
pub struct RowExpressions<'a> {
    table: &'a AuditedTable,
    row: &'a str,
}

impl<'a> RowExpressions<'a> {
    /// The expressions over a row. `row` is its name in the SQL: an alias, `OLD` or `NEW`.
    #[must_use]
    pub fn new(table: &'a AuditedTable, row: &'a str) -> Self {
        Self { table, row }
    }

    /// The expression of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> String {
        // After a dot, reserved words need no quotes.
        if is_plain_identifier(name) {
            format!("{}.{name}", self.row)
        } else {
            format!("{}.{}", self.row, quote_identifier(name))
        }
    }

    /// The expression of the image: a `jsonb` object of the stored columns, one line for each, indented by
    /// `spaces`.
    #[must_use]
    pub fn image(&self, spaces: usize) -> String {
        let pad = " ".repeat(spaces);
        let stored: Vec<_> = self.table.stored_columns().collect();
        let calls: Vec<_> = stored
            .chunks(MAX_PAIRS)
            .map(|columns| {
                let pairs: Vec<_> = columns
                    .iter()
                    .map(|column| format!("{pad}    {}", self.pair(column)))
                    .collect();
                format!("jsonb_build_object(\n{}\n{pad})", pairs.join(",\n"))
            })
            .collect();
        calls.join(" || ")
    }

    /// The name of a column and the expression of its stored value.
    pub(super) fn pair(&self, column: &Column) -> String {
        format!("{}, {}", quote_literal(&column.name), self.stored(column))
    }

    fn stored(&self, column: &Column) -> String {
        let value = self.column(&column.name);
        let placeholder = quote_literal(self.table.mask_with());
        match column.rule {
            ColumnRule::Mask => return placeholder,
            // `IS NULL` is also true for a composite value whose fields are all null.
            ColumnRule::MaskKeepNull => {
                return format!("CASE WHEN {value} IS DISTINCT FROM NULL THEN {placeholder} END");
            }
            _ => {}
        }
        // JSON has no -0 and no array bounds, and jsonb does not preserve json documents.
        match column.column_type.rendering() {
            Rendering::Native => value,
            Rendering::Text => format!("{value}::text"),
            Rendering::Float => format!(
                "CASE WHEN {value}::text = '-0' THEN to_jsonb({value}::text) ELSE to_jsonb({value}) END"
            ),
            Rendering::Array => format!(
                "CASE WHEN array_dims({value}) ~ '[[](?!1:)' \
                 THEN to_jsonb({value}::text) ELSE to_jsonb({value}) END"
            ),
            Rendering::FloatArray => format!(
                "CASE WHEN array_dims({value}) ~ '[[](?!1:)' OR {value}::text ~ '[{{,]-0[,}}]' \
                 THEN to_jsonb({value}::text) ELSE to_jsonb({value}) END"
            ),
        }
    }

    /// The expression of `table_pk`: column to value as text; none for a table without a key.
    #[must_use]
    pub fn table_pk(&self) -> Option<String> {
        let pairs: Vec<_> = self
            .table
            .key_columns()
            .map(|column| {
                let value = self.column(&column.name);
                format!("{}, {value}::text", quote_literal(&column.name))
            })
            .collect();
        (!pairs.is_empty()).then(|| format!("jsonb_build_object({})", pairs.join(", ")))
    }

    /// The expression of the row key; none for a table without a key.
    #[must_use]
    pub fn row_key(&self) -> Option<String> {
        let columns: Vec<_> = self.table.key_columns().collect();
        let values: Vec<_> = columns
            .iter()
            .map(|column| format!("{}::text", self.column(&column.name)))
            .collect();
        let is_short = !columns
            .iter()
            .any(|column| column.column_type.is_unbounded());
        match values.as_slice() {
            [] => None,
            [value] if is_short => Some(value.clone()),
            values if is_short && values.len() < 6 => {
                Some(format!("jsonb_build_array({})::text", values.join(", ")))
            }
            values => Some(format!("{STORAGE_SCHEMA}.row_key({})", values.join(", "))),
        }
    }

    /// The session settings that affect the values of these expressions, with their canonical values.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, &'static str)> {
        settings(self.table)
            .into_iter()
            .map(SessionSetting::canonical)
            .collect()
    }
}

/// The condition that a column differs between `OLD` and `NEW`, also in values that are equal by `=`.
pub(super) fn differs(table: &AuditedTable, column: &Column) -> String {
    let old = RowExpressions::new(table, "OLD").column(&column.name);
    let new = RowExpressions::new(table, "NEW").column(&column.name);
    match column.column_type.comparison() {
        Comparison::Operator => format!("{old} IS DISTINCT FROM {new}"),
        Comparison::Bytewise => {
            format!(r#"{old} COLLATE "C" IS DISTINCT FROM {new} COLLATE "C""#)
        }
        Comparison::Image => format!("ROW({old})::record *<> ROW({new})::record"),
    }
}

fn settings(table: &AuditedTable) -> BTreeSet<SessionSetting> {
    let mut settings: BTreeSet<_> = table
        .stored_columns()
        .flat_map(|column| column.column_type.session_settings())
        .collect();
    for key in table.key_columns() {
        if let ColumnType::Builtin(name) = &key.column_type
            && matches!(name.as_str(), "date" | "timestamp" | "timestamptz")
        {
            settings.insert(SessionSetting::DateStyle);
        }
    }
    settings
}
