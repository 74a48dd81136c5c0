//! `restore`: the SQL that restores a row.

use clap::Args;
use diesel_async::AsyncPgConnection;
use threadline_core::instant::InstantInput;
use threadline_diesel::Timeline;
use threadline_diesel::restore::{Restore, RestoreError, RestorePlan, restore_plan};

use super::empty_answer::explain_empty;
use super::row_key::resolve_key;
use crate::args::{DatabaseArgs, OutputArgs, RowArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::text::{print_note, print_script};
use crate::settings::resolve_instant;

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    row: RowArgs,
    /// Restore the state as of this instant: `2026-01-31T12:00:00Z`, `2h`. By default the last state before the
    /// row was deleted.
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    as_of: Option<InstantInput>,
    /// Also restore the rows that were deleted in the same transaction and refer to the row by foreign keys.
    #[arg(long)]
    with_children: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: RestoreArgs) -> Result<Answer, Failure> {
    let database = args.database.clone();
    read(&database, async |conn| restore_row(conn, args).await).await
}

async fn restore_row(conn: &mut AsyncPgConnection, args: RestoreArgs) -> Result<Answer, Failure> {
    let as_of = args.as_of.as_ref();
    let as_of = as_of.map(|instant| resolve_instant("--as-of", instant));
    let as_of = as_of.transpose()?;
    let RowArgs { table, key } = args.row;
    let row_key = resolve_key(conn, &table, &key).await?;
    let mut query = Restore::new(table.clone(), &row_key);
    if let Some(instant) = as_of {
        query = query.as_of(instant);
    }
    if args.with_children {
        query = query.with_children();
    }
    let plan = match restore_plan(conn, &query).await {
        Ok(plan) => plan,
        Err(error @ (RestoreError::NotDeleted { .. } | RestoreError::NoSuchTable(_))) => {
            return Err(Failure::usage(error));
        }
        Err(RestoreError::Database(error)) => {
            return Err(anyhow::Error::new(error)
                .context("cannot read the state to restore")
                .into());
        }
        Err(error) => {
            if matches!(error, RestoreError::NotRecorded { .. }) {
                explain_empty(conn, &Timeline::new().row(table, &row_key)).await?;
            }
            print_note(&error.to_string());
            return Ok(Answer::Bad);
        }
    };
    if args.output.json {
        print_json(&plan)?;
    } else {
        print_script(&plan.to_string())?;
    }
    warn_of_needed_values(&plan);
    Ok(Answer::Fine)
}

/// Says on standard error that the script does not run as it is.
fn warn_of_needed_values(plan: &RestorePlan) {
    let count = plan.needed_values();
    if count > 0 {
        print_note(&format!(
            "values needed: {count}; replace each `/* value needed */` before running the script"
        ));
    }
}
