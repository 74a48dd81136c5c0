//! `verify`: checks migrations, coverage and policy.

use clap::Args;
use threadline_diesel::documents::{MigrationsDocument, VerificationDocument};

use super::coverage::{CoverageScopeArgs, load_coverage, load_policies};
use super::gen_triggers::describe_undeclared_table;
use super::policy::compare_policies;
use crate::args::{DatabaseArgs, MigrationsDirArgs, OutputArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::host::{Host, declared_tables};
use crate::migrations_dir::MigrationsDir;
use crate::on_disk::OnDisk;
use crate::output::json::print_json;
use crate::output::report::show_verification;
use crate::output::text::print_block;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    migrations: MigrationsDirArgs,
    #[command(flatten)]
    scope: CoverageScopeArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(host: Host, args: VerifyArgs) -> Result<Answer, Failure> {
    let dir = if declared_tables()?.is_empty() {
        args.migrations.open_if_found()?
    } else {
        args.migrations.open()?
    };
    let migrations = check_migrations(&dir)?;
    let (policies, coverage) = read(&args.database, async |conn| {
        let policies = load_policies(conn).await?;
        let coverage = load_coverage(host, conn, args.scope, &policies).await?;
        Ok((policies, coverage))
    })
    .await?;
    let policy = compare_policies(&dir, policies)?;
    let verification = VerificationDocument::new(migrations, coverage, policy);
    if args.output.json {
        print_json(&verification)?;
    } else {
        print_block(&show_verification(&verification))?;
    }
    Ok(Answer::fine_if(verification.verified))
}

/// Whether the migrations capture the declared tables, and no others.
fn check_migrations(dir: &MigrationsDir) -> Result<MigrationsDocument, Failure> {
    let declared = declared_tables()?;
    if declared.is_empty() {
        return Ok(MigrationsDocument::not_checked(
            "the code declares no audited table",
        ));
    }
    let on_disk = OnDisk::read(dir);
    let expected = on_disk.expected_tables(declared);
    let mut problems: Vec<_> = expected
        .iter()
        .filter(|table| !on_disk.captures(table))
        .map(|table| {
            format!(
                "table {} is not captured as declared: gen-triggers",
                table.name()
            )
        })
        .collect();
    problems.extend(
        on_disk
            .tables_not_in(&expected)
            .map(describe_undeclared_table),
    );
    Ok(MigrationsDocument::checked(problems))
}
