//! `continuity`: when capture of tables started, and which rows have no history.

use std::io::{self, Write, stdout};

use clap::Args;
use threadline_core::table::TableName;
use threadline_diesel::capture_start::{CaptureStart, Counting, TableCaptureStart};
use threadline_diesel::documents::ContinuityDocument;

use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::list::show_table;
use crate::output::text::{escape, print_note, show_instant};

#[derive(Debug, Args)]
pub(crate) struct ContinuityArgs {
    /// Only this table.
    #[arg(long)]
    table: Option<TableName>,
    /// Show only tables that are not captured any more, have no key, or have rows without history.
    #[arg(long, conflicts_with = "json")]
    only_findings: bool,
    /// Do not count rows. Counting reads whole tables.
    #[arg(long)]
    no_count: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: ContinuityArgs) -> Result<Answer, Failure> {
    let mut question = CaptureStart::new();
    if args.no_count {
        question = question.counting(Counting::Nothing);
    }
    if let Some(table) = args.table.clone() {
        question = question.table(table);
    }
    let tables = read(&args.database, async |conn| {
        Ok(threadline_diesel::capture_start(conn, &question).await?)
    })
    .await?;
    let document = ContinuityDocument::new(&tables, args.table.as_ref());
    if args.output.json {
        print_json(&document)?;
    } else {
        print_tables(&tables, args.only_findings)?;
    }
    if let Some(missing) = args.table.filter(|_| tables.is_empty()) {
        print_note(&format!(
            "table {} is not captured",
            escape(&missing.to_string())
        ));
    }
    Ok(Answer::fine_if(document.unbroken))
}

/// Prints the tables that need attention first, or only those.
fn print_tables(tables: &[TableCaptureStart], only_findings: bool) -> io::Result<()> {
    let mut out = stdout().lock();
    if tables.is_empty() {
        return writeln!(out, "no table is captured");
    }
    let needs_attention = |table: &TableCaptureStart| !table.is_unbroken() || !table.has_key;
    let mut tables: Vec<_> = tables
        .iter()
        .filter(|table| !only_findings || needs_attention(table))
        .collect();
    tables.sort_by_key(|table| !needs_attention(table));
    if tables.is_empty() {
        return writeln!(out, "all rows have a history");
    }
    let mut lines = Vec::new();
    for table in &tables {
        let (rows, unknown) = match &table.rows {
            Some(rows) => (rows.row_count.to_string(), rows.unknown_count.to_string()),
            None => ("?".to_owned(), "?".to_owned()),
        };
        lines.push([
            escape(&table.table.to_string()),
            show_capture_start(table),
            rows,
            unknown,
            table.baselined_rows.to_string(),
            show_baseline(table),
        ]);
    }
    let header = [
        "table",
        "captured since (UTC)",
        "rows",
        "without history",
        "baselined",
        "last baseline",
    ];
    writeln!(out, "{}", show_table(header, &lines))?;
    for table in tables {
        let name = escape(&table.table.to_string());
        for gap in &table.gaps {
            writeln!(out, "{name}: {}", escape(&gap.to_string()))?;
        }
        if !table.captured {
            writeln!(out, "{name}: no longer captured, see coverage")?;
        } else if !table.has_key {
            writeln!(out, "{name}: no key, so its rows have no history")?;
        } else if !table.is_unbroken() {
            writeln!(
                out,
                "{name}: `baseline --table {name}` records the rows without history"
            )?;
        }
    }
    Ok(())
}

/// When capture of a table started, or the first record if that is not known.
pub(super) fn show_capture_start(table: &TableCaptureStart) -> String {
    match (table.captured_since, table.first_recorded_at) {
        (Some(since), _) => show_instant(since),
        (None, Some(first)) => format!("at the latest {}", show_instant(first)),
        (None, None) => "unknown".to_owned(),
    }
}

/// State, end and actor of the newest baseline.
pub(super) fn show_baseline(table: &TableCaptureStart) -> String {
    table.baseline.as_ref().map_or_else(
        || "none".to_owned(),
        |last| {
            format!(
                "{} {} by {}",
                last.state.as_str(),
                show_instant(last.ended_at.unwrap_or(last.started_at)),
                escape(&last.started_by)
            )
        },
    )
}
