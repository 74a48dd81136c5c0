//! `coverage`: which tables are captured, and what is wrong with their capture.

use clap::Args;
use diesel_async::AsyncPgConnection;
use threadline_core::expected_gap::ExpectedGap;
use threadline_core::instant::InstantInput;
use threadline_core::registry::registered_tables;
use threadline_core::table::InvalidTableName;
use threadline_diesel::coverage::{Coverage, CoverageError, CoverageReport};
use threadline_diesel::policy::DeployedPolicy;

use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::host::Host;
use crate::output::coverage::{Tables, show_coverage};
use crate::output::json::print_json;
use crate::output::text::print_block;
use crate::settings::resolve_instant;

#[derive(Debug, Args)]
pub(crate) struct CoverageArgs {
    /// Exit 1 on errors and on tables that need capture.
    #[arg(long)]
    strict: bool,
    /// Do not list the tables.
    #[arg(long, conflicts_with = "json")]
    only_findings: bool,
    #[command(flatten)]
    scope: CoverageScopeArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// The scope of the report; shared with `verify`.
#[derive(Debug, Args)]
pub(super) struct CoverageScopeArgs {
    /// Only tables of this schema; may be repeated.
    #[arg(long, value_name = "SCHEMA")]
    schema: Vec<String>,
    /// Tables of all schemas, the default.
    #[arg(long, conflicts_with = "schema")]
    all_schemas: bool,
    /// A login role of the application, checked even if it has not written yet.
    #[arg(long, value_name = "ROLE")]
    application_role: Vec<String>,
    /// Check records since this instant: `2026-01-31T12:00:00Z`, `7d`. By default those of the last day.
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    since: Option<InstantInput>,
}

impl CoverageScopeArgs {
    fn question(self, gaps: &[ExpectedGap]) -> Result<Coverage, Failure> {
        let invalid =
            |wrong: InvalidTableName| Failure::usage(format!("invalid expected gap: {wrong}"));
        let mut question = gaps
            .iter()
            .copied()
            .try_fold(
                Coverage::registered().map_err(invalid)?,
                Coverage::expecting,
            )
            .map_err(invalid)?;
        for schema in self.schema {
            question = question.schema(schema);
        }
        for role in self.application_role {
            question = question.application_role(role);
        }
        if let Some(instant) = &self.since {
            question = question.records_since(resolve_instant("--since", instant)?);
        }
        Ok(question)
    }
}

pub(crate) async fn run(host: Host, args: CoverageArgs) -> Result<Answer, Failure> {
    let report = read(&args.database, async |conn| {
        let policies = load_policies(conn).await?;
        load_coverage(host, conn, args.scope, &policies).await
    })
    .await?;
    if args.output.json {
        print_json(&report)?;
    } else {
        let tables = if args.only_findings {
            Tables::None
        } else {
            Tables::All
        };
        print_block(&show_coverage(&report, tables))?;
    }
    Ok(Answer::fine_if(!args.strict || report.is_in_order()))
}

/// The deployed policies.
pub(super) async fn load_policies(
    conn: &mut AsyncPgConnection,
) -> Result<Vec<DeployedPolicy>, Failure> {
    threadline_diesel::deployed_policies(conn)
        .await
        .map_err(coverage_failure)
}

/// The coverage report with the host's expected gaps and complete remedies.
pub(super) async fn load_coverage(
    host: Host,
    conn: &mut AsyncPgConnection,
    scope: CoverageScopeArgs,
    policies: &[DeployedPolicy],
) -> Result<CoverageReport, Failure> {
    let question = scope.question(host.expected_gaps)?;
    let mut report = threadline_diesel::coverage(conn, &question)
        .await
        .map_err(coverage_failure)?;
    report.complete_remedies(&registered_tables().unwrap_or_default(), policies);
    Ok(report)
}

fn coverage_failure(error: CoverageError) -> Failure {
    match error {
        CoverageError::NoSuchSchema(_) | CoverageError::NoSuchRole(_) => Failure::usage(error),
        error => Failure::CouldNotRun(anyhow::Error::new(error)),
    }
}
