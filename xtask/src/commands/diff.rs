//! `diff`: one change field by field.

use clap::Args;
use diesel_async::AsyncPgConnection;
use threadline_core::table::{AuditedTable, TableName};
use threadline_diesel::query::ColumnName;
use threadline_diesel::query::diff::ChangeDiff;
use threadline_diesel::{ReadError, TimelineEntry, change, definition_changes, deployed_tables};

use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::text::{escape, print_block, print_note, wrap_for_terminal};
use crate::output::timeline::show_attribution;

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The id of the change.
    #[arg(value_name = "CHANGE")]
    id: i64,
    /// Only this column.
    #[arg(long, value_name = "COLUMN")]
    field: Option<ColumnName>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: DiffArgs) -> Result<Answer, Failure> {
    let found = read(&args.database, async |conn| {
        let entry = change(conn, args.id).await?;
        let definition_changes = match &entry {
            Some(TimelineEntry { change, .. }) => {
                let table = TableName::new(&change.table_schema, &change.table_name);
                definition_changes(conn, &table, change.id)
                    .await
                    .map_err(ReadError::from)?
            }
            None => Vec::new(),
        };
        Ok((entry, deployed_rules(conn).await, definition_changes))
    })
    .await?;
    let (Some(entry), rules, definition_changes) = found else {
        print_note(&format!("there is no change {}", args.id));
        return Ok(Answer::Bad);
    };
    let mut diff = ChangeDiff::with_rules_among(&entry.change, &rules);
    if let Some(field) = &args.field
        && !retain_field(&mut diff, field)
    {
        return Ok(Answer::Bad);
    }
    if args.output.json {
        print_json(&diff)?;
    } else {
        let attribution = wrap_for_terminal(&show_attribution(&entry), 4);
        print_block(&format!("{diff}\n{attribution}"))?;
    }
    for changed in definition_changes {
        print_note(&format!(
            "values are shown as they were stored; defined otherwise now: {}",
            escape(&changed.to_string())
        ));
    }
    Ok(Answer::Fine)
}

/// The deployed redaction rules; none, with a warning, if they cannot be read.
pub(super) async fn deployed_rules(conn: &mut AsyncPgConnection) -> Vec<AuditedTable> {
    deployed_tables(conn).await.unwrap_or_else(|error| {
        print_note(&format!(
            "warning: masked and excluded columns are not recognised: {}",
            escape(&error.to_string())
        ));
        Vec::new()
    })
}

/// Removes the other fields from a diff. False, with a note, if the diff does not have the field.
fn retain_field(diff: &mut ChangeDiff, field: &ColumnName) -> bool {
    if diff.field(field.as_str()).is_none() {
        let names: Vec<_> = diff.fields.iter().map(|one| one.field.as_str()).collect();
        print_note(&format!(
            "change {} did not touch column `{}`; it touched: {}",
            diff.id,
            field.as_str(),
            names.join(", ")
        ));
        return false;
    }
    diff.fields.retain(|one| one.field == field.as_str());
    true
}
