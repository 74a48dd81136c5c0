//! What is stored of a row: its image, column by column or, where that says the same, as a whole.

use super::expressions::reference;
use crate::column_type::Rendering;
use crate::identifier::{quote_identifier, quote_literal};
use crate::storage::STORAGE_SCHEMA;
use crate::table::{AuditedTable, Column, ColumnRule, ImageForm};

/// `jsonb_build_object` takes at most 100 arguments.
const PAIRS_A_CALL: usize = 50;

/// The condition under which `to_jsonb` of a value loses nothing, for types of which that depends on
/// the value.
fn is_kept_by_to_jsonb(column: &Column, row: &str) -> Option<String> {
    let value = reference(row, column);
    match column.column_type.rendering() {
        Rendering::Native | Rendering::Text => None,
        // JSON numbers know no negative zero.
        Rendering::Float => Some(format!(
            "({value}::pg_catalog.text OPERATOR(pg_catalog.<>) '-0') IS NOT FALSE"
        )),
        // JSON arrays know no bounds but 1. Empty arrays have no dimensions at all.
        Rendering::Array => Some(format!(
            "(pg_catalog.strpos(pg_catalog.replace(pg_catalog.array_dims({value}), \
             '[1:', ''), '[') OPERATOR(pg_catalog.=) 0) IS NOT FALSE"
        )),
        Rendering::FloatArray => Some(format!(
            "(pg_catalog.strpos(pg_catalog.replace(pg_catalog.array_dims({value}), \
             '[1:', ''), '[') OPERATOR(pg_catalog.=) 0 \
             AND {value}::pg_catalog.text OPERATOR(pg_catalog.!~) '-0[,}}]') IS NOT FALSE"
        )),
    }
}

/// A column as an argument of `jsonb_build_object`, or a column of an image: what is stored of it.
pub(super) fn stored_value(table: &AuditedTable, column: &Column, row: &str) -> String {
    if column.rule == ColumnRule::Mask {
        return format!("{}::pg_catalog.text", quote_literal(table.mask_with()));
    }
    clear_value(column, row)
}

/// A column in clear, as an argument of `jsonb_build_object` or `to_jsonb`.
pub(super) fn clear_value(column: &Column, row: &str) -> String {
    let value = reference(row, column);
    match (
        is_kept_by_to_jsonb(column, row),
        column.column_type.rendering(),
    ) {
        (Some(kept), _) => format!(
            "CASE WHEN {kept} THEN pg_catalog.to_jsonb({value}) \
             ELSE pg_catalog.to_jsonb({value}::pg_catalog.text) END"
        ),
        (None, Rendering::Text) => format!("{value}::pg_catalog.text"),
        (None, _) => value,
    }
}

/// The image of a row as one `jsonb` expression, column by column.
fn image(table: &AuditedTable, row: &str, spaces: usize) -> String {
    let pairs: Vec<_> = table
        .stored_columns()
        .map(|column| {
            format!(
                "{}, {}",
                quote_literal(&column.name),
                stored_value(table, column, row)
            )
        })
        .collect();
    if pairs.is_empty() {
        return "'{}'::pg_catalog.jsonb".to_owned();
    }
    let pad = " ".repeat(spaces);
    let calls: Vec<_> = pairs
        .chunks(PAIRS_A_CALL)
        .map(|chunk| {
            format!(
                "pg_catalog.jsonb_build_object(\n{pad}    {}\n{pad})",
                chunk.join(&format!(",\n{pad}    "))
            )
        })
        .collect();
    calls.join(" OPERATOR(pg_catalog.||) ")
}

/// Whether `to_jsonb` of a whole row may be stored: nothing in it is hidden, and nothing rendered as
/// text.
fn is_stored_whole(table: &AuditedTable) -> bool {
    table.columns().iter().all(|column| {
        column.rule == ColumnRule::Clear && column.column_type.rendering() != Rendering::Text
    })
}

/// The statements that take the image of a row.
///
/// `to_jsonb` of the whole row costs a third less than `jsonb_build_object`, which looks the type of
/// every argument up. It is taken where it says the same, which is found out for each row: a value may
/// need care, and a column that nobody classified must not be stored.
pub(super) fn take_image(table: &AuditedTable, variable: &str, row: &str, spaces: usize) -> String {
    let column_by_column = |spaces| {
        format!(
            "{}{variable} := {};",
            " ".repeat(spaces),
            image(table, row, spaces)
        )
    };
    if !is_stored_whole(table) {
        return column_by_column(spaces);
    }
    take_whole_image(table, variable, row, spaces, &column_by_column(spaces + 4))
}

/// The statements that take the image of the new row of an update; `drifted` are those that take it,
/// and what changed, from a table with columns that nobody classified.
pub(super) fn take_updated_image(table: &AuditedTable, spaces: usize, drifted: &str) -> String {
    if !is_stored_whole(table) {
        return take_image(table, "v_data_after", "NEW", spaces);
    }
    let pad = " ".repeat(spaces + 4);
    let otherwise = format!(
        "{pad}IF (pg_catalog.to_jsonb(OLD) OPERATOR(pg_catalog.-) {known})::pg_catalog.text\n\
         {pad}    OPERATOR(pg_catalog.<>) (pg_catalog.to_jsonb(NEW) OPERATOR(pg_catalog.-) {known})::pg_catalog.text\n\
         {pad}THEN\n\
         {drifted}\n\
         {pad}ELSE\n\
         {pad}    v_data_after := {image};\n\
         {pad}END IF;",
        known = known_columns(table),
        image = image(table, "NEW", spaces + 8),
    );
    take_whole_image(table, "v_data_after", "NEW", spaces, &otherwise)
}

/// Where an image is not taken as a whole, nothing in it shows that there are columns which nobody
/// classified; the catalog is asked then, while the condition is planned.
pub(super) fn or_had_unclassified(table: &AuditedTable) -> String {
    if table.image() == ImageForm::Full && is_stored_whole(table) {
        return String::new();
    }
    format!(
        " OR {STORAGE_SCHEMA}.had_unclassified(\n                \
         {}::pg_catalog.text, {}\n            )",
        quote_literal(&table.name().quoted()),
        known_columns(table)
    )
}

/// The statements that take a row as a whole, and what is done `otherwise`.
fn take_whole_image(
    table: &AuditedTable,
    variable: &str,
    row: &str,
    spaces: usize,
    otherwise: &str,
) -> String {
    let pad = " ".repeat(spaces);
    let kept: Vec<_> = table
        .columns()
        .iter()
        .filter_map(|column| is_kept_by_to_jsonb(column, row))
        .collect();
    let whole = if kept.is_empty() {
        format!("pg_catalog.to_jsonb({row})")
    } else {
        format!(
            "CASE WHEN {} THEN pg_catalog.to_jsonb({row}) END",
            kept.join(&format!("\n{pad}    AND "))
        )
    };
    format!(
        "{pad}{variable} := {whole};\n\
         {pad}IF ({variable} OPERATOR(pg_catalog.-) {known}\n\
         {pad}    OPERATOR(pg_catalog.=) '{{}}'::pg_catalog.jsonb) IS NOT TRUE\n\
         {pad}THEN\n\
         {otherwise}\n\
         {pad}END IF;",
        known = known_columns(table),
    )
}

/// The values of a row's masked columns as one `jsonb` expression: texts, for comparing.
pub(super) fn hidden_values(table: &AuditedTable, row: &str) -> String {
    let pairs: Vec<_> = table
        .columns()
        .iter()
        .filter(|column| column.rule == ColumnRule::Mask)
        .map(|column| {
            format!(
                "{}, {}::pg_catalog.text",
                quote_literal(&column.name),
                reference(row, column)
            )
        })
        .collect();
    if pairs.is_empty() {
        return "'{}'".to_owned();
    }
    let calls: Vec<_> = pairs
        .chunks(PAIRS_A_CALL)
        .map(|chunk| format!("pg_catalog.jsonb_build_object({})", chunk.join(", ")))
        .collect();
    calls.join(" OPERATOR(pg_catalog.||) ")
}

/// The names of all classified columns, as an array.
pub(super) fn known_columns(table: &AuditedTable) -> String {
    let known: Vec<_> = table
        .columns()
        .iter()
        .map(|column| quote_literal(&column.name))
        .collect();
    format!("ARRAY[{}]::pg_catalog.text[]", known.join(", "))
}

/// The image of a row as the columns of a subquery, which `to_jsonb` turns into an object faster
/// than `jsonb_build_object` does.
pub(super) fn image_columns(table: &AuditedTable, row: &str, spaces: usize) -> String {
    let columns: Vec<_> = table
        .stored_columns()
        .map(|column| {
            format!(
                "{} AS {}",
                stored_value(table, column, row),
                quote_identifier(&column.name)
            )
        })
        .collect();
    columns.join(&format!(",\n{}", " ".repeat(spaces)))
}
