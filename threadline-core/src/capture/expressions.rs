//! Expressions over the columns of a table, for a row called `NEW`, `OLD` or `r`.

use std::collections::BTreeSet;

use crate::column_type::{ColumnType, Comparison, Rendering, SessionSetting};
use crate::identifier::{quote_identifier, quote_literal};
use crate::storage::STORAGE_SCHEMA;
use crate::table::{AuditedTable, Column, ColumnRule, ImageForm};

/// `jsonb_build_object` takes at most 100 arguments.
const PAIRS_A_CALL: usize = 50;

/// Longer keys are replaced by a digest; `row_key` in `sql/install` has the same number.
const MAX_KEY_BYTES: usize = 512;

fn reference(row: &str, column: &Column) -> String {
    format!("{row}.{}", quote_identifier(&column.name))
}

/// A column as an argument of `jsonb_build_object`, or a column of an image: what is stored of it.
fn stored_value(table: &AuditedTable, column: &Column, row: &str) -> String {
    if column.rule == ColumnRule::Mask {
        return format!("{}::pg_catalog.text", quote_literal(table.mask_with()));
    }
    let value = reference(row, column);
    match column.column_type.rendering() {
        Rendering::Native => value,
        Rendering::Text => format!("{value}::pg_catalog.text"),
        // JSON numbers know no negative zero.
        Rendering::Float => format!(
            "CASE WHEN {value}::pg_catalog.text OPERATOR(pg_catalog.=) '-0' \
             THEN '\"-0\"'::pg_catalog.jsonb ELSE pg_catalog.to_jsonb({value}) END"
        ),
        // JSON arrays know no bounds but 1. Empty arrays have no dimensions at all.
        Rendering::Array => format!(
            "CASE WHEN (pg_catalog.strpos(pg_catalog.replace(pg_catalog.array_dims({value}), \
             '[1:', ''), '[') OPERATOR(pg_catalog.=) 0) IS NOT FALSE \
             THEN pg_catalog.to_jsonb({value}) \
             ELSE pg_catalog.to_jsonb({value}::pg_catalog.text) END"
        ),
    }
}

/// The image of a row as one `jsonb` expression.
pub(super) fn image(table: &AuditedTable, row: &str, spaces: usize) -> String {
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

/// The columns themselves, to find out whether they are all there and still what they were.
pub(super) fn probe(table: &AuditedTable, row: &str) -> String {
    let columns: Vec<_> = table
        .stored_columns()
        .map(|column| {
            let value = reference(row, column);
            match (column.rule, column.column_type.rendering()) {
                (ColumnRule::Clear, Rendering::Array) => {
                    format!("pg_catalog.array_ndims({value})")
                }
                _ => value,
            }
        })
        .collect();
    columns.join(", ")
}

/// Whether a column differs between `OLD` and `NEW`, exactly.
fn differs(column: &Column) -> String {
    let (old, new) = (reference("OLD", column), reference("NEW", column));
    let unless_both_null = |equal: String| {
        format!("({equal}) IS NOT TRUE AND ({old} IS NOT NULL OR {new} IS NOT NULL)")
    };
    match column.column_type.comparison() {
        Comparison::Operator => unless_both_null(format!("{old} OPERATOR(pg_catalog.=) {new}")),
        Comparison::Text => unless_both_null(format!(
            "{old}::pg_catalog.text COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) {new}::pg_catalog.text"
        )),
        Comparison::RecordImage => format!(
            "ROW({old})::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW({new})::pg_catalog.record"
        ),
    }
}

/// How many columns are compared at once before each is looked at alone: an expression costs as much
/// again in every transaction, whatever it holds.
const COLUMNS_A_GROUP: usize = 6;

/// The statements that collect the old values of what changed (and, in delta form, the new): by
/// groups of columns, whose record images tell whether anything in them changed.
pub(super) fn changes(table: &AuditedTable, image: ImageForm, spaces: usize) -> String {
    let stored: Vec<_> = table.stored_columns().collect();
    let pad = " ".repeat(spaces);
    let mut statements = String::new();
    for (index, group) in stored.chunks(COLUMNS_A_GROUP).enumerate() {
        let row = |row: &str| {
            let values: Vec<_> = group.iter().map(|column| reference(row, column)).collect();
            format!("ROW({})::pg_catalog.record", values.join(", "))
        };
        statements.extend([
            &pad,
            "IF ",
            &row("OLD"),
            " OPERATOR(pg_catalog.*<>) ",
            &row("NEW"),
            " THEN\n",
        ]);
        let mut collect = |variable: &str, row: &str| {
            statements.push_str(&collected(
                table,
                group,
                variable,
                row,
                index > 0,
                spaces + 4,
            ));
        };
        collect("v_changed_from", "OLD");
        if image == ImageForm::Delta {
            collect("v_data_after", "NEW");
        }
        statements.extend([&pad, "END IF;\n"]);
    }
    statements
}

/// The assignment that adds a group's changed columns to what was collected before: one expression,
/// whose parts are empty objects for columns that did not change.
fn collected(
    table: &AuditedTable,
    group: &[&Column],
    variable: &str,
    row: &str,
    continued: bool,
    spaces: usize,
) -> String {
    let pad = " ".repeat(spaces);
    let before = continued.then(|| format!("COALESCE({variable}, '{{}}')"));
    let parts = group.iter().map(|column| {
        format!(
            "CASE WHEN {} THEN pg_catalog.jsonb_build_object({}, {}) ELSE '{{}}' END",
            differs(column),
            quote_literal(&column.name),
            stored_value(table, column, row)
        )
    });
    let all: Vec<_> = before.into_iter().chain(parts).collect();
    format!(
        "{pad}{variable} := {};\n",
        all.join(&format!("\n{pad}    OPERATOR(pg_catalog.||) "))
    )
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
        _ => format!("(pg_catalog.to_jsonb({value}) OPERATOR(pg_catalog.#>>) '{{}}')"),
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

/// The statement that keeps the old key of an update that changed it; nothing without a key.
pub(super) fn previous_key(table: &AuditedTable, spaces: usize) -> String {
    let changed: Vec<_> = table
        .key_columns()
        .map(|column| format!("({})", differs(column)))
        .collect();
    if changed.is_empty() {
        return String::new();
    }
    let pad = " ".repeat(spaces);
    format!(
        "{pad}IF {} THEN\n{pad}    v_previous_key := {};\n{pad}END IF;\n",
        changed.join(" OR "),
        row_key(table, "OLD")
    )
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
