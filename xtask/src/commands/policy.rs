//! `policy`: what the code declares, what the migrations deploy, what is deployed.

use std::io::{Write, stdout};

use anyhow::Context;
use clap::Args;
use threadline_core::registry::registered_tables;
use threadline_diesel::policy::{DeployedPolicy, PolicyReport, PolicySources};

use super::coverage::deployed;
use crate::cli::{DatabaseArgs, MigrationsDirArgs, OutputArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::migrations_dir::MigrationsDir;
use crate::on_disk::OnDisk;
use crate::report::show_policy;
use crate::show::print_json;

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(flatten)]
    migrations: MigrationsDirArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: PolicyArgs) -> Result<Answer, Failure> {
    let dir = MigrationsDir::open(&args.migrations.migrations_dir)?;
    let mut conn = connect(&args.database).await?;
    let report = compare(&dir, deployed(&mut conn).await?)?;
    if args.output.json {
        print_json(&report).context("cannot print")?;
    } else {
        writeln!(stdout(), "{}", show_policy(&report)).context("cannot print")?;
    }
    Ok(if report.is_in_order() {
        Answer::Fine
    } else {
        Answer::Bad
    })
}

/// Compares what is known here. A host without models declares nothing, and a folder without
/// migrations says nothing.
pub(crate) fn compare(
    dir: &MigrationsDir,
    policies: Vec<DeployedPolicy>,
) -> Result<PolicyReport, Failure> {
    let declared = registered_tables().map_err(|wrong| Failure::usage(wrong.to_string()))?;
    let mut sources = PolicySources::deployed(policies);
    if !declared.is_empty() {
        sources = sources.declared(declared);
    }
    if !dir.migrations().is_empty() {
        sources = sources.on_disk(OnDisk::read(dir).hashes());
    }
    Ok(sources.compare())
}
