//! `jobs`: shows, cancels and retries background jobs, and downloads their files.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use threadline_core::actor::ActorRef;
use threadline_diesel::PageSize;
use threadline_export::jobs::{
    self, Content, Download, DownloadError, Job, JobError, JobFilter, JobKind, JobState,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use uuid::Uuid;

use crate::args::{DatabaseArgs, OutputArgs, StorageArgs};
use crate::connection::{connect, read, transaction};
use crate::exit::{Answer, Failure};
use crate::host::Host;
use crate::output::json::print_json;
use crate::output::list::show_table;
use crate::output::text::{escape, print_block, print_line, print_note, show_instant};

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// Show jobs, newest first.
    List(ListArgs),
    /// Show one job with its request and its result.
    Show(JobIdArgs),
    /// Cancel a queued job, or ask the worker of a running one to stop.
    Cancel(JobIdArgs),
    /// Queue a failed or cancelled job again.
    Retry(JobIdArgs),
    /// Download the file of an export job.
    Download(DownloadArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only jobs of this kind: export or check.
    #[arg(long)]
    kind: Option<JobKind>,
    /// Only jobs in this state: queued, running, completed, expired, failed or cancelled.
    #[arg(long)]
    state: Option<JobState>,
    /// Only jobs of this actor: `admin:rita`.
    #[arg(long)]
    actor: Option<ActorRef>,
    /// Only jobs of this schedule.
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Show at most this number of jobs, up to 10000.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Show the jobs that are older than this one.
    #[arg(long, value_name = "ID")]
    before: Option<Uuid>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JobIdArgs {
    /// The id of the job.
    id: Uuid,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// The id of the job.
    id: Uuid,
    /// The file to write. `-` is standard output. By default the name of the stored file, in the current
    /// directory.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(host: Host, command: JobsCommand) -> Result<Answer, Failure> {
    match command {
        JobsCommand::List(args) => list(&args).await,
        JobsCommand::Show(args) => show(&args).await,
        JobsCommand::Cancel(args) => {
            let mut conn = connect(&args.database).await?;
            let cancelled =
                transaction(&mut conn, async |conn| jobs::cancel(conn, args.id).await).await;
            print_changed(cancelled, args.output.json)
        }
        JobsCommand::Retry(args) => {
            let mut conn = connect(&args.database).await?;
            let queued =
                transaction(&mut conn, async |conn| jobs::retry(conn, args.id).await).await;
            print_changed(queued, args.output.json)
        }
        JobsCommand::Download(args) => download(host, &args).await,
    }
}

async fn list(args: &ListArgs) -> Result<Answer, Failure> {
    let mut filter = JobFilter::new().page_size(PageSize::new(args.limit).map_err(Failure::usage)?);
    if let Some(kind) = args.kind {
        filter = filter.kind(kind);
    }
    if let Some(state) = args.state {
        filter = filter.state(state);
    }
    if let Some(actor) = &args.actor {
        filter = filter.actor(actor.clone());
    }
    if let Some(schedule) = &args.schedule {
        filter = filter.schedule(schedule);
    }
    if let Some(before) = args.before {
        filter = filter.before(before);
    }
    let page = read(&args.database, async |conn| {
        jobs::list(conn, &filter).await.map_err(could_not_run)
    })
    .await?;
    if args.output.json {
        print_json(&page)?;
    } else if page.jobs.is_empty() {
        print_line("there are no jobs")?;
    } else {
        print_block(&show_jobs(&page.jobs))?;
        if let Some(next) = page.next {
            print_note(&format!("older jobs: --before {next}"));
        }
    }
    Ok(Answer::Fine)
}

async fn show(args: &JobIdArgs) -> Result<Answer, Failure> {
    let job = read(&args.database, async |conn| {
        jobs::find(conn, args.id).await.map_err(could_not_run)
    })
    .await?;
    let Some(job) = job else {
        print_note(&JobError::NotFound(args.id).to_string());
        return Ok(Answer::Bad);
    };
    print_json(&job)?;
    Ok(Answer::Fine)
}

async fn download(host: Host, args: &DownloadArgs) -> Result<Answer, Failure> {
    let storages = args.storage.open(host)?;
    let found = read(&args.database, async |conn| {
        let owner = jobs::find(conn, args.id).await.map_err(could_not_run)?;
        let owner = owner.and_then(|job| job.actor);
        Ok(jobs::download(conn, &storages, args.id, owner.as_ref()).await)
    })
    .await?;
    let found = match found {
        Ok(found) => found,
        Err(DownloadError::Job(error)) => return Err(could_not_run(error)),
        Err(error @ DownloadError::Storage(_)) => {
            return Err(Failure::CouldNotRun(error.into()));
        }
        Err(error) => {
            print_note(&error.to_string());
            return Ok(Answer::Bad);
        }
    };
    if let Content::SignedUrl(url) = &found.content {
        print_line(url)?;
        return Ok(Answer::Fine);
    }
    let name = PathBuf::from(&found.file_name);
    let path = args.output.as_deref().unwrap_or(&name);
    if path == Path::new("-") {
        write(found, tokio::io::stdout())
            .await
            .context("cannot write the output")?;
        return Ok(Answer::Fine);
    }
    let (bytes, sha256) = (found.bytes, found.sha256.clone());
    let file = tokio::fs::File::create(path).await;
    let written = match file {
        Ok(file) => write(found, file).await,
        Err(error) => Err(error.into()),
    };
    written.with_context(|| format!("cannot write {}", path.display()))?;
    print_line(&format!(
        "wrote {bytes} bytes (SHA-256 {sha256}) to {}",
        path.display()
    ))?;
    Ok(Answer::Fine)
}

async fn write(download: Download, mut out: impl AsyncWrite + Unpin) -> anyhow::Result<()> {
    if let Content::Stream(mut bytes) = download.content {
        while let Some(block) = bytes.try_next().await? {
            out.write_all(&block).await?;
        }
    }
    Ok(out.flush().await?)
}

/// Prints a job that was enqueued.
pub(super) fn print_enqueued(job: Result<Job, JobError>, as_json: bool) -> Result<Answer, Failure> {
    if let (Ok(job), false) = (&job, as_json) {
        print_line(&format!("enqueued job {}", job.id))?;
        return Ok(Answer::Fine);
    }
    print_changed(job, as_json)
}

fn print_changed(job: Result<Job, JobError>, as_json: bool) -> Result<Answer, Failure> {
    match job {
        Ok(job) if as_json => print_json(&job)?,
        Ok(job) => {
            let stops = job.state == JobState::Running && job.cancel_requested_at.is_some();
            let note = if stops {
                "; its worker was asked to stop"
            } else {
                ""
            };
            print_line(&format!("job {} is {}{note}", job.id, job.state))?;
        }
        Err(JobError::Database(error)) => return Err(error.into()),
        Err(
            error @ (JobError::RequestNotAnObject
            | JobError::InvalidRequest(_)
            | JobError::InvalidScopeKey(_)),
        ) => return Err(Failure::usage(error)),
        Err(error) => {
            print_note(&error.to_string());
            return Ok(Answer::Bad);
        }
    }
    Ok(Answer::Fine)
}

pub(super) fn could_not_run(error: JobError) -> Failure {
    match error {
        JobError::Database(error) => error.into(),
        other => Failure::CouldNotRun(other.into()),
    }
}

fn show_jobs(jobs: &[Job]) -> String {
    let rows: Vec<_> = jobs
        .iter()
        .map(|job| {
            [
                job.id.to_string(),
                job.kind.to_string(),
                job.state.to_string(),
                job.attempt.to_string(),
                show_instant(job.created_at),
                job.actor
                    .as_ref()
                    .map_or_else(String::new, |actor| escape(&actor.to_string())),
                job.schedule.as_deref().map_or_else(String::new, escape),
                show_outcome(job),
            ]
        })
        .collect();
    show_table(
        [
            "id",
            "kind",
            "state",
            "attempt",
            "requested (UTC)",
            "actor",
            "schedule",
            "outcome",
        ],
        &rows,
    )
}

fn show_outcome(job: &Job) -> String {
    if let (Some(code), Some(place)) = (&job.error_code, &job.error_place) {
        return format!("{} in {}", escape(code), escape(place));
    }
    let rows = job
        .result
        .as_ref()
        .and_then(|result| result["rows"].as_u64());
    let running = job.progress.map(|progress| progress.rows);
    match rows.or(running) {
        Some(rows) => format!("{rows} changes"),
        None => String::new(),
    }
}
