//! `coverage`: which tables are captured, and what is wrong with that.

use std::io::{Write, stdout};

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use diesel_async::AsyncPgConnection;
use threadline_core::expected_gap::ExpectedGap;
use threadline_core::table::InvalidTableName;
use threadline_diesel::coverage::{Coverage, CoverageError, CoverageReport};
use threadline_diesel::nonblocking;
use threadline_diesel::policy::DeployedPolicy;

use crate::Host;
use crate::cli::{DatabaseArgs, OutputArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::instant::instant;
use crate::report::{complete_commands, show_coverage};
use crate::show::print_json;

#[derive(Debug, Args)]
pub(crate) struct CoverageArgs {
    /// Exit with 1 on errors and on tables that need capture.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    question: CoverageQuestionArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// What is asked; the same for `coverage` and `verify`.
#[derive(Debug, Args)]
pub(crate) struct CoverageQuestionArgs {
    /// Only tables of this schema; can be given more than once.
    #[arg(long, value_name = "SCHEMA")]
    schema: Vec<String>,
    /// Tables of every schema, which is so unless --schema says otherwise.
    #[arg(long, conflicts_with = "schema")]
    all_schemas: bool,
    /// A role the application logs in as, to be looked at though it has not written yet.
    #[arg(long, value_name = "ROLE")]
    application_role: Vec<String>,
    /// Look at what was recorded at this instant or later; a day ago unless set.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    since: Option<DateTime<Utc>>,
}

impl CoverageQuestionArgs {
    fn question(self, gaps: &[ExpectedGap]) -> Result<Coverage, InvalidTableName> {
        let mut question = gaps
            .iter()
            .copied()
            .try_fold(Coverage::registered()?, Coverage::expecting)?;
        for schema in self.schema {
            question = question.schema(schema);
        }
        for role in self.application_role {
            question = question.application_role(role);
        }
        if let Some(instant) = self.since {
            question = question.records_since(instant);
        }
        Ok(question)
    }
}

pub(crate) async fn run(host: Host, args: CoverageArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let policies = deployed(&mut conn).await?;
    let report = ask(host, &mut conn, args.question, &policies).await?;
    if args.output.json {
        print_json(&report).context("cannot print")?;
    } else {
        writeln!(stdout(), "{}", show_coverage(&report)).context("cannot print")?;
    }
    if args.strict && !report.is_in_order() {
        return Ok(Answer::Bad);
    }
    Ok(Answer::Fine)
}

/// What is deployed.
pub(crate) async fn deployed(conn: &mut AsyncPgConnection) -> Result<Vec<DeployedPolicy>, Failure> {
    nonblocking::deployed_policies(conn).await.map_err(failed)
}

/// Coverage with the host's expected gaps, and with commands that are exact for this host.
pub(crate) async fn ask(
    host: Host,
    conn: &mut AsyncPgConnection,
    args: CoverageQuestionArgs,
    policies: &[DeployedPolicy],
) -> Result<CoverageReport, Failure> {
    let question = args
        .question(host.expected_gaps)
        .map_err(|wrong| Failure::usage(format!("an expected gap is wrong: {wrong}")))?;
    let mut report = nonblocking::coverage(conn, &question)
        .await
        .map_err(failed)?;
    complete_commands(&mut report, policies);
    Ok(report)
}

fn failed(error: CoverageError) -> Failure {
    match error {
        CoverageError::NoSuchSchema(_) => Failure::usage(error.to_string()),
        error => Failure::CouldNotRun(anyhow::Error::new(error)),
    }
}
