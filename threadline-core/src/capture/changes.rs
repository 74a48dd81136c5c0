//! Which columns an update changed, and what they held before.

use super::expressions::{reference, row_key};
use super::image::stored_value;
use crate::column_type::Comparison;
use crate::identifier::quote_literal;
use crate::table::{AuditedTable, Column, ImageForm};

/// How many columns are compared at once before each is looked at alone: an expression costs as much
/// again in every transaction, whatever it holds.
const COLUMNS_A_GROUP: usize = 6;

/// Statements, line by line, each with its depth. Written line by line, since a name may hold a line
/// break, which no indentation may touch.
struct Statements {
    sql: String,
    spaces: usize,
}

impl Statements {
    fn line(&mut self, line: &str) {
        self.sql.extend([&" ".repeat(self.spaces), line, "\n"]);
    }

    /// A condition, and what is done where it holds.
    fn when(&mut self, condition: &str, inside: impl FnOnce(&mut Self)) {
        self.line(&format!("IF {condition} THEN"));
        self.spaces += 4;
        inside(self);
        self.spaces -= 4;
        self.line("END IF;");
    }
}

/// The statements that collect the old values of what changed (and, in delta form, the new), and keep
/// the old key where it changed: by groups of columns, whose record images tell whether anything in
/// them changed.
pub(super) fn collect_changes(table: &AuditedTable, spaces: usize) -> String {
    let mut statements = Statements {
        sql: String::new(),
        spaces,
    };
    let stored: Vec<_> = table.stored_columns().collect();
    for group in stored.chunks(COLUMNS_A_GROUP) {
        statements.when(&images_differ(group), |statements| {
            for column in group {
                collect(statements, table, column);
            }
        });
    }
    statements.sql
}

/// Whether the record images of some columns differ between `OLD` and `NEW`.
fn images_differ(columns: &[&Column]) -> String {
    let image = |row: &str| {
        let values: Vec<_> = columns
            .iter()
            .map(|column| reference(row, column))
            .collect();
        format!("ROW({})::pg_catalog.record", values.join(", "))
    };
    format!("{} OPERATOR(pg_catalog.*<>) {}", image("OLD"), image("NEW"))
}

/// The statement that adds a column to what was collected before, if it differs between `OLD` and
/// `NEW`, exactly. Nulls are looked at only where values are not known to be equal: every part of an
/// expression is prepared anew in every transaction.
fn collect(statements: &mut Statements, table: &AuditedTable, column: &Column) {
    let (old, new) = (reference("OLD", column), reference("NEW", column));
    let equal = match column.column_type.comparison() {
        Comparison::RecordImage => {
            statements.when(&images_differ(&[column]), |statements| {
                add(statements, table, column);
            });
            return;
        }
        Comparison::Operator => format!("{old} OPERATOR(pg_catalog.=) {new}"),
        Comparison::Text => format!(
            "{old}::pg_catalog.text COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) {new}::pg_catalog.text"
        ),
    };
    statements.when(&format!("({equal}) IS NOT TRUE"), |statements| {
        statements.when(
            &format!("{old} IS NOT NULL OR {new} IS NOT NULL"),
            |statements| add(statements, table, column),
        );
    });
}

/// The assignments that add a column that changed.
fn add(statements: &mut Statements, table: &AuditedTable, column: &Column) {
    let mut assign = |variable: &str, row: &str| {
        statements.line(&format!(
            "{variable} := COALESCE({variable}, '{{}}') OPERATOR(pg_catalog.||) \
             pg_catalog.jsonb_build_object({}, {});",
            quote_literal(&column.name),
            stored_value(table, column, row)
        ));
    };
    assign("v_changed_from", "OLD");
    if table.image() == ImageForm::Delta {
        assign("v_data_after", "NEW");
    }
    if table.key_columns().any(|key| key.name == column.name) {
        statements.line(&format!("v_previous_key := {};", row_key(table, "OLD")));
    }
}
