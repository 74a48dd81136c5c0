//! `feed`: consumers of the feed.

mod deliver;

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::{Args, Subcommand};
use diesel_async::AsyncPgConnection;
use threadline_diesel::feed::{
    self, BatchSize, ConsumerName, FeedError, Lag, LeaseTime, Leased, Start,
};

use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::{connect, read, transaction};
use crate::exit::{Answer, Failure};
use crate::output::json::{print_json, print_ndjson};
use crate::output::list::show_table;
use crate::output::text::{escape, print_block, print_line, print_note};

/// The pause between two attempts of `read` to lease a batch.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(crate) struct FeedArgs {
    #[command(subcommand)]
    command: FeedCommand,
}

#[derive(Debug, Subcommand)]
enum FeedCommand {
    /// Show all consumers and their positions.
    List(ListArgs),
    /// Create a consumer.
    Create(CreateArgs),
    /// Drop a consumer and its position.
    Drop(DropArgs),
    /// Show the position of a consumer, and the transaction it waits for.
    Lag(LagArgs),
    /// Lease the next changes and actions of a consumer and print them as JSON, one per line.
    Read(ReadArgs),
    /// Deliver the changes and actions of a consumer over HTTP. Needs a program that is built with the feature
    /// `http`.
    Deliver(deliver::DeliverArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The name of the consumer: lower-case letters, digits, `_`, `-` and `.`.
    consumer: ConsumerName,
    /// The start position: `beginning`, `now`, or the id of the change or action to start after.
    #[arg(long, value_name = "POSITION", default_value = "beginning")]
    start: Start,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
struct DropArgs {
    /// The name of the consumer.
    consumer: ConsumerName,
    /// Drop the consumer, instead of showing it.
    #[arg(long)]
    execute: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
struct LagArgs {
    /// The name of the consumer.
    consumer: ConsumerName,
    /// Exit 1 if the oldest change or action that is not acknowledged is older than this.
    #[arg(long, value_name = "SECONDS")]
    max_behind: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
struct ReadArgs {
    /// The name of the consumer.
    consumer: ConsumerName,
    /// Read at most this number of changes and actions, up to 10000.
    #[arg(long, value_name = "N", default_value_t = 500)]
    limit: u32,
    /// Acknowledge the printed lines. Without this option, the next read prints them again.
    #[arg(long)]
    acknowledge: bool,
    /// The duration of the lease while the lines are printed.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    lease: u32,
    /// The time to wait for running transactions that hold back newer changes.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    wait: u32,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: FeedArgs) -> Result<Answer, Failure> {
    match args.command {
        FeedCommand::List(args) => list(&args).await,
        FeedCommand::Create(args) => create(&args).await,
        FeedCommand::Drop(args) => drop_consumer(&args).await,
        FeedCommand::Lag(args) => lag(&args).await,
        FeedCommand::Read(args) => read_batch(&args).await,
        FeedCommand::Deliver(args) => deliver::run(&args).await,
    }
}

async fn list(args: &ListArgs) -> Result<Answer, Failure> {
    let consumers = read(&args.database, async |conn| {
        Ok(feed::list(conn)
            .await
            .context("cannot read the consumers")?)
    })
    .await?;
    if args.output.json {
        print_json(&consumers)?;
    } else if consumers.is_empty() {
        print_line("there are no consumers")?;
    } else {
        print_block(&show_lags(&consumers))?;
    }
    Ok(Answer::Fine)
}

async fn create(args: &CreateArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let created = transaction(&mut conn, async |conn| {
        feed::create(conn, &args.consumer, args.start).await
    });
    match created.await {
        Ok(()) => {
            print_line(&format!("created {}", args.consumer))?;
            Ok(Answer::Fine)
        }
        Err(exists @ FeedError::ConsumerExists(_)) => {
            print_note(&format!("{exists}"));
            Ok(Answer::Bad)
        }
        Err(error @ FeedError::NoSuchPlace { .. }) => Err(Failure::usage(error)),
        Err(error) => Err(could_not_run(error, "cannot create the consumer")),
    }
}

async fn drop_consumer(args: &DropArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let Some(lag) = lag_of(&mut conn, &args.consumer).await? else {
        return Ok(Answer::Bad);
    };
    print_block(&show_lags(std::slice::from_ref(&lag)))?;
    if !args.execute {
        print_line(&format!(
            "nothing was dropped; --execute drops {} and its position {}",
            args.consumer, lag.acknowledged_to
        ))?;
        return Ok(Answer::Fine);
    }
    transaction(&mut conn, async |conn| {
        feed::drop_consumer(conn, &args.consumer).await
    })
    .await
    .map_err(|error| could_not_run(error, "cannot drop the consumer"))?;
    print_line(&format!("dropped {}", args.consumer))?;
    Ok(Answer::Fine)
}

async fn lag(args: &LagArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let Some(lag) = lag_of(&mut conn, &args.consumer).await? else {
        return Ok(Answer::Bad);
    };
    if args.output.json {
        print_json(&lag)?;
    } else {
        print_block(&show_lags(std::slice::from_ref(&lag)))?;
    }
    let max_behind = args
        .max_behind
        .map(|seconds| TimeDelta::seconds(i64::from(seconds)));
    let is_late = match (lag.behind_for(Utc::now()), max_behind) {
        (Some(behind), Some(max)) => behind > max,
        _ => false,
    };
    Ok(Answer::fine_if(!is_late))
}

/// The lag of a consumer; an error message if it does not exist.
async fn lag_of(
    conn: &mut AsyncPgConnection,
    consumer: &ConsumerName,
) -> Result<Option<Lag>, Failure> {
    match transaction(conn, async |conn| feed::lag(conn, consumer).await).await {
        Ok(lag) => Ok(Some(lag)),
        Err(unknown @ FeedError::NoSuchConsumer(_)) => {
            print_note(&format!("{unknown}"));
            Ok(None)
        }
        Err(error) => Err(could_not_run(error, "cannot read the consumer")),
    }
}

async fn read_batch(args: &ReadArgs) -> Result<Answer, Failure> {
    let size = BatchSize::new(args.limit).map_err(Failure::usage)?;
    let time =
        LeaseTime::new(Duration::from_secs(u64::from(args.lease))).map_err(Failure::usage)?;
    let mut conn = connect(&args.database).await?;
    let deadline = Instant::now() + Duration::from_secs(u64::from(args.wait));
    let leased = loop {
        let lease = transaction(&mut conn, async |conn| {
            feed::lease(conn, &args.consumer, time, size).await
        });
        match lease.await {
            Ok(Leased::Waiting) if Instant::now() < deadline => {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            leased => break leased,
        }
    };
    let leased = match leased {
        Err(unknown @ FeedError::NoSuchConsumer(_)) => {
            print_note(&format!("{unknown}"));
            return Ok(Answer::Bad);
        }
        leased => leased.map_err(|error| could_not_run(error, "cannot lease"))?,
    };
    let batch = match leased {
        Leased::Batch(batch) => batch,
        Leased::Held { until } => {
            let until = until.map_or_else(String::new, |until| {
                format!(" until {}", show_rfc3339(until))
            });
            print_note(&format!(
                "another worker has the lease of {}{until}",
                args.consumer
            ));
            return Ok(Answer::Bad);
        }
        Leased::Waiting => {
            print_note("no changes yet: newer ones wait for running transactions; see `feed lag`");
            return Ok(Answer::Fine);
        }
        _ => return Ok(Answer::Fine),
    };
    if let Some(instant) = batch.removed_before {
        print_note(&format!(
            "warning: retention removed changes captured before {}; {} may not have read all of them",
            show_rfc3339(instant),
            args.consumer
        ));
    }
    let printed = print_ndjson(&batch.items);
    // A batch that was printed in part is not acknowledged.
    let ended = transaction(&mut conn, async |conn| {
        if args.acknowledge && printed.is_ok() {
            feed::acknowledge(conn, &batch.token).await
        } else {
            feed::release(conn, &batch.token).await
        }
    })
    .await;
    printed?;
    ended.map_err(|error| could_not_run(error, "cannot end the lease"))?;
    Ok(Answer::Fine)
}

fn could_not_run(error: FeedError, context: &'static str) -> Failure {
    Failure::CouldNotRun(anyhow::Error::new(error).context(context))
}

fn show_rfc3339(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn show_lags(lags: &[Lag]) -> String {
    let mut rows = Vec::new();
    let now = Utc::now();
    for lag in lags {
        rows.push([
            lag.consumer.clone(),
            lag.acknowledged_to.to_string(),
            match lag.behind_at_most {
                0 => String::from("0"),
                limit => format!("at most {limit}"),
            },
            lag.behind_for(now)
                .map_or_else(String::new, |behind| format!("{} s", behind.num_seconds())),
            match (&lag.leased_by, lag.leased_until) {
                (Some(by), Some(until)) if until > now => {
                    format!("{} until {}", escape(by), show_rfc3339(until))
                }
                _ => String::new(),
            },
            show_blocker(lag),
        ]);
    }
    show_table(
        ["consumer", "at", "behind", "oldest", "lease", "waits for"],
        &rows,
    )
}

/// The transaction that holds back newer changes.
fn show_blocker(lag: &Lag) -> String {
    let Some(running) = &lag.waiting_for else {
        return String::new();
    };
    let who = match (&running.prepared, running.pid) {
        (Some(name), _) => format!("prepared transaction {}", escape(name)),
        (None, Some(pid)) => format!("process {pid}"),
        (None, None) => format!("transaction {}", running.xid),
    };
    match running.since {
        Some(since) => format!("{who} since {}", show_rfc3339(since)),
        None => who,
    }
}
