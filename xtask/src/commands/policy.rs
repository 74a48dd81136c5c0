//! `policy`: compares the policies of the code, the migrations and the database.

use clap::Args;
use threadline_diesel::policy::{DeployedPolicy, PolicyReport, PolicySources};

use super::coverage::load_policies;
use crate::args::{DatabaseArgs, MigrationsDirArgs, OutputArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::host::declared_tables;
use crate::migrations_dir::MigrationsDir;
use crate::on_disk::OnDisk;
use crate::output::json::print_json;
use crate::output::report::show_policy;
use crate::output::text::print_block;

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
    let dir = if declared_tables()?.is_empty() {
        args.migrations.open_if_found()?
    } else {
        args.migrations.open()?
    };
    let policies = read(&args.database, load_policies).await?;
    let report = compare_policies(&dir, policies)?;
    if args.output.json {
        print_json(&report)?;
    } else {
        print_block(&show_policy(&report))?;
    }
    Ok(Answer::fine_if(report.is_in_order()))
}

/// Compares the deployed policies with the code, if it declares tables, and with the migrations, if there are
/// any. Introspected tables have their declaration in the migrations.
pub(super) fn compare_policies(
    dir: &MigrationsDir,
    policies: Vec<DeployedPolicy>,
) -> Result<PolicyReport, Failure> {
    let declared = declared_tables()?;
    let on_disk = OnDisk::read(dir);
    let mut sources = PolicySources::deployed(policies);
    if !declared.is_empty() {
        sources = sources.declared(on_disk.expected_tables(declared));
    }
    if !dir.migrations().is_empty() {
        sources = sources.on_disk(on_disk.hashes());
    }
    Ok(sources.compare())
}
