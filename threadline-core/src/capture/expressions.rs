//! Expressions over the columns of a table, for a row called `NEW`, `OLD` or `r`.

use std::collections::BTreeSet;

use super::image::clear_value;
use crate::column_type::{ColumnType, SessionSetting};
use crate::identifier::{quote_identifier, quote_literal};
use crate::storage::STORAGE_SCHEMA;
use crate::table::{AuditedTable, Column, ColumnRule};

/// Longer keys are replaced by a digest; `row_key` in `sql/install` has the same number.
const MAX_KEY_BYTES: usize = 512;

pub(super) fn reference(row: &str, column: &Column) -> String {
    format!("{row}.{}", quote_identifier(&column.name))
}

/// A key column's value as text: what `data_after ->> 'column'` gives.
fn key_text(column: &Column, row: &str) -> String {
    let value = reference(row, column);
    match &column.column_type {
        ColumnType::Builtin(name)
            if matches!(
                name.as_str(),
                "int2" | "int4" | "int8" | "uuid" | "text" | "varchar" | "json"
            ) =>
        {
            format!("{value}::pg_catalog.text")
        }
        ColumnType::Other(_) => format!("{value}::pg_catalog.text"),
        _ => format!(
            "(pg_catalog.to_jsonb({}) OPERATOR(pg_catalog.#>>) '{{}}')",
            clear_value(column, row)
        ),
    }
}

/// The key as `jsonb`: column name to value as text.
pub(super) fn table_pk(table: &AuditedTable, row: &str) -> String {
    let pairs: Vec<_> = table
        .key_columns()
        .map(|column| format!("{}, {}", quote_literal(&column.name), key_text(column, row)))
        .collect();
    if pairs.is_empty() {
        return "NULL::pg_catalog.jsonb".to_owned();
    }
    format!("pg_catalog.jsonb_build_object({})", pairs.join(", "))
}

/// The key as one text for the index: of several columns, their values by the columns' names, so
/// that the text does not depend on the order in which a key was declared.
pub(super) fn row_key(table: &AuditedTable, row: &str) -> String {
    let mut columns: Vec<_> = table.key_columns().collect();
    columns.sort_by(|a, b| a.name.cmp(&b.name));
    let parts: Vec<_> = columns.iter().map(|column| key_text(column, row)).collect();
    let digested = format!("\"{STORAGE_SCHEMA}\".row_key({})", parts.join(", "));
    match (columns.as_slice(), parts.as_slice()) {
        ([], _) => "NULL::pg_catalog.text".to_owned(),
        ([column], [part]) if !column.column_type.is_unbounded() => part.clone(),
        ([_], [part]) => format!(
            "CASE WHEN pg_catalog.octet_length({part}) OPERATOR(pg_catalog.<=) {MAX_KEY_BYTES} \
             THEN {part} ELSE {digested} END"
        ),
        _ if columns
            .iter()
            .any(|column| column.column_type.is_unbounded()) =>
        {
            digested
        }
        _ => format!(
            "pg_catalog.jsonb_build_array({})::pg_catalog.text",
            parts.join(", ")
        ),
    }
}

/// The condition under which the session's settings would show in stored values, if any column's
/// type depends on one.
pub(super) fn session_is_unusual(table: &AuditedTable) -> Option<String> {
    let settings: BTreeSet<_> = table
        .stored_columns()
        .filter(|column| column.rule == ColumnRule::Clear)
        .flat_map(|column| column.column_type.session_settings())
        .collect();
    let usual: Vec<_> = settings
        .into_iter()
        .map(|setting| match setting {
            SessionSetting::ByteaOutput => equals("bytea_output", "hex"),
            SessionSetting::DateStyle => {
                "pg_catalog.starts_with(pg_catalog.current_setting('DateStyle'), 'ISO')".to_owned()
            }
            SessionSetting::ExtraFloatDigits => {
                "pg_catalog.current_setting('extra_float_digits')::pg_catalog.int4 \
                 OPERATOR(pg_catalog.>) 0"
                    .to_owned()
            }
            SessionSetting::IntervalStyle => equals("IntervalStyle", "postgres"),
            SessionSetting::LcMonetary => equals("lc_monetary", "C"),
            SessionSetting::QuoteAllIdentifiers => equals("quote_all_identifiers", "off"),
            SessionSetting::SearchPath => equals("search_path", "pg_catalog"),
            SessionSetting::TimeZone => "pg_catalog.current_setting('TimeZone') \
                OPERATOR(pg_catalog.=) ANY (ARRAY['UTC', 'Etc/UTC'])"
                .to_owned(),
        })
        .collect();
    (!usual.is_empty()).then(|| format!("NOT ({})", usual.join("\n        AND ")))
}

fn equals(setting: &str, value: &str) -> String {
    format!("pg_catalog.current_setting('{setting}') OPERATOR(pg_catalog.=) '{value}'")
}
