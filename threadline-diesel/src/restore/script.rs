//! The script of a plan.

use std::fmt;

use threadline_core::storage::STORAGE_SCHEMA;

use super::plan::{RestorePlan, RestoreStatement};
use crate::models::Op;
use crate::query::ChangeRef;

/// The settings by which the script reads literals as the plan wrote them.
const SETTINGS: &str = "\
SET LOCAL client_encoding = 'UTF8';
SET LOCAL IntervalStyle = 'postgres';
SET LOCAL lc_monetary = 'C';
SET LOCAL xmloption = 'content';
";

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_header(f)?;
        if self.statements.is_empty() {
            return Ok(());
        }
        write!(f, "\nBEGIN;\n{SETTINGS}")?;
        comment(
            f,
            &format!(
                "To record who restores the row:\n\
                 SELECT {STORAGE_SCHEMA}.begin_audited_work('{{\"actor_ref\": {{\"type\": \"user\", \"id\": \"…\"}}}}');"
            ),
        )?;
        for statement in &self.statements {
            f.write_str("\n")?;
            comment(f, &source(statement))?;
            for missing in &statement.missing {
                comment(f, &format!("  {}", one_line(&missing.to_string())))?;
            }
            for gap in &statement.gaps {
                let gap = one_line(&gap.to_string());
                comment(f, &format!("  changes of the row may be missing: {gap}"))?;
            }
            for changed in &statement.definition_changes {
                let changed = one_line(&changed.to_string());
                comment(f, &format!("  defined otherwise now: {changed}"))?;
            }
            for column in &statement.generated {
                comment(
                    f,
                    &format!("  {} (generated): is computed", one_line(column)),
                )?;
            }
            writeln!(f, "{};", statement.sql)?;
        }
        f.write_str("\nCOMMIT;\n")
    }
}

impl RestorePlan {
    fn write_header(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = one_line(&format!("{} {}", self.table, self.row_key));
        let state = match (&self.as_of, &self.removed_by) {
            (Some(instant), _) => format!("as of {}", instant.to_rfc3339()),
            (None, Some(change)) => format!("before {}", show_change(change)),
            (None, None) => "as recorded".to_owned(),
        };
        comment(
            f,
            &format!(
                "Restores {row}, {state}.\n\
                 Written from the audit trail and not executed: review it, then run it in psql."
            ),
        )?;
        if self.statements.is_empty() {
            return comment(
                f,
                "The known columns of the row have this state now: there is nothing to run.",
            );
        }
        comment(f, "Sources of the values:")?;
        for statement in &self.statements {
            comment(f, &format!("  {}", source(statement)))?;
        }
        for skipped in &self.skipped {
            let row = one_line(&format!("{} {}", skipped.table, skipped.row_key));
            comment(
                f,
                &format!(
                    "Not restored: {row}, deleted by change {}: {}",
                    skipped.change_id, skipped.reason
                ),
            )?;
        }
        for table in &self.uncaptured_tables {
            let table = one_line(&table.to_string());
            comment(
                f,
                &format!(
                    "Not captured: {table} refers to restored rows; its deleted rows are not known."
                ),
            )?;
        }
        if self.statements.iter().any(|one| !one.gaps.is_empty()) {
            comment(
                f,
                "Changes of restored rows may be missing: see the comments on their statements.",
            )?;
        }
        if self.with_children {
            match &self.removed_by {
                None => comment(f, "The row is not deleted, so no children are restored.")?,
                Some(change) if change.op == Op::Truncate => comment(
                    f,
                    "A truncate records no rows, so no children are restored; restore them one by one.",
                )?,
                Some(_) => {}
            }
        }
        match self.needed_values() {
            0 => Ok(()),
            count => comment(
                f,
                &format!(
                    "The script fails until {count} x {} is replaced by a value.",
                    "`value needed`"
                ),
            ),
        }
    }
}

/// The row of a statement and the record that its values come from.
fn source(statement: &RestoreStatement) -> String {
    let row = one_line(&format!("{} {}", statement.table, statement.row_key));
    format!("{row}: {}", show_change(&statement.source))
}

fn show_change(change: &ChangeRef) -> String {
    format!(
        "change {} ({} at {}, transaction {})",
        change.id,
        change.op,
        change.captured_at.to_rfc3339(),
        change.transaction_id
    )
}

/// Writes a comment, each line after `--`. Stored texts in it must be [`one_line`].
fn comment(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.lines().try_for_each(|line| writeln!(f, "-- {line}"))
}

/// A stored text without line breaks and other control characters, so that it cannot end a comment.
fn one_line(text: &str) -> String {
    let acts =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if acts(c) { '␣' } else { c })
        .collect()
}
