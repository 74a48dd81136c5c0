//! The cost of reading a large trail, compared with the same queries on a common layout.

mod export;
mod queries;
pub(crate) mod trail;

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use comfy_table::Table;
use serde::Serialize;

use self::export::Throughput;
use self::queries::Measured;
use self::trail::Trail;
use crate::server::{Facts, Server};

#[derive(Debug, clap::Args)]
pub(crate) struct ReadingArguments {
    /// The number of changes in the trail. 10 million take 15 GB in each of the two layouts.
    #[arg(long, value_name = "N", default_value_t = 10_000_000,
          value_parser = clap::value_parser!(i64).range(100_000..))]
    changes: i64,
    /// Writes all numbers to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measures on this server, as superuser, instead of on a throwaway one.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Measures in this database, which has both layouts already. Writes nothing.
    #[arg(long, value_name = "URL", conflicts_with_all = ["database_url", "changes"])]
    trail: Option<String>,
}

/// The results of one run.
#[derive(Debug, Serialize)]
struct Report {
    facts: Facts,
    changes: i64,
    queries: Vec<Measured>,
    exports: Vec<Throughput>,
}

/// Builds the trail, measures queries and exports, and prints the results.
pub(crate) async fn measure(arguments: ReadingArguments) -> Result<()> {
    let url = arguments
        .trail
        .as_deref()
        .or(arguments.database_url.as_deref());
    let server = Server::start(url)?;
    let facts = server.facts().await?;
    println!("{facts}\n");
    let trail = match &arguments.trail {
        Some(url) => Trail::existing(url).await?,
        None => Trail::build(&server, arguments.changes).await?,
    };
    let queries = queries::measure(&trail).await?;
    let exports = export::measure(&trail).await?;
    let report = Report {
        facts,
        changes: trail.changes(),
        queries,
        exports,
    };
    println!("{}", report.tables());
    if let Some(file) = arguments.json {
        std::fs::write(&file, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

impl Report {
    fn tables(&self) -> String {
        let mut text = format!("{} changes\n", self.changes);
        let _ = writeln!(
            text,
            "Queries, milliseconds, warm\n{}\n",
            self.query_table()
        );
        let _ = write!(
            text,
            "Export, compared with COPY of the same columns\n{}",
            self.export_table()
        );
        text
    }

    fn query_table(&self) -> Table {
        let mut table = Table::new();
        table.set_header([
            "query",
            "rows",
            "p50",
            "p95",
            "goal",
            "common p50",
            "common p95",
            "x common",
        ]);
        for one in &self.queries {
            let common = one.common;
            let of = |value: fn(queries::Times) -> f64| {
                common.map_or_else(String::new, |common| format!("{:.2}", value(common)))
            };
            table.add_row([
                one.name.to_owned(),
                one.rows.to_string(),
                format!("{:.2}", one.ours.p50),
                format!("{:.2}", one.ours.p95),
                one.goal.map_or_else(String::new, |goal| format!("{goal}")),
                of(|times| times.p50),
                of(|times| times.p95),
                common.map_or_else(String::new, |common| {
                    format!("{:.3}", one.ours.p50 / common.p50)
                }),
            ]);
        }
        table
    }

    fn export_table(&self) -> Table {
        let mut table = Table::new();
        table.set_header(["export", "rows/s", "MB/s", "first byte ms", "x COPY"]);
        let copy = self
            .exports
            .first()
            .map_or(f64::NAN, |copy| copy.rows_per_second);
        for one in &self.exports {
            table.add_row([
                one.name.to_owned(),
                format!("{:.0}", one.rows_per_second),
                format!("{:.0}", one.bytes_per_second / 1e6),
                format!("{:.1}", one.first_byte_ms),
                format!("{:.2}", one.rows_per_second / copy),
            ]);
        }
        table
    }
}
