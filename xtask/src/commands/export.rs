//! `export`: changes as files and streams for other programs.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use diesel_async::AsyncPgConnection;
use serde_json::json;
use threadline_diesel::timeline::Timeline;
use threadline_export::{
    ActionColumns, Compression, CsvOptions, Export, ExportError, Format, FormulaGuard, Manifest,
    Progress, count,
};

use crate::cli::{DatabaseArgs, OutputArgs, TimelineFilterArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::print_json;

/// How often the progress line changes.
const METER_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are flags of a command line"
)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) filters: TimelineFilterArgs,
    /// How changes are written.
    #[arg(long, value_enum, default_value_t = FormatName::Csv)]
    pub(crate) format: FormatName,
    /// Compress with gzip. Parquet is compressed by itself.
    #[arg(long)]
    pub(crate) gzip: bool,
    /// The file to write, with its manifest beside it; `-` is standard output.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Export no more changes than this, the oldest, and say whether there were more.
    #[arg(long, value_name = "N")]
    pub(crate) max_rows: Option<NonZeroU64>,
    /// Write CSV for programs: text that spreadsheets would run as a formula stays as it is.
    #[arg(long)]
    pub(crate) no_formula_guard: bool,
    /// Add the columns of the action in force.
    #[arg(long)]
    pub(crate) with_actions: bool,
    /// Count the changes and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) report: OutputArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatName {
    /// Comma-separated values, with a header.
    Csv,
    /// One document, with a manifest at its end.
    Json,
    /// An object a line.
    Ndjson,
    /// Typed columns for analysis.
    #[cfg(feature = "parquet")]
    Parquet,
}

pub(crate) async fn run(args: ExportArgs) -> Result<Answer, Failure> {
    check(&args)?;
    let format = format(&args);
    let question = args.filters.question();
    let mut conn = connect(&args.database).await?;
    if args.dry_run {
        let rows = count(&mut conn, &question).await.context("cannot count")?;
        show_count(rows, args.max_rows, args.report.json).context("cannot print")?;
        return Ok(Answer::Fine);
    }
    let mut export = Export::new(question.clone()).format(format);
    if args.gzip {
        export = export.compression(Compression::Gzip);
    }
    if args.with_actions {
        export = export.action_columns(ActionColumns::With);
    }
    if let Some(most) = args.max_rows {
        export = export.max_rows(most);
    }
    if is_stdout(&args.output) {
        let mut meter = Meter::new(!stdout().is_terminal(), None);
        let outcome = export
            .write_to(&mut conn, &mut stdout(), |done| meter.show(done))
            .await;
        meter.clear();
        warn_if_cut(&outcome.context("cannot export")?);
        return Ok(Answer::Fine);
    }
    let total = expected(&mut conn, &question, args.max_rows).await?;
    let mut meter = Meter::new(true, total);
    let outcome = tokio::select! {
        outcome = export.write_file(&mut conn, &args.output, |done| meter.show(done)) => {
            outcome.map_err(refused)
        }
        _ = tokio::signal::ctrl_c() => {
            Err(anyhow!("stopped: nothing was written to {}", args.output.display()).into())
        }
    };
    meter.clear();
    let manifest = outcome?;
    report(&manifest, &args.output, args.report.json).context("cannot print")?;
    warn_if_cut(&manifest);
    Ok(Answer::Fine)
}

/// Refuses what would not do what was meant.
fn check(args: &ExportArgs) -> Result<(), Failure> {
    if args.no_formula_guard && args.format != FormatName::Csv {
        return Err(Failure::usage("--no-formula-guard is for --format csv"));
    }
    #[cfg(feature = "parquet")]
    if args.gzip && args.format == FormatName::Parquet {
        return Err(Failure::usage(
            "Parquet is compressed by itself: leave --gzip out",
        ));
    }
    if args.dry_run || !is_stdout(&args.output) {
        return Ok(());
    }
    if args.report.json {
        return Err(Failure::usage(
            "standard output holds the export: use --json with --output or --dry-run, and \
             --format json for an export as JSON",
        ));
    }
    if is_binary(args) && stdout().is_terminal() {
        return Err(Failure::usage(
            "this is not text for a terminal: name a file with --output, or pipe it on",
        ));
    }
    Ok(())
}

fn is_binary(args: &ExportArgs) -> bool {
    #[cfg(feature = "parquet")]
    if args.format == FormatName::Parquet {
        return true;
    }
    args.gzip
}

fn is_stdout(output: &Path) -> bool {
    output == Path::new("-")
}

fn format(args: &ExportArgs) -> Format {
    match args.format {
        FormatName::Csv => Format::Csv(CsvOptions::new().formula_guard(if args.no_formula_guard {
            FormulaGuard::Off
        } else {
            FormulaGuard::On
        })),
        FormatName::Json => Format::Json,
        FormatName::Ndjson => Format::Ndjson,
        #[cfg(feature = "parquet")]
        FormatName::Parquet => Format::Parquet,
    }
}

/// How many changes there will be, where somebody watches: counting takes its time.
async fn expected(
    conn: &mut AsyncPgConnection,
    question: &Timeline,
    most: Option<NonZeroU64>,
) -> Result<Option<u64>, Failure> {
    if !stderr().is_terminal() {
        return Ok(None);
    }
    let rows = count(conn, question).await.context("cannot count")?;
    Ok(Some(most.map_or(rows, |most| rows.min(most.get()))))
}

fn refused(error: ExportError) -> Failure {
    match error {
        ExportError::NotAFile(_) => Failure::usage(error.to_string()),
        other => Failure::CouldNotRun(anyhow::Error::new(other).context("cannot export")),
    }
}

fn show_count(rows: u64, most: Option<NonZeroU64>, as_json: bool) -> std::io::Result<()> {
    if as_json {
        return print_json(&json!({ "row_count": rows, "max_rows": most }));
    }
    match most {
        Some(most) if most.get() < rows => {
            writeln!(
                stdout(),
                "{rows} changes match, of which {most} would be exported"
            )
        }
        _ => writeln!(stdout(), "{rows} changes match"),
    }
}

fn report(manifest: &Manifest, output: &Path, as_json: bool) -> std::io::Result<()> {
    if as_json {
        return print_json(manifest);
    }
    writeln!(
        stdout(),
        "wrote {} changes ({} bytes, SHA-256 {}) to {}",
        manifest.summary.row_count,
        manifest.bytes,
        manifest.sha256,
        output.display()
    )
}

fn warn_if_cut(manifest: &Manifest) {
    if manifest.summary.cut {
        eprintln!(
            "warning: cut after {} changes, as --max-rows says; there are more",
            manifest.summary.row_count
        );
    }
}

/// A line on standard error that says how far the export is, if somebody is there to read it.
#[derive(Debug)]
struct Meter {
    visible: bool,
    total: Option<u64>,
    started: Instant,
    shown: Option<Instant>,
}

impl Meter {
    fn new(wanted: bool, total: Option<u64>) -> Self {
        Self {
            visible: wanted && stderr().is_terminal(),
            total,
            started: Instant::now(),
            shown: None,
        }
    }

    fn show(&mut self, done: Progress) {
        let recent = |shown: Instant| shown.elapsed() < METER_INTERVAL;
        if self.visible && !self.shown.is_some_and(recent) {
            let line = meter_line(done.rows, self.total, self.started.elapsed());
            // Whether anybody can read it must not decide about the export.
            let _ = write!(stderr(), "\r\x1b[K{line}");
            self.shown = Some(Instant::now());
        }
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn meter_line(rows: u64, total: Option<u64>, elapsed: Duration) -> String {
    let millis = elapsed.as_millis().max(1);
    let rate = u128::from(rows) * 1000 / millis;
    let Some(total) = total else {
        return format!("{rows} changes, {rate}/s");
    };
    let left = u128::from(total.saturating_sub(rows));
    match (left * millis).checked_div(u128::from(rows) * 1000) {
        Some(seconds) => {
            let (minutes, seconds) = (seconds / 60, seconds % 60);
            format!("{rows} of {total} changes, {rate}/s, {minutes}:{seconds:02} left")
        }
        None => format!("{rows} of {total} changes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_tells_rate_and_remaining_time() {
        let line = |rows, total| meter_line(rows, total, Duration::from_secs(2));
        assert_eq!(line(1000, None), "1000 changes, 500/s");
        assert_eq!(
            line(1000, Some(46_000)),
            "1000 of 46000 changes, 500/s, 1:30 left"
        );
        assert_eq!(line(0, Some(7)), "0 of 7 changes");
        assert_eq!(line(9, Some(7)), "9 of 7 changes, 4/s, 0:00 left");
    }
}
