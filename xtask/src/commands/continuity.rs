//! `continuity`: since when tables are known, and how many of their rows are older.

use std::io::{self, Write, stdout};

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use threadline_core::table::TableName;
use threadline_diesel::capture_start::{CaptureStart, Counting, TableCaptureStart};
use threadline_diesel::nonblocking;

use crate::cli::{DatabaseArgs, OutputArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{new_table, print_json};

#[derive(Debug, Args)]
pub(crate) struct ContinuityArgs {
    /// Only this table.
    #[arg(long)]
    pub(crate) table: Option<TableName>,
    /// Do not count rows, which reads whole tables.
    #[arg(long)]
    pub(crate) no_count: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

/// The answer as `--json` prints it. Stable: fields may be added.
#[derive(Debug, Serialize)]
struct ContinuityDocument<'a> {
    unbroken: bool,
    tables: &'a [TableCaptureStart],
}

pub(crate) async fn run(args: ContinuityArgs) -> Result<Answer, Failure> {
    let mut question = CaptureStart::new();
    if args.no_count {
        question = question.counting(Counting::Nothing);
    }
    if let Some(table) = args.table.clone() {
        question = question.table(table);
    }
    let mut conn = connect(&args.database).await?;
    let tables = nonblocking::capture_start(&mut conn, &question)
        .await
        .context("cannot tell since when tables are known")?;
    let missing = args.table.filter(|_| tables.is_empty());
    let unbroken = missing.is_none() && tables.iter().all(TableCaptureStart::is_unbroken);
    if args.output.json {
        let document = ContinuityDocument {
            unbroken,
            tables: &tables,
        };
        print_json(&document).context("cannot print")?;
    } else {
        print(&tables).context("cannot print")?;
    }
    if let Some(missing) = missing {
        eprintln!("table {missing} is not captured");
    }
    Ok(if unbroken { Answer::Fine } else { Answer::Bad })
}

/// The tables, for people.
fn print(tables: &[TableCaptureStart]) -> io::Result<()> {
    let mut out = stdout().lock();
    if tables.is_empty() {
        return writeln!(out, "no table is captured");
    }
    let mut shown = new_table();
    shown.set_header([
        "table",
        "captured since (UTC)",
        "rows",
        "without history",
        "baselined",
        "last baseline",
    ]);
    for table in tables {
        let (rows, unknown) = match &table.rows {
            Some(rows) => (rows.row_count.to_string(), rows.unknown_count.to_string()),
            None => ("?".to_owned(), "?".to_owned()),
        };
        shown.add_row([
            table.table.to_string(),
            shown_beginning(table),
            rows,
            unknown,
            table.baselined_rows.to_string(),
            shown_baseline(table),
        ]);
    }
    writeln!(out, "{shown}")?;
    for table in tables {
        if !table.captured {
            writeln!(out, "{}: not captured now, see coverage", table.table)?;
        } else if !table.has_key {
            writeln!(out, "{}: no key, so its rows have no history", table.table)?;
        } else if !table.is_unbroken() {
            writeln!(
                out,
                "{}: `baseline --table {}` would record the rows without history",
                table.table, table.table
            )?;
        }
    }
    Ok(())
}

/// Since when a table is known, as well as that is known.
pub(super) fn shown_beginning(table: &TableCaptureStart) -> String {
    match (table.captured_since, table.first_recorded_at) {
        (Some(since), _) => shown_instant(since),
        (None, Some(first)) => format!("at the latest {}", shown_instant(first)),
        (None, None) => "unknown".to_owned(),
    }
}

/// The newest baseline and how far it came.
pub(super) fn shown_baseline(table: &TableCaptureStart) -> String {
    table.baseline.as_ref().map_or_else(
        || "none".to_owned(),
        |last| {
            format!(
                "{} {} by {}",
                last.state.as_str(),
                shown_instant(last.ended_at.unwrap_or(last.started_at)),
                last.started_by
            )
        },
    )
}

fn shown_instant(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M:%S").to_string()
}
