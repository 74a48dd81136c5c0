//! `feed`: consumers of the feed.

use std::io::{self, Write, stdout};
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::{Args, Subcommand};
use diesel_async::AsyncPgConnection;
use threadline_diesel::feed::{
    self, Batch, BatchSize, ConsumerName, FeedError, Lag, LeaseTime, Leased, Start,
};

use crate::cli::{DatabaseArgs, OutputArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{new_table, print_json};

/// How long `read` waits before it asks again.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(crate) struct FeedArgs {
    #[command(subcommand)]
    command: FeedCommand,
}

#[derive(Debug, Subcommand)]
enum FeedCommand {
    /// Show every consumer and how far it is.
    List(ListArgs),
    /// Make a consumer.
    Create(CreateArgs),
    /// Drop a consumer and forget how far it is.
    Drop(DropArgs),
    /// Show how far a consumer is, and what it waits for.
    Lag(LagArgs),
    /// Lease the next changes and actions of a consumer and print them as JSON, one a line.
    Read(ReadArgs),
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
    /// Its name: lower-case letters, digits, `_`, `-` and `.`.
    consumer: ConsumerName,
    /// Where it begins: `beginning`, `now`, or the id of the change or action to go on after.
    #[arg(long, value_name = "PLACE", default_value = "beginning")]
    start: Start,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
struct DropArgs {
    /// Its name.
    consumer: ConsumerName,
    /// Drop it, and do not only show what would be forgotten.
    #[arg(long)]
    execute: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
struct LagArgs {
    /// Its name.
    consumer: ConsumerName,
    /// Exit with 1 when the first change or action it has not acknowledged is older than this.
    #[arg(long, value_name = "SECONDS")]
    max_behind: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
struct ReadArgs {
    /// Its name.
    consumer: ConsumerName,
    /// How many changes and actions to read, at most 10000.
    #[arg(long, value_name = "N", default_value_t = 500)]
    limit: u32,
    /// Acknowledge what was printed. Without it the same lines come again.
    #[arg(long)]
    acknowledge: bool,
    /// How long the lease lasts while they are printed.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    lease: u32,
    /// How long to wait for running transactions that newer changes depend on.
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
        FeedCommand::Read(args) => read(&args).await,
    }
}

async fn list(args: &ListArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let consumers = feed::list(&mut conn)
        .await
        .context("cannot read the consumers")?;
    if args.output.json {
        print_json(&consumers).context("cannot print")?;
    } else if consumers.is_empty() {
        writeln!(stdout(), "there are no consumers").context("cannot print")?;
    } else {
        writeln!(stdout(), "{}", show_lags(&consumers)).context("cannot print")?;
    }
    Ok(Answer::Fine)
}

async fn create(args: &CreateArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    match feed::create(&mut conn, &args.consumer, args.start).await {
        Ok(()) => {
            writeln!(stdout(), "created {}", args.consumer).context("cannot print")?;
            Ok(Answer::Fine)
        }
        Err(exists @ FeedError::ConsumerExists(_)) => {
            eprintln!("{exists}");
            Ok(Answer::Bad)
        }
        Err(error @ FeedError::NoSuchPlace { .. }) => Err(Failure::usage(error.to_string())),
        Err(error) => Err(could_not(error, "cannot create the consumer")),
    }
}

async fn drop_consumer(args: &DropArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let Some(lag) = lag_of(&mut conn, &args.consumer).await? else {
        return Ok(Answer::Bad);
    };
    writeln!(stdout(), "{}", show_lags(std::slice::from_ref(&lag))).context("cannot print")?;
    if !args.execute {
        writeln!(
            stdout(),
            "nothing was dropped: --execute forgets that {} is at {}",
            args.consumer,
            lag.acknowledged_to
        )
        .context("cannot print")?;
        return Ok(Answer::Fine);
    }
    feed::drop_consumer(&mut conn, &args.consumer)
        .await
        .map_err(|error| could_not(error, "cannot drop the consumer"))?;
    writeln!(stdout(), "dropped {}", args.consumer).context("cannot print")?;
    Ok(Answer::Fine)
}

async fn lag(args: &LagArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let Some(lag) = lag_of(&mut conn, &args.consumer).await? else {
        return Ok(Answer::Bad);
    };
    if args.output.json {
        print_json(&lag).context("cannot print")?;
    } else {
        writeln!(stdout(), "{}", show_lags(std::slice::from_ref(&lag))).context("cannot print")?;
    }
    let most = args
        .max_behind
        .map(|seconds| TimeDelta::seconds(i64::from(seconds)));
    Ok(match (lag.behind_for(Utc::now()), most) {
        (Some(behind), Some(most)) if behind > most => Answer::Bad,
        _ => Answer::Fine,
    })
}

/// How far a consumer is; says so where there is none.
async fn lag_of(
    conn: &mut AsyncPgConnection,
    consumer: &ConsumerName,
) -> Result<Option<Lag>, Failure> {
    match feed::lag(conn, consumer).await {
        Ok(lag) => Ok(Some(lag)),
        Err(unknown @ FeedError::NoSuchConsumer(_)) => {
            eprintln!("{unknown}");
            Ok(None)
        }
        Err(error) => Err(could_not(error, "cannot read the consumer")),
    }
}

async fn read(args: &ReadArgs) -> Result<Answer, Failure> {
    let size = BatchSize::new(args.limit).map_err(|wrong| Failure::usage(wrong.to_string()))?;
    let time = LeaseTime::new(Duration::from_secs(u64::from(args.lease)))
        .map_err(|wrong| Failure::usage(wrong.to_string()))?;
    let mut conn = connect(&args.database).await?;
    let give_up = Instant::now() + Duration::from_secs(u64::from(args.wait));
    let leased = loop {
        match feed::lease(&mut conn, &args.consumer, time, size).await {
            Ok(Leased::Waiting) if Instant::now() < give_up => tokio::time::sleep(PAUSE).await,
            leased => break leased,
        }
    };
    let leased = match leased {
        Err(unknown @ FeedError::NoSuchConsumer(_)) => {
            eprintln!("{unknown}");
            return Ok(Answer::Bad);
        }
        leased => leased.map_err(|error| could_not(error, "cannot lease"))?,
    };
    let batch = match leased {
        Leased::Batch(batch) => batch,
        Leased::Held { until } => {
            let until = until.map_or_else(String::new, |until| format!(" until {}", shown(until)));
            eprintln!("another worker has the lease of {}{until}", args.consumer);
            return Ok(Answer::Bad);
        }
        Leased::Waiting => {
            eprintln!("nothing yet: newer changes wait for running transactions; see `feed lag`");
            return Ok(Answer::Fine);
        }
        _ => return Ok(Answer::Fine),
    };
    if let Some(instant) = batch.removed_before {
        eprintln!(
            "warning: retention removed changes captured before {}, perhaps before {} saw them",
            shown(instant),
            args.consumer
        );
    }
    let printed = print_batch(&batch).context("cannot print");
    // Only what was printed whole is done with.
    let ended = if args.acknowledge && printed.is_ok() {
        feed::acknowledge(&mut conn, &batch.token).await
    } else {
        feed::release(&mut conn, &batch.token).await
    };
    printed?;
    ended.map_err(|error| could_not(error, "cannot end the lease"))?;
    Ok(Answer::Fine)
}

fn print_batch(batch: &Batch) -> io::Result<()> {
    let mut out = io::BufWriter::new(stdout().lock());
    for item in &batch.items {
        serde_json::to_writer(&mut out, item)?;
        writeln!(out)?;
    }
    out.flush()
}

fn could_not(error: FeedError, what: &'static str) -> Failure {
    Failure::CouldNotRun(anyhow::Error::new(error).context(what))
}

fn shown(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Consumers as a table for people.
fn show_lags(lags: &[Lag]) -> String {
    let mut table = new_table();
    table.set_header(["consumer", "at", "behind", "oldest", "lease", "waits for"]);
    let now = Utc::now();
    for lag in lags {
        table.add_row([
            lag.consumer.clone(),
            lag.acknowledged_to.to_string(),
            match lag.behind_at_most {
                0 => String::from("0"),
                most => format!("at most {most}"),
            },
            lag.behind_for(now)
                .map_or_else(String::new, |behind| format!("{} s", behind.num_seconds())),
            match (&lag.leased_by, lag.leased_until) {
                (Some(by), Some(until)) if until > now => format!("{by} until {}", shown(until)),
                _ => String::new(),
            },
            shown_waiting(lag),
        ]);
    }
    table.to_string()
}

fn shown_waiting(lag: &Lag) -> String {
    let Some(running) = &lag.waiting_for else {
        return String::new();
    };
    let who = match (&running.prepared, running.pid) {
        (Some(name), _) => format!("prepared transaction {name}"),
        (None, Some(pid)) => format!("process {pid}"),
        (None, None) => format!("transaction {}", running.xid),
    };
    match running.since {
        Some(since) => format!("{who} since {}", shown(since)),
        None => who,
    }
}
