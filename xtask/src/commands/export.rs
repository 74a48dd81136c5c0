//! `export`: changes as files and streams for other programs.

use std::fs;
use std::io::{self, IsTerminal, stderr, stdout};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use diesel_async::AsyncPgConnection;
use serde_json::json;
use threadline_diesel::Timeline;
use threadline_diesel::query::TimelineFilters;
use threadline_export::{Export, ExportError, Manifest, count, jobs};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::empty_answer::explain_empty;
use super::jobs::print_enqueued;
use super::timeline::filtered_timeline;
use crate::args::{DatabaseArgs, ExportFormArgs, JobArgs, OutputArgs, TimelineFilterArgs};
use crate::connection::{connect, transaction};
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::progress::Progress;
use crate::output::text::{escape, print_line, print_note};
use crate::settings::settings;

/// The bytes that an export to a terminal can be ahead of it.
const TERMINAL_BUFFER: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    filters: TimelineFilterArgs,
    #[command(flatten)]
    form: ExportFormArgs,
    /// The file to write; its manifest is written beside it. `-` is standard output.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// The file for the manifest of an export to standard output.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Export at most this number of changes, and report whether more match.
    #[arg(long, value_name = "N")]
    max_rows: Option<NonZeroU64>,
    /// Only count the changes.
    #[arg(long)]
    dry_run: bool,
    /// Enqueue a job that writes the file to a storage. `work` runs it.
    #[arg(long, conflicts_with_all = ["output", "manifest", "max_rows", "dry_run"])]
    background: bool,
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    report: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: ExportArgs) -> Result<Answer, Failure> {
    check_options(&args)?;
    args.filters.resolve_window()?;
    let filters = args.filters.clone().into_filters()?;
    if args.background {
        return enqueue(&args, filters).await;
    }
    let mut conn = connect(&args.database).await?;
    let checked = transaction(&mut conn, async |conn| {
        let question = filtered_timeline(conn, &filters).await?;
        // A misspelt table must not create an empty file.
        if let Some(table) = filters.table.clone() {
            let table = Timeline::new().table(table);
            if explain_empty(conn, &table).await? == Answer::Bad {
                return Ok::<_, Failure>(None);
            }
        }
        Ok(Some(question))
    })
    .await?;
    let Some(question) = checked else {
        return Ok(Answer::Bad);
    };
    if args.dry_run {
        let rows = count(&mut conn, &question).await.context("cannot count")?;
        print_count(rows, args.max_rows, args.report.json)?;
        if rows == 0 {
            explain_no_changes(&mut conn, &question).await?;
        }
        return Ok(Answer::Fine);
    }
    let export = build_export(&args, question.clone());
    let manifest = if is_stdout(&args.output) {
        write_stdout(&export, &mut conn, args.manifest.as_deref()).await?
    } else {
        let total = count_for_progress(&mut conn, &question, args.max_rows).await?;
        let manifest = write_file(&export, &mut conn, &args.output, total).await?;
        print_manifest(&manifest, &args.output, args.report.json)?;
        manifest
    };
    warn_if_limited(&manifest);
    if manifest.summary.row_count == 0 {
        if is_stdout(&args.output) {
            print_note("no changes match");
        }
        explain_no_changes(&mut conn, &question).await?;
    }
    Ok(Answer::Fine)
}

/// Enqueues the export as a job.
async fn enqueue(args: &ExportArgs, filters: TimelineFilters) -> Result<Answer, Failure> {
    let settings = settings();
    let request = args.job.request(&args.form, filters);
    let job = request.new_job(settings.now, settings.zone)?;
    let job = args.job.add_owner(job);
    let mut conn = connect(&args.database).await?;
    let enqueued = transaction(&mut conn, async |conn| jobs::enqueue(conn, &job).await).await;
    print_enqueued(enqueued, args.report.json)
}

/// Explains on standard error why an export has no changes.
async fn explain_no_changes(
    conn: &mut AsyncPgConnection,
    question: &Timeline,
) -> Result<(), Failure> {
    transaction(conn, async |conn| explain_empty(conn, question).await).await?;
    Ok(())
}

fn build_export(args: &ExportArgs, question: Timeline) -> Export {
    let form = &args.form;
    let export = Export::new(question)
        .format(form.format())
        .compression(form.compression())
        .layout(form.layout())
        .action_columns(form.action_columns())
        .order(form.order());
    match args.max_rows {
        Some(limit) => export.max_rows(limit),
        None => export,
    }
}

/// Exports to standard output. Asynchronous, so that Ctrl-C works while the pipe is full.
async fn write_stdout(
    export: &Export,
    conn: &mut AsyncPgConnection,
    manifest_path: Option<&Path>,
) -> Result<Manifest, Failure> {
    let line = if stdout().is_terminal() {
        Progress::hidden()
    } else {
        Progress::changes(None)
    };
    let outcome = tokio::select! {
        outcome = write_async(export, conn, &line) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("stopped: the export is not complete")),
    };
    drop(line);
    let manifest = outcome?;
    if let Some(path) = manifest_path {
        write_manifest(path, &manifest)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(manifest)
}

/// Exports to a pipe as it is, and to a terminal without the characters that it acts on.
async fn write_async(
    export: &Export,
    conn: &mut AsyncPgConnection,
    progress: &Progress,
) -> anyhow::Result<Manifest> {
    let on_progress = |done: threadline_export::Progress| progress.set_count(done.rows);
    let mut out = tokio::io::stdout();
    if !stdout().is_terminal() {
        return export
            .write_to_async(conn, &mut out, on_progress)
            .await
            .context("cannot export");
    }
    let (mut lines, written) = tokio::io::duplex(TERMINAL_BUFFER);
    let export = async move {
        let outcome = export.write_to_async(conn, &mut lines, on_progress).await;
        outcome.context("cannot export")
    };
    let show = async {
        let mut written = BufReader::new(written);
        let mut line = Vec::new();
        while written.read_until(b'\n', &mut line).await? > 0 {
            let shown = escape(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
            out.write_all(format!("{shown}\n").as_bytes()).await?;
            line.clear();
        }
        out.flush().await.context("cannot write the output")
    };
    let (manifest, ()) = tokio::try_join!(export, show)?;
    Ok(manifest)
}

fn write_manifest(path: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    Ok(fs::write(path, text)?)
}

async fn write_file(
    export: &Export,
    conn: &mut AsyncPgConnection,
    path: &Path,
    total: Option<u64>,
) -> Result<Manifest, Failure> {
    let line = Progress::changes(total);
    let outcome = tokio::select! {
        outcome = export.write_file(conn, path, |done| line.set_count(done.rows)) => {
            outcome.map_err(export_failure)
        }
        _ = tokio::signal::ctrl_c() => {
            Err(anyhow!("stopped: nothing was written to {}", path.display()).into())
        }
    };
    drop(line);
    outcome
}

/// Rejects options that contradict each other.
fn check_options(args: &ExportArgs) -> Result<(), Failure> {
    args.form.check()?;
    if args.background {
        return Ok(());
    }
    if args.job.is_given() {
        return Err(Failure::usage(
            "--storage, --keep, --name, --owner and --scope-key are for --background",
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
    if args.form.is_binary() && stdout().is_terminal() {
        return Err(Failure::usage(
            "the output is binary: name a file with --output, or pipe it",
        ));
    }
    Ok(())
}

fn is_stdout(output: &Path) -> bool {
    output == Path::new("-")
}

/// The number of changes to export, if a terminal shows progress; counting takes time.
async fn count_for_progress(
    conn: &mut AsyncPgConnection,
    question: &Timeline,
    limit: Option<NonZeroU64>,
) -> Result<Option<u64>, Failure> {
    if !stderr().is_terminal() {
        return Ok(None);
    }
    let rows = count(conn, question).await.context("cannot count")?;
    Ok(Some(limit.map_or(rows, |limit| rows.min(limit.get()))))
}

fn export_failure(error: ExportError) -> Failure {
    match error {
        ExportError::NotAFile(_) => Failure::usage(error),
        other => Failure::CouldNotRun(anyhow::Error::new(other).context("cannot export")),
    }
}

fn print_count(rows: u64, limit: Option<NonZeroU64>, as_json: bool) -> io::Result<()> {
    if as_json {
        return print_json(&json!({ "row_count": rows, "max_rows": limit }));
    }
    match limit {
        Some(limit) if limit.get() < rows => print_line(&format!(
            "{rows} changes match, of which {limit} would be exported"
        )),
        _ => print_line(&format!("{rows} changes match")),
    }
}

fn print_manifest(manifest: &Manifest, output: &Path, as_json: bool) -> io::Result<()> {
    if as_json {
        return print_json(manifest);
    }
    print_line(&format!(
        "wrote {} changes ({} bytes, SHA-256 {}) to {}",
        manifest.summary.row_count,
        manifest.bytes,
        manifest.sha256,
        output.display()
    ))
}

fn warn_if_limited(manifest: &Manifest) {
    if manifest.summary.cut {
        print_note(&format!(
            "warning: stopped after {} changes because of --max-rows; more match",
            manifest.summary.row_count
        ));
    }
}
