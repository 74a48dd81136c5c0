//! The capture function of a table.

use sha2::{Digest, Sha256};

use super::expressions::{RowExpressions, differs};
use super::template::fill;
use crate::identifier::{MAX_IDENTIFIER_BYTES, quote_identifier, quote_literal};
use crate::storage::STORAGE_SCHEMA;
use crate::table::{ActorPolicy, AuditedTable, Column, ColumnRule, TableName};

const BODY: &str = include_str!("../../sql/capture/body.sql");

/// The maximum line length of the column summary in a function.
const SUMMARY_WIDTH: usize = 100;

/// The name of a table's capture function, without its schema.
///
/// It ends in a digest of the table's qualified name, so that names stay distinct after truncation.
pub(super) fn function_name(table: &TableName) -> String {
    let digest = Sha256::digest(format!("{}\0{}", table.schema(), table.name()));
    let suffix = format!("_{}", hex::encode(&digest[..4]));
    let mut readable = format!("capture_{}_{}", table.schema(), table.name());
    let mut room = (MAX_IDENTIFIER_BYTES - suffix.len()).min(readable.len());
    while !readable.is_char_boundary(room) {
        room -= 1;
    }
    readable.truncate(room);
    readable + &suffix
}

/// The quoted, qualified name of a table's capture function.
pub(super) fn qualified_function_name(table: &TableName) -> String {
    format!(
        "{STORAGE_SCHEMA}.{}",
        quote_identifier(&function_name(table))
    )
}

/// The body of a table's capture function.
pub(super) fn body(table: &AuditedTable) -> String {
    let (compared, ignored): (Vec<_>, Vec<_>) = table
        .stored_columns()
        .partition(|column| column.rule != ColumnRule::Ignore);
    let lines = |columns: &[&Column]| -> String {
        columns
            .iter()
            .map(|column| comparison(table, column))
            .collect()
    };
    let old = RowExpressions::new(table, "OLD");
    let new = RowExpressions::new(table, "NEW");
    fill(
        BODY,
        &[
            ("threadline", STORAGE_SCHEMA),
            ("table", &comment_text(&table.name().to_string())),
            ("summary", &summary(table)),
            ("comparisons", &lines(&compared)),
            ("ignored", &lines(&ignored)),
            ("old_key", &key_assignments(old)),
            ("new_key", &key_assignments(new)),
            ("old_image", &old.image(12)),
            ("new_image", &new.image(12)),
            ("schema_literal", &quote_literal(table.name().schema())),
            ("name_literal", &quote_literal(table.name().name())),
            (
                "actor_required",
                match table.actor() {
                    ActorPolicy::Required => "true",
                    ActorPolicy::Optional => "false",
                },
            ),
        ],
    )
}

/// The line that adds a column to `changed_from` if it changed.
fn comparison(table: &AuditedTable, column: &Column) -> String {
    let old = RowExpressions::new(table, "OLD");
    let is_key = table.key_columns().any(|key| key.name == column.name);
    let previous_key = match old.row_key() {
        Some(key) if is_key => format!(" previous_key := {key};"),
        _ => String::new(),
    };
    format!(
        "            IF {} THEN changed_from := coalesce(changed_from, '{{}}') || \
         jsonb_build_object({});{previous_key} END IF;\n",
        differs(table, column),
        old.pair(column),
    )
}

fn key_assignments(row: RowExpressions<'_>) -> String {
    match (row.table_pk(), row.row_key()) {
        (Some(table_pk), Some(row_key)) => {
            format!("            table_pk := {table_pk};\n            row_key := {row_key};\n")
        }
        _ => String::new(),
    }
}

/// A name without line breaks, which would end a comment.
fn comment_text(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

/// The key and the columns by rule, as comment lines.
fn summary(table: &AuditedTable) -> String {
    let of_rule = |rule: ColumnRule| -> Vec<&str> {
        table
            .columns()
            .iter()
            .filter(|column| column.rule == rule)
            .map(|column| column.name.as_str())
            .collect()
    };
    let key: Vec<_> = table.key().columns().iter().map(String::as_str).collect();
    let mut lines = wrapped("Key", if key.is_empty() { &["none"] } else { &key });
    for (title, rule) in [
        ("Stored", ColumnRule::Clear),
        (
            "Stored, a change of these alone is not recorded",
            ColumnRule::Ignore,
        ),
        ("Masked", ColumnRule::Mask),
        ("Masked, NULL is stored", ColumnRule::MaskKeepNull),
        ("Excluded", ColumnRule::Exclude),
    ] {
        let names = of_rule(rule);
        if !names.is_empty() {
            lines.extend(wrapped(title, &names));
        }
    }
    lines.join("\n")
}

fn wrapped(title: &str, names: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = format!("-- {title}:");
    for (index, name) in names.iter().enumerate() {
        let comma = if index + 1 < names.len() { "," } else { "" };
        let word = format!(" {}{comma}", comment_text(name));
        if line.len() + word.len() > SUMMARY_WIDTH {
            lines.push(std::mem::replace(&mut line, "--  ".to_owned()));
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::CaptureSql;
    use crate::column_type::ColumnType;

    fn column(name: &str, of: &str) -> Column {
        Column::new(name, ColumnType::builtin(of))
    }

    fn members() -> AuditedTable {
        AuditedTable::builder(TableName::new("public", "members"))
            .column(column("id", "int8"))
            .column(column("email", "text"))
            .column(column("password_hash", "text"))
            .column(column("plan", "text"))
            .column(column("updated_at", "timestamptz"))
            .key(["id"])
            .mask(["email"])
            .exclude(["password_hash"])
            .ignore(["updated_at"])
            .build()
            .unwrap()
    }

    #[test]
    fn the_guide_shows_the_function_as_it_is_generated() {
        let guide = include_str!("../../../guides/how-it-works.md");
        let table = members();
        let sql = CaptureSql::new(&table).enable();
        let start = sql.find("CREATE OR REPLACE").unwrap();
        let end = sql.find("COMMENT ON").unwrap();
        assert!(guide.contains(sql[start..end].trim_end()), "{sql}");
    }

    #[test]
    fn a_masked_column_that_keeps_null_is_stored_by_a_case_expression() {
        let table = AuditedTable::builder(TableName::new("public", "members"))
            .columns([column("id", "int8"), column("Phone", "text")])
            .key(["id"])
            .mask_keep_null(["Phone"])
            .mask_with("it's")
            .build()
            .unwrap();
        let sql = CaptureSql::new(&table).enable();
        let stored = r#"'Phone', CASE WHEN NEW."Phone" IS DISTINCT FROM NULL THEN 'it''s' END"#;
        assert!(sql.contains(stored), "{sql}");
        assert!(sql.contains("-- Masked, NULL is stored: Phone\n"), "{sql}");
        assert!(sql.contains(r#""rule":"mask_keep_null""#), "{sql}");
    }

    #[test]
    fn twelve_columns_take_at_most_120_lines_and_another_column_three_more() {
        let lines = |columns: usize| {
            let mut table = AuditedTable::builder(TableName::new("public", "t")).key(["c0"]);
            for nth in 0..columns {
                table = table.column(column(&format!("c{nth}"), "text"));
            }
            CaptureSql::new(&table.build().unwrap())
                .enable()
                .lines()
                .count()
        };
        assert!(lines(12) <= 120, "{}", lines(12));
        assert_eq!(lines(13) - lines(12), 3);
    }
}
