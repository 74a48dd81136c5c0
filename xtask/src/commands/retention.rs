//! `retention`: shows and removes expired records, and shows past purges.

use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use diesel_async::AsyncPgConnection;
use threadline_core::retention::{InvalidRetention, Keep, RetentionPolicy};
use threadline_core::table::TableName;
use threadline_diesel::retention::{
    BatchSize, FeedConsumers, PurgeOptions, RetentionError, RunState, StopSignal,
    plan_archived_retention, plan_retention, purge_with_progress, retention_runs,
};
#[cfg(feature = "archive")]
use threadline_export::archive;

use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::{connect, read, transaction};
use crate::exit::{Answer, Failure};
use crate::host::Host;
use crate::output::json::print_json;
use crate::output::progress::Progress;
use crate::output::retention::{print_outcome, print_plan, print_runs};
use crate::output::text::print_note;

/// How many runs `retention runs` shows.
const SHOWN_RUNS: u32 = 40;

#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Show what a purge would remove.
    Plan(PlanArgs),
    /// Remove expired records. Without --execute, show the plan and remove nothing.
    Purge(PurgeArgs),
    /// Show the newest purges, newest first.
    Runs(RunsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RetentionPolicyArgs {
    /// Keep changes for this number of days, instead of the policy in the code.
    #[arg(long, value_name = "DAYS")]
    keep_days: Option<u32>,
    /// Keep the changes of a table for another period: `table=days` or `table=forever`.
    #[arg(long, value_name = "TABLE=DAYS", requires = "keep_days")]
    keep: Vec<TableKeep>,
    /// Remove only records that are archived on this storage, as the last `archive run` verified.
    #[cfg(feature = "archive")]
    #[arg(long, value_name = "STORAGE")]
    archived_only: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    policy: RetentionPolicyArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    policy: RetentionPolicyArgs,
    /// Remove the records, instead of showing the plan.
    #[arg(long)]
    execute: bool,
    /// The most rows that a step removes, up to 100000.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    batch_size: u32,
    /// The pause after a step, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    pause_ms: u64,
    /// Stop after this number of steps; the next purge continues.
    #[arg(long, value_name = "N")]
    max_batches: Option<NonZeroU64>,
    /// Also remove changes that consumers of the feed have not acknowledged.
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

/// A table and how long its changes are kept.
#[derive(Debug, Clone)]
struct TableKeep(TableName, Keep);

impl FromStr for TableKeep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("`{text}` is not a period for a table; write table=days or table=forever");
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
            let policy = build_policy(host, &args.policy)?;
            let mut conn = connect(&args.database).await?;
            let archived_to = archived_to(&mut conn, &args.policy).await?;
            plan(&mut conn, &policy, archived_to, &args.output).await
        }
        RetentionCommand::Purge(args) => purge(host, args).await,
        RetentionCommand::Runs(args) => {
            let runs = read(&args.database, async |conn| {
                let runs = retention_runs(conn, SHOWN_RUNS).await;
                Ok(runs.context("cannot read the runs")?)
            })
            .await?;
            if args.output.json {
                print_json(&runs)?;
            } else {
                print_runs(&runs)?;
            }
            Ok(Answer::Fine)
        }
    }
}

/// The policy of the options, or else of the code.
fn build_policy(host: Host, args: &RetentionPolicyArgs) -> Result<RetentionPolicy, Failure> {
    let wrong = |error: InvalidRetention| Failure::usage(error);
    if let Some(days) = args.keep_days {
        let mut policy = RetentionPolicy::keep(Keep::days(days).map_err(wrong)?);
        for TableKeep(table, keep) in &args.keep {
            policy = policy.table(table.clone(), *keep);
        }
        return policy.enabled().build().map_err(wrong);
    }
    let Some(policy) = host.retention else {
        return Err(Failure::usage(
            "there is no retention policy: pass --keep-days, or name the function of the code in \
             xtask!(my_app; retention: my_app::retention_policy)",
        ));
    };
    policy().map_err(wrong)
}

/// Until when all records are archived, if only those are removed.
#[cfg(feature = "archive")]
async fn archived_to(
    conn: &mut AsyncPgConnection,
    args: &RetentionPolicyArgs,
) -> Result<Option<DateTime<Utc>>, Failure> {
    let Some(storage) = &args.archived_only else {
        return Ok(None);
    };
    let archived = transaction(conn, async |conn| archive::archived_to(conn, storage).await)
        .await
        .context("cannot read until when records are archived")?;
    match archived {
        Some(archived) => Ok(Some(archived)),
        None => Err(Failure::usage(format!(
            "nothing is archived on storage {storage:?}: check the name, or run `archive run --storage {storage}`"
        ))),
    }
}

#[cfg(not(feature = "archive"))]
#[expect(clippy::unused_async, reason = "as with the feature")]
async fn archived_to(
    _conn: &mut AsyncPgConnection,
    _args: &RetentionPolicyArgs,
) -> Result<Option<DateTime<Utc>>, Failure> {
    Ok(None)
}

async fn plan(
    conn: &mut AsyncPgConnection,
    policy: &RetentionPolicy,
    archived_to: Option<DateTime<Utc>>,
    output: &OutputArgs,
) -> Result<Answer, Failure> {
    let plan = transaction(conn, async |conn| match archived_to {
        Some(archived_to) => plan_archived_retention(conn, policy, archived_to).await,
        None => plan_retention(conn, policy).await,
    })
    .await
    .context("cannot plan the purge")?;
    if output.json {
        print_json(&plan)?;
    } else {
        print_plan(&plan)?;
    }
    Ok(Answer::Fine)
}

async fn purge(host: Host, args: PurgeArgs) -> Result<Answer, Failure> {
    let policy = build_policy(host, &args.policy)?;
    let batch_size = BatchSize::new(args.batch_size).map_err(Failure::usage)?;
    let mut conn = connect(&args.database).await?;
    let archived_to = archived_to(&mut conn, &args.policy).await?;
    if !args.execute {
        let answer = plan(&mut conn, &policy, archived_to, &args.output).await?;
        print_note("nothing was removed; add --execute to remove the records");
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
    if let Some(archived_to) = archived_to {
        options = options.archived_to(archived_to);
    }
    if args.ignore_feed {
        options = options.feed_consumers(FeedConsumers::Ignore);
    }
    // Ctrl-C stops the purge after the current step.
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.stop();
        }
    });
    let line = Progress::message();
    let mut removed = 0;
    let purged = purge_with_progress(&mut conn, &policy, &options, &mut |step| {
        removed += step.changes;
        let partition = step.partition.as_deref().unwrap_or_default();
        line.set_message(&format!(
            "{removed} changes removed, {} {partition}",
            step.kind.as_str()
        ));
    })
    .await;
    drop(line);
    let outcome = purged.map_err(|error| match error {
        RetentionError::Disabled | RetentionError::FeedBehind => Failure::usage(error),
        other => Failure::CouldNotRun(anyhow::Error::new(other).context("cannot purge")),
    })?;
    if args.output.json {
        print_json(&outcome)?;
    } else {
        print_outcome(&outcome)?;
    }
    let is_complete = outcome.run.state == RunState::Completed && outcome.run.postponed.is_empty();
    Ok(Answer::fine_if(is_complete))
}
