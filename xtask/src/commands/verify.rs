//! `verify`: are the migrations, coverage and policy in order? Yes or no.

use std::io::{Write, stdout};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use threadline_core::capture::GeneratedPolicy;
use threadline_core::registry::registered_tables;
use threadline_diesel::coverage::CoverageReport;
use threadline_diesel::policy::PolicyReport;

use super::coverage::{CoverageQuestionArgs, ask, deployed};
use super::policy::compare;
use crate::Host;
use crate::cli::{DatabaseArgs, MigrationsDirArgs, OutputArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::migrations_dir::MigrationsDir;
use crate::on_disk::OnDisk;
use crate::report::{show_coverage, show_policy};
use crate::show::print_json;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    migrations: MigrationsDirArgs,
    #[command(flatten)]
    question: CoverageQuestionArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// What `--json` prints. Stable: fields may be added.
#[derive(Debug, Serialize)]
struct Verdict {
    format_version: u32,
    verified: bool,
    migrations: MigrationsReport,
    coverage: CoverageReport,
    policy: PolicyReport,
}

/// Whether the migrations on disk are what the code asks for.
#[derive(Debug, Serialize)]
struct MigrationsReport {
    /// `ok`, `lagging`, or `not_checked` where the code declares no table.
    status: &'static str,
    /// What is not as declared, for a person.
    problems: Vec<String>,
}

pub(crate) async fn run(host: Host, args: VerifyArgs) -> Result<Answer, Failure> {
    let dir = MigrationsDir::open(&args.migrations.migrations_dir)?;
    let migrations = check_migrations(&dir)?;
    let mut conn = connect(&args.database).await?;
    let policies = deployed(&mut conn).await?;
    let coverage = ask(host, &mut conn, args.question, &policies).await?;
    let policy = compare(&dir, policies)?;
    let verdict = Verdict {
        format_version: 1,
        verified: migrations.status != "lagging" && coverage.is_in_order() && policy.is_in_order(),
        migrations,
        coverage,
        policy,
    };
    if args.output.json {
        print_json(&verdict).context("cannot print")?;
    } else {
        writeln!(stdout(), "{}", show(&verdict)).context("cannot print")?;
    }
    Ok(if verdict.verified {
        Answer::Fine
    } else {
        Answer::Bad
    })
}

/// What `gen-triggers --check` asks, and whether something is captured that is not declared.
fn check_migrations(dir: &MigrationsDir) -> Result<MigrationsReport, Failure> {
    let declared = registered_tables().map_err(|wrong| Failure::usage(wrong.to_string()))?;
    if declared.is_empty() {
        return Ok(MigrationsReport {
            status: "not_checked",
            problems: vec!["the code declares no audited table".to_owned()],
        });
    }
    let on_disk = OnDisk::read(dir);
    let mut problems: Vec<_> = declared
        .iter()
        .filter(|table| on_disk.hash(table.name()) != Some(&GeneratedPolicy::new(table).hash))
        .map(|table| {
            format!(
                "table {} is not captured as declared: gen-triggers",
                table.name()
            )
        })
        .collect();
    problems.extend(on_disk.tables_not_in(&declared).map(|table| {
        format!(
            "table {table} is captured by a migration, but not declared: gen-triggers --retire {table}"
        )
    }));
    Ok(MigrationsReport {
        status: if problems.is_empty() { "ok" } else { "lagging" },
        problems,
    })
}

fn show(verdict: &Verdict) -> String {
    let mut parts = vec![
        show_coverage(&verdict.coverage),
        show_policy(&verdict.policy),
    ];
    let problems = &verdict.migrations.problems;
    let status = verdict.migrations.status.replace('_', " ");
    parts.push(if problems.is_empty() {
        format!("migrations: {status}")
    } else {
        format!("migrations: {status}\n    {}", problems.join("\n    "))
    });
    parts.push(if verdict.verified {
        "verified: yes".to_owned()
    } else {
        "verified: no".to_owned()
    });
    parts.join("\n\n")
}
