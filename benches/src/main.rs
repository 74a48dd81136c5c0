//! The cost of capture, compared with no capture, with a common trigger and with the physical limit; and
//! the cost of reading, compared with a common layout.
//!
//! `cargo run --release -p threadline-benches -- capture` starts a throwaway server and measures all
//! variants on it in one run, interleaved. `reading` does the same for queries and exports. See
//! `guides/performance.md`.

mod attribution;
mod bulk;
mod chart;
mod clients;
mod connections;
mod console;
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

/// Benchmarks of Threadline.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures capture.
    Capture(CaptureArguments),
    /// Measures what an audited write adds to a captured transaction.
    Attribution,
    /// Measures queries and exports on a large trail.
    Reading(reading::ReadingArguments),
    /// Measures pages of the operator console over a large trail.
    Console(console::ConsoleArguments),
    /// Measures what the tower layer adds to a request. Needs no server.
    Layer,
    /// Measures a purge of a million changes, by partition and in batches.
    Retention,
    /// Measures queries as of an instant, compared with the same queries on copies made at that instant.
    TimeTravel,
}

#[derive(Debug, clap::Args)]
struct CaptureArguments {
    /// Fewer rounds and rows, for a rough result.
    #[arg(long)]
    quick: bool,
    /// Writes all numbers to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the charts to this folder.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Measures on this server, as superuser, instead of on a throwaway one.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = match Arguments::parse().command {
        Command::Capture(arguments) => arguments,
        Command::Reading(arguments) => return reading::measure(arguments).await,
        Command::Console(arguments) => return console::measure(arguments).await,
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
