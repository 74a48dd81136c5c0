//! What capture costs, measured beside no capture, a common trigger and the physical limit; and what
//! reading costs, beside a common layout.
//!
//! `cargo run --release -p threadline-benches -- capture` starts a throwaway server and measures
//! everything on it, in one run and interleaved; `reading` does the same for questions and exports. See
//! `guides/performance.md`.

mod attribution;
mod bulk;
mod chart;
mod clients;
mod connections;
mod layer;
mod reading;
mod report;
mod retention;
mod sampling;
mod server;
mod small;
mod tables;
mod time_travel;
mod variant;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::report::Report;
use crate::sampling::Effort;
use crate::server::Server;

/// What Threadline costs.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures capture.
    Capture(CaptureArguments),
    /// Measures what the audited write adds to a transaction that is captured anyway.
    Attribution,
    /// Measures questions and exports on a large trail.
    Reading(reading::ReadingArguments),
    /// Measures what the tower layer adds to a request. No server.
    Layer,
    /// Measures a purge of a million changes, by partition and by steps.
    Retention,
    /// Measures queries as of an instant, beside the same on copies made then.
    TimeTravel,
}

#[derive(Debug, clap::Args)]
struct CaptureArguments {
    /// Fewer rounds and rows: a look, not a measurement.
    #[arg(long)]
    quick: bool,
    /// Writes every number there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the charts there.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// A server to measure on, as superuser, instead of a throwaway one.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = match Arguments::parse().command {
        Command::Capture(arguments) => arguments,
        Command::Reading(arguments) => return reading::measure(arguments).await,
        Command::Layer => return layer::measure(),
        Command::Retention => return retention::measure(&Server::start(None)?).await,
        Command::TimeTravel => return time_travel::measure(&Server::start(None)?).await,
        Command::Attribution => return attribution::measure(&Server::start(None)?).await,
    };
    let effort = if arguments.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let server = Server::start(arguments.database_url.as_deref())?;
    let facts = server.facts().await?;
    println!("{facts}\n");
    let sides = variant::prepare(&server).await?;
    let mut report = Report::new(facts);
    report.small = small::measure(&sides, effort).await?;
    report.bulk = bulk::measure(&sides, effort).await?;
    report.clients = clients::measure(&sides, effort).await?;
    let connections = connections::measure(&server).await?;
    println!("{}", report.tables());
    println!("{connections}");
    if let Some(file) = arguments.json {
        std::fs::write(&file, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(folder) = arguments.svg {
        chart::write_all(&folder, &report)?;
    }
    Ok(())
}
