//! Expressions that are planned and never run: they fail where a table is no longer the one that its
//! functions were generated for.

use super::expressions::reference;
use crate::column_type::ColumnType;
use crate::identifier::{quote_identifier, quote_literal};
use crate::storage::STORAGE_SCHEMA;
use crate::table::{AuditedTable, Column, ColumnRule};

/// Every stored column of a row, in an expression that PostgreSQL refuses when the column is gone,
/// or of a type that the generated expressions do not suit.
pub(super) fn columns(table: &AuditedTable, row: &str) -> String {
    let columns: Vec<_> = table
        .stored_columns()
        .map(|column| column_probe(column, row))
        .collect();
    columns.join(", ")
}

/// A condition that cannot be planned where a stored column has become a virtual generated one, and
/// is false elsewhere.
pub(super) fn has_virtual(table: &AuditedTable) -> String {
    let stored: Vec<_> = table
        .stored_columns()
        .map(|column| quote_literal(&column.name))
        .collect();
    format!(
        "CASE WHEN {STORAGE_SCHEMA}.has_virtual(\n            \
         {}::pg_catalog.text, ARRAY[{}]::pg_catalog.text[]\n        \
         ) THEN 1 OPERATOR(pg_catalog./) 0 OPERATOR(pg_catalog.=) 0 ELSE false END",
        quote_literal(&table.name().quoted()),
        stored.join(", ")
    )
}

/// Types are compared where the query is parsed: `CASE` finds a type that both sides convert to without
/// being asked, and `array_larger` takes two arrays only if they are of one type. So a column
/// passes if its type converts to the declared one, as int4 does to int8, and no other does.
fn column_probe(column: &Column, row: &str) -> String {
    let value = reference(row, column);
    if column.rule != ColumnRule::Clear {
        return value;
    }
    let either = |declared: &str| {
        format!("CASE WHEN false THEN {value} ELSE NULL::pg_catalog.{declared} END")
    };
    match &column.column_type {
        // One family, stored and compared alike.
        ColumnType::Builtin(name) if is_text(name) => either("text"),
        ColumnType::Array(element) if is_text(element) => either("text[]"),
        ColumnType::Builtin(name) => {
            let declared = quote_identifier(name);
            format!(
                "pg_catalog.array_larger(ARRAY[{}], NULL::pg_catalog.{declared}[])",
                either(&declared)
            )
        }
        ColumnType::Array(element) => {
            let declared = format!("{}[]", quote_identifier(element));
            format!(
                "pg_catalog.array_larger({}, NULL::pg_catalog.{declared})",
                either(&declared)
            )
        }
        // The name of an enum's type is not known with its schema. What has no equality is no enum.
        ColumnType::Enum(_) => format!("{value} OPERATOR(pg_catalog.=) {value}"),
        // Stored in text form, which every type has.
        ColumnType::Other(_) => value,
    }
}

fn is_text(typname: &str) -> bool {
    matches!(typname, "text" | "varchar" | "bpchar" | "name")
}
