//! `export`: changes as files and streams for other programs.

mod meter;

use std::fs;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use diesel_async::AsyncPgConnection;
use serde_json::json;
use threadline_diesel::timeline::Timeline;
use threadline_export::{
    ActionColumns, Compression, CsvOptions, Export, ExportError, Format, FormulaGuard, Manifest,
    Order, count,
};

use self::meter::{Meter, Terminal};
use crate::cli::{DatabaseArgs, OutputArgs, TimelineFilterArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::print_json;

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
    /// Write the manifest there, for an export to standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// The newest change first, as in a timeline; the oldest is, otherwise.
    #[arg(long)]
    pub(crate) newest_first: bool,
    /// Export no more changes than this, the first in the order, and say whether there were more.
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
    let mut conn = connect(&args.database).await?;
    let question = args.filters.clone().question(&mut conn).await?;
    // Before a file is written that holds nothing because of a slip of the pen.
    if let Some(subject) = args.filters.subject()
        && subject.check_table(&mut conn).await? == Answer::Bad
    {
        return Ok(Answer::Bad);
    }
    if args.dry_run {
        let rows = count(&mut conn, &question).await.context("cannot count")?;
        show_count(rows, args.max_rows, args.report.json).context("cannot print")?;
        return Ok(Answer::Fine);
    }
    let export = export(&args, question.clone());
    let manifest = if is_stdout(&args.output) {
        to_stdout(&export, &mut conn, args.manifest.as_deref()).await?
    } else {
        let total = expected(&mut conn, &question, args.max_rows).await?;
        let manifest = to_file(&export, &mut conn, &args.output, total).await?;
        report(&manifest, &args.output, args.report.json).context("cannot print")?;
        manifest
    };
    warn_if_cut(&manifest);
    Ok(Answer::Fine)
}

fn export(args: &ExportArgs, question: Timeline) -> Export {
    let mut export = Export::new(question).format(format(args));
    if args.gzip {
        export = export.compression(Compression::Gzip);
    }
    if args.with_actions {
        export = export.action_columns(ActionColumns::With);
    }
    if args.newest_first {
        export = export.order(Order::NewestFirst);
    }
    match args.max_rows {
        Some(most) => export.max_rows(most),
        None => export,
    }
}

/// Writes without holding up the thread, so that Ctrl-C is heard also when nobody reads on.
async fn to_stdout(
    export: &Export,
    conn: &mut AsyncPgConnection,
    manifest_path: Option<&Path>,
) -> Result<Manifest, Failure> {
    let terminal = if stdout().is_terminal() {
        Terminal::Taken
    } else {
        Terminal::Free
    };
    let mut meter = Meter::new(terminal, None);
    let mut out = tokio::io::stdout();
    let outcome = tokio::select! {
        outcome = export.write_to_async(conn, &mut out, |done| meter.show(done)) => {
            outcome.map_err(|error| anyhow::Error::new(error).context("cannot export"))
        }
        _ = tokio::signal::ctrl_c() => Err(anyhow!("stopped: the export is not complete")),
    };
    meter.clear();
    let manifest = outcome?;
    if let Some(path) = manifest_path {
        write_manifest(path, &manifest)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(manifest)
}

fn write_manifest(path: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    Ok(fs::write(path, text)?)
}

async fn to_file(
    export: &Export,
    conn: &mut AsyncPgConnection,
    path: &Path,
    total: Option<u64>,
) -> Result<Manifest, Failure> {
    let mut meter = Meter::new(Terminal::Free, total);
    let outcome = tokio::select! {
        outcome = export.write_file(conn, path, |done| meter.show(done)) => {
            outcome.map_err(refused)
        }
        _ = tokio::signal::ctrl_c() => {
            Err(anyhow!("stopped: nothing was written to {}", path.display()).into())
        }
    };
    meter.clear();
    outcome
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
    if args.manifest.is_some() && (args.dry_run || !is_stdout(&args.output)) {
        return Err(Failure::usage(
            "--manifest is for an export to standard output: a file has its manifest beside it",
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
