//! `diff`: what one change changed.

use std::io::{Write, stdout};

use anyhow::Context;
use clap::Args;
use diesel_async::AsyncPgConnection;
use serde::Serialize;
use threadline_core::table::AuditedTable;
use threadline_diesel::diff::ChangeDiff;
use threadline_diesel::incident::IncidentBundle;
use threadline_diesel::nonblocking::{change, deployed_tables};

use crate::cli::{DatabaseArgs, OutputArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{print_json, show_attribution};

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The change's id.
    #[arg(value_name = "CHANGE")]
    pub(crate) id: i64,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

pub(crate) async fn run(args: DiffArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let found = change(&mut conn, args.id)
        .await
        .context("cannot read the trail")?;
    let Some(entry) = found else {
        eprintln!("there is no change {}", args.id);
        return Ok(Answer::Bad);
    };
    let diff = ChangeDiff::with_rules_among(&entry.change, &rules(&mut conn).await);
    if args.output.json {
        print_json(&diff).context("cannot print")?;
    } else {
        writeln!(stdout(), "{diff}\n{}", show_attribution(&entry)).context("cannot print")?;
    }
    Ok(Answer::Fine)
}

/// The rules as they are deployed; none where they cannot be read, which the documents then say.
pub(super) async fn rules(conn: &mut AsyncPgConnection) -> Vec<AuditedTable> {
    deployed_tables(conn).await.unwrap_or_else(|error| {
        eprintln!("warning: masked and excluded columns are not told apart: {error}");
        Vec::new()
    })
}

/// An incident as `--json` prints it: the bundle, and a diff for each of its changes.
#[derive(Debug, Serialize)]
pub(super) struct IncidentDocument<'a> {
    #[serde(flatten)]
    bundle: &'a IncidentBundle,
    diffs: Vec<ChangeDiff>,
}

impl<'a> IncidentDocument<'a> {
    pub(super) fn new(bundle: &'a IncidentBundle, rules: &[AuditedTable]) -> Self {
        let diffs = bundle
            .changes
            .iter()
            .map(|change| ChangeDiff::with_rules_among(change, rules))
            .collect();
        Self { bundle, diffs }
    }
}
