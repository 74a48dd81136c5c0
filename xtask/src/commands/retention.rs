//! `retention`: what is expired, removing it, and what was removed.

use std::io::{IsTerminal, Write, stderr};
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use diesel_async::AsyncPgConnection;
use threadline_core::retention::{Keep, RetentionPolicy};
use threadline_core::table::TableName;
use threadline_diesel::retention::{
    BatchSize, FeedConsumers, PurgeOptions, PurgeStep, RetentionError, RunState, StopSignal,
    plan_retention, purge_with_progress, retention_runs,
};

use crate::Host;
use crate::cli::{DatabaseArgs, OutputArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::print_json;
use crate::show_retention::{print_outcome, print_plan, print_runs};

/// How many runs are shown.
const SHOWN_RUNS: u32 = 40;

#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Show what a purge would remove.
    Plan(PlanArgs),
    /// Remove what is expired. Shows the plan, and removes nothing, without --execute.
    Purge(PurgeArgs),
    /// Show the newest purges, newest first.
    Runs(RunsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// Keep changes for so many days, instead of what the code's policy says.
    #[arg(long, value_name = "DAYS")]
    keep_days: Option<u32>,
    /// Keep a table's changes for another time: `table=days` or `table=forever`.
    #[arg(long, value_name = "TABLE=DAYS", requires = "keep_days")]
    keep: Vec<TableKeep>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    /// Remove it, instead of showing what would be removed.
    #[arg(long)]
    execute: bool,
    /// How many rows a step removes at most, up to 100000.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    batch_size: u32,
    /// How many milliseconds it rests after a step.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    pause_ms: u64,
    /// Stop after so many steps; the next purge goes on.
    #[arg(long, value_name = "N")]
    max_batches: Option<NonZeroU64>,
    /// Remove also what consumers of the feed have not acknowledged.
    #[arg(long)]
    ignore_feed: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// A table and how long it is kept.
#[derive(Debug, Clone)]
struct TableKeep(TableName, Keep);

impl FromStr for TableKeep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("`{text}` says no table and time: write table=days or table=forever");
        let (table, days) = text.rsplit_once('=').ok_or_else(wrong)?;
        let table = table
            .parse::<TableName>()
            .map_err(|error| error.to_string())?;
        let keep = if days == "forever" {
            Keep::FOREVER
        } else {
            Keep::days(days.parse().map_err(|_| wrong())?).map_err(|error| error.to_string())?
        };
        Ok(Self(table, keep))
    }
}

pub(crate) async fn run(host: Host, command: RetentionCommand) -> Result<Answer, Failure> {
    match command {
        RetentionCommand::Plan(args) => {
            let policy = policy(host, &args.policy)?;
            let mut conn = connect(&args.database).await?;
            plan(&mut conn, &policy, &args.output).await
        }
        RetentionCommand::Purge(args) => purge(host, args).await,
        RetentionCommand::Runs(args) => {
            let mut conn = connect(&args.database).await?;
            let runs = retention_runs(&mut conn, SHOWN_RUNS)
                .await
                .context("cannot read the runs")?;
            if args.output.json {
                print_json(&runs).context("cannot print")?;
            } else {
                print_runs(&runs).context("cannot print")?;
            }
            Ok(Answer::Fine)
        }
    }
}

/// The policy of the command line, or else the code's.
fn policy(host: Host, args: &PolicyArgs) -> Result<RetentionPolicy, Failure> {
    let wrong =
        |error: threadline_core::retention::InvalidRetention| Failure::usage(error.to_string());
    if let Some(days) = args.keep_days {
        let mut policy = RetentionPolicy::keep(Keep::days(days).map_err(wrong)?);
        for TableKeep(table, keep) in &args.keep {
            policy = policy.table(table.clone(), *keep);
        }
        return policy.enabled().build().map_err(wrong);
    }
    let Some(policy) = host.retention else {
        return Err(Failure::usage(
            "there is no retention policy: pass --keep-days, or give the code's with \
             xtask!(my_app; retention: my_app::retention_policy)",
        ));
    };
    policy().map_err(wrong)
}

async fn plan(
    conn: &mut AsyncPgConnection,
    policy: &RetentionPolicy,
    output: &OutputArgs,
) -> Result<Answer, Failure> {
    let plan = plan_retention(conn, policy)
        .await
        .context("cannot plan the purge")?;
    if output.json {
        print_json(&plan).context("cannot print")?;
    } else {
        print_plan(&plan).context("cannot print")?;
    }
    Ok(Answer::Fine)
}

async fn purge(host: Host, args: PurgeArgs) -> Result<Answer, Failure> {
    let policy = policy(host, &args.policy)?;
    let batch_size =
        BatchSize::new(args.batch_size).map_err(|wrong| Failure::usage(wrong.to_string()))?;
    let mut conn = connect(&args.database).await?;
    if !args.execute {
        let answer = plan(&mut conn, &policy, &args.output).await?;
        eprintln!("nothing was removed: say --execute to remove it");
        return Ok(answer);
    }
    let stop = StopSignal::new();
    let mut options = PurgeOptions::new()
        .batch_size(batch_size)
        .pause(Duration::from_millis(args.pause_ms))
        .stop_signal(stop.clone());
    if let Some(batches) = args.max_batches {
        options = options.max_batches(batches);
    }
    if args.ignore_feed {
        options = options.feed_consumers(FeedConsumers::Ignore);
    }
    // Ctrl-C ends it after the step it is in.
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.stop();
        }
    });
    let mut meter = Meter::default();
    let purged =
        purge_with_progress(&mut conn, &policy, &options, &mut |step| meter.show(step)).await;
    meter.clear();
    let outcome = purged.map_err(|error| match error {
        RetentionError::Disabled | RetentionError::FeedBehind => Failure::usage(error.to_string()),
        other => Failure::CouldNotRun(anyhow::Error::new(other).context("cannot purge")),
    })?;
    if args.output.json {
        print_json(&outcome).context("cannot print")?;
    } else {
        print_outcome(&outcome).context("cannot print")?;
    }
    let is_done = outcome.run.state == RunState::Completed && outcome.run.postponed.is_empty();
    Ok(if is_done { Answer::Fine } else { Answer::Bad })
}

/// One line of progress, on a terminal.
#[derive(Debug, Default)]
struct Meter {
    changes: i64,
    is_shown: bool,
}

impl Meter {
    fn show(&mut self, step: &PurgeStep) {
        self.changes += step.changes;
        if stderr().is_terminal() {
            self.is_shown = true;
            let partition = step.partition.as_deref().unwrap_or_default();
            let _ = write!(
                stderr(),
                "\r\x1b[2K{} changes removed, {} {partition}",
                self.changes,
                step.kind.as_str()
            );
        }
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = write!(stderr(), "\r\x1b[2K");
        }
    }
}
