//! What a new capture migration changes, for its reviewer.

use threadline_core::table::{AuditedTable, Column, ColumnRule};

use crate::output::text::escape;

/// One line for each change of a table, compared with the policy that the migrations deploy, if any.
pub(crate) fn describe_changes(
    previous: Option<&AuditedTable>,
    table: &AuditedTable,
) -> Vec<String> {
    let name = table.name();
    let mut lines = Vec::new();
    if previous.is_none() {
        let columns = table.columns().iter();
        let clear = columns.filter(|column| column.rule == ColumnRule::Clear);
        lines.push(format!(
            "{name}: capture begins, {} columns stored in clear",
            clear.count()
        ));
    }
    let old_columns = previous.map_or(&[][..], AuditedTable::columns);
    let find = |columns: &[Column], wanted: &Column| {
        columns
            .iter()
            .find(|column| column.name == wanted.name)
            .cloned()
    };
    for column in table.columns() {
        let rule = describe_rule(column.rule);
        match find(old_columns, column) {
            None if previous.is_none() && column.rule == ColumnRule::Clear => {}
            None => lines.push(format!("{name}.{}: added, {rule}", column.name)),
            Some(old) => {
                if old.rule != column.rule {
                    let before = describe_rule(old.rule);
                    lines.push(format!("{name}.{}: {rule}, was {before}", column.name));
                }
                if old.column_type != column.column_type {
                    lines.push(format!("{name}.{}: type changed", column.name));
                }
            }
        }
    }
    for old in old_columns {
        if find(table.columns(), old).is_none() {
            lines.push(format!("{name}.{}: removed", old.name));
        }
    }
    if let Some(previous) = previous {
        if previous.key() != table.key() {
            lines.push(format!("{name}: key changed"));
        }
        if previous.mask_with() != table.mask_with() {
            lines.push(format!("{name}: placeholder changed"));
        }
        if previous.actor() != table.actor() {
            lines.push(format!("{name}: actor policy changed"));
        }
    }
    if lines.is_empty() {
        lines.push(format!("{name}: same rules, generated again"));
    }
    lines.iter().map(|line| escape(line)).collect()
}

fn describe_rule(rule: ColumnRule) -> &'static str {
    match rule {
        ColumnRule::Clear => "stored in clear",
        ColumnRule::Mask => "masked",
        ColumnRule::MaskKeepNull => "masked, NULL is stored",
        ColumnRule::Exclude => "excluded",
        ColumnRule::Ignore => "ignored",
        _ => "another rule",
    }
}
