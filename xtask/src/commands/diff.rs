//! `diff`: one change field by field.

use clap::Args;
use diesel_async::AsyncPgConnection;
use threadline_core::table::AuditedTable;
use threadline_diesel::query::diff::ChangeDiff;
use threadline_diesel::{change, deployed_tables};

use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::text::{escape, print_block, print_note};
use crate::output::timeline::show_attribution;

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The id of the change.
    #[arg(value_name = "CHANGE")]
    id: i64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: DiffArgs) -> Result<Answer, Failure> {
    let found = read(&args.database, async |conn| {
        let entry = change(conn, args.id).await?;
        Ok((entry, deployed_rules(conn).await))
    })
    .await?;
    let (Some(entry), rules) = found else {
        print_note(&format!("there is no change {}", args.id));
        return Ok(Answer::Bad);
    };
    let diff = ChangeDiff::with_rules_among(&entry.change, &rules);
    if args.output.json {
        print_json(&diff)?;
    } else {
        print_block(&format!("{diff}\n{}", show_attribution(&entry)))?;
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
