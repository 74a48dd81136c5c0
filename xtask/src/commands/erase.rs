//! `erase`: erasure of a person.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use diesel_async::AsyncPgConnection;
use threadline_diesel::documents::EntryDocument;
use threadline_diesel::erasure::{
    EraseOptions, ErasureError, ErasurePlan, ErasureReason, ErasureRecord, ErasureReport,
    ErasureRun, Reach, ReachState, SubjectId, SubjectMap, erase, erasure_records, erasure_report,
    erasure_runs, plan_erasure, replay_erasures,
};
use threadline_diesel::{Order, PageSize, timeline};
use uuid::Uuid;

use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::{connect, read, transaction};
use crate::exit::{Answer, Failure};
use crate::host::Host;
use crate::output::json::{print_json, print_ndjson};
use crate::output::list::show_table;
use crate::output::progress::Progress;
use crate::output::text::{escape, print_block, print_line, print_note, show_instant};

/// How many runs `erase status` shows.
const SHOWN_RUNS: u32 = 40;

/// The records that are read at once.
const RECORDS: u32 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum EraseCommand {
    /// Show what the trail has of a person, and what an erasure would change.
    Plan(PlanArgs),
    /// Erase the data of a person. Without --execute, show the plan and change nothing.
    Run(RunArgs),
    /// Show the newest erasures, newest first. An unfinished one is continued by `erase run` for the same person.
    Status(StatusArgs),
    /// Show what an erasure reached and what is out of reach; with --records, print the recorded erasures.
    Report(ReportArgs),
    /// Apply recorded erasures again after the restore of an older backup.
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The id of the person, as in actors and keys: `42`.
    subject: SubjectId,
    /// Print the changes by the person, on their behalf and of their rows as JSON, one per line, instead of counts.
    /// They can have data of other people: review them before you hand them over.
    #[arg(long, conflicts_with = "json")]
    changes: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The id of the person, as in actors and keys: `42`.
    subject: SubjectId,
    /// The reason, which is recorded: a ticket, without data of the person.
    #[arg(long)]
    reason: ErasureReason,
    /// Erase the data, instead of showing the plan.
    #[arg(long)]
    execute: bool,
    /// The most records of a batch, up to 10000.
    #[arg(long, value_name = "N", default_value_t = 500)]
    batch_size: u32,
    /// The pause after a batch, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pause_ms: u64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The id of the erasure; by default the newest.
    id: Option<Uuid>,
    /// How long backups are kept.
    #[arg(long, value_name = "DAYS")]
    backup_days: Option<u32>,
    /// Print all recorded erasures as JSON, one per line, for `erase replay`. They have ids, keys and pseudonyms, but
    /// no erased value.
    #[arg(long, conflicts_with_all = ["id", "json", "backup_days"])]
    records: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The file that `erase report --records` printed before the restore.
    file: PathBuf,
    /// Apply the erasures, instead of counting them.
    #[arg(long)]
    execute: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(host: Host, command: EraseCommand) -> Result<Answer, Failure> {
    match command {
        EraseCommand::Plan(args) => {
            let map = subject_map(host)?;
            let mut conn = connect(&args.database).await?;
            let plan = plan(&mut conn, &map, &args.subject).await?;
            if args.changes {
                print_changes(&mut conn, &plan).await?;
            } else {
                print_plan(&plan, &args.output)?;
            }
            Ok(Answer::Fine)
        }
        EraseCommand::Run(args) => run_erasure(host, &args).await,
        EraseCommand::Status(args) => status(&args).await,
        EraseCommand::Report(args) => report(&args).await,
        EraseCommand::Replay(args) => replay(&args).await,
    }
}

fn subject_map(host: Host) -> Result<SubjectMap, Failure> {
    let Some(map) = host.subject_map else {
        return Err(Failure::usage(
            "there is no subject map, which declares where the trail has data of a person: name the function of \
             the code in xtask!(my_app; subject_map: my_app::subject_map)",
        ));
    };
    map().map_err(Failure::usage)
}

async fn plan(
    conn: &mut AsyncPgConnection,
    map: &SubjectMap,
    subject: &SubjectId,
) -> Result<ErasurePlan, Failure> {
    transaction(conn, async |conn| {
        plan_erasure(conn, map, subject).await.map_err(failure)
    })
    .await
}

/// Prints each change of the person once.
async fn print_changes(conn: &mut AsyncPgConnection, plan: &ErasurePlan) -> Result<(), Failure> {
    let mut printed = BTreeSet::new();
    for query in plan.timelines() {
        let mut query = query.order(Order::OldestFirst).page_size(PageSize::MAX);
        loop {
            let page = transaction(conn, async |conn| {
                timeline(conn, &query).await.map_err(Failure::from)
            })
            .await?;
            let new = page
                .entries
                .iter()
                .filter(|entry| printed.insert(entry.change.id));
            print_ndjson(new.map(EntryDocument::from))?;
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
    }
    Ok(())
}

async fn run_erasure(host: Host, args: &RunArgs) -> Result<Answer, Failure> {
    let map = subject_map(host)?;
    let mut conn = connect(&args.database).await?;
    let plan = plan(&mut conn, &map, &args.subject).await?;
    if !args.execute {
        print_plan(&plan, &args.output)?;
        print_note("nothing was erased; add --execute to erase");
        return Ok(Answer::Fine);
    }
    let options = EraseOptions::default()
        .batch(args.batch_size)
        .pause(Duration::from_millis(args.pause_ms));
    let line = Progress::message();
    let mut erased = 0;
    let outcome = erase(&mut conn, &plan, &args.reason, options, &mut |step| {
        erased += step.count;
        line.set_message(&format!("{erased} records erased, {}", step.records));
    })
    .await;
    drop(line);
    let run = outcome.map_err(failure)?;
    if args.output.json {
        print_json(&run)?;
    } else {
        print_block(&show_runs(&[run]))?;
        print_note("`erase report` says what is out of reach");
    }
    Ok(Answer::Fine)
}

async fn status(args: &StatusArgs) -> Result<Answer, Failure> {
    let runs = read(&args.database, async |conn| {
        erasure_runs(conn, SHOWN_RUNS).await.map_err(failure)
    })
    .await?;
    if args.output.json {
        print_json(&runs)?;
    } else if runs.is_empty() {
        print_line("there are no erasures")?;
    } else {
        print_block(&show_runs(&runs))?;
    }
    Ok(Answer::fine_if(
        runs.iter().all(|run| run.finished_at.is_some()),
    ))
}

async fn report(args: &ReportArgs) -> Result<Answer, Failure> {
    if args.records {
        return print_records(&args.database).await;
    }
    let report = read(&args.database, async |conn| {
        let newest = erasure_runs(conn, 1).await.map_err(failure)?;
        let id = args.id.or(newest.first().map(|run| run.id));
        let Some(id) = id else {
            return Ok(None);
        };
        let backups = args
            .backup_days
            .map(|days| TimeDelta::days(i64::from(days)));
        erasure_report(conn, id, backups)
            .await
            .map(Some)
            .map_err(failure)
    })
    .await?;
    let Some(report) = report else {
        print_note("there are no erasures");
        return Ok(Answer::Bad);
    };
    if args.output.json {
        print_json(&report)?;
    } else {
        print_block(&show_report(&report))?;
    }
    Ok(Answer::Fine)
}

async fn print_records(database: &DatabaseArgs) -> Result<Answer, Failure> {
    let mut conn = connect(database).await?;
    let mut after = 0;
    loop {
        let records = transaction(&mut conn, async |conn| {
            erasure_records(conn, after, RECORDS).await.map_err(failure)
        })
        .await?;
        let Some(last) = records.last() else {
            return Ok(Answer::Fine);
        };
        after = last.order_id;
        print_ndjson(&records)?;
    }
}

async fn replay(args: &ReplayArgs) -> Result<Answer, Failure> {
    let records = read_records(&args.file)?;
    if !args.execute {
        print_line(&format!(
            "{} recorded erasures; nothing was changed: add --execute to apply those that the trail lacks",
            records.len()
        ))?;
        return Ok(Answer::Fine);
    }
    let mut conn = connect(&args.database).await?;
    let done = replay_erasures(&mut conn, &records)
        .await
        .map_err(failure)?;
    if args.output.json {
        print_json(&done)?;
    } else {
        print_line(&format!(
            "{} erasures applied, {} skipped: the trail has them, or none of their records",
            done.applied, done.skipped
        ))?;
    }
    Ok(Answer::Fine)
}

fn read_records(path: &Path) -> Result<Vec<ErasureRecord>, Failure> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut records = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        let record = serde_json::from_str(&line).map_err(|error| {
            let place = format!("line {} of {}", number + 1, path.display());
            Failure::usage(format!("{place} is not a recorded erasure: {error}"))
        });
        records.push(record?);
    }
    Ok(records)
}

fn print_plan(plan: &ErasurePlan, output: &OutputArgs) -> Result<(), Failure> {
    if output.json {
        print_json(plan)?;
        return Ok(());
    }
    let mut rows: Vec<_> = plan
        .tables
        .iter()
        .map(|table| {
            [
                escape(&table.table.to_string()),
                escape(&table.columns.join(", ")),
                format!("{} rows, {} changes", table.rows, table.changes),
            ]
        })
        .collect();
    let actors = escape(&plan.actors.join(", "));
    for (records, count) in [
        ("changes", plan.changes),
        ("transactions", plan.transactions),
        ("actions", plan.actions),
        ("background jobs", plan.jobs),
        ("schedules", plan.schedules),
        ("saved views", plan.views),
    ] {
        rows.push([records.to_owned(), actors.clone(), count.to_string()]);
    }
    print_block(&show_table(["where", "what", "not erased"], &rows))?;
    if plan.is_empty() {
        print_note("nothing is left to erase");
    }
    if !plan.archives.is_empty() {
        print_note(&format!(
            "archives are erased by the next `archive run`: {}; months that are no longer in the trail only after \
             `archive restore`",
            escape(&plan.archives.join(", "))
        ));
    }
    Ok(())
}

fn show_runs(runs: &[ErasureRun]) -> String {
    let rows: Vec<_> = runs
        .iter()
        .map(|run| {
            [
                run.id.to_string(),
                match run.finished_at {
                    Some(_) => "finished",
                    None => "unfinished",
                }
                .to_owned(),
                show_instant(run.started_at),
                escape(&run.started_by),
                escape(&run.reason),
                show_progress(run),
            ]
        })
        .collect();
    show_table(["id", "state", "started", "by", "reason", "erased"], &rows)
}

fn show_progress(run: &ErasureRun) -> String {
    let counts = run.progress.fields();
    let counts: Vec<_> = counts
        .iter()
        .map(|(records, count)| {
            format!(
                "{} {}",
                escape(&count.to_text()),
                escape(&records.replace('_', " "))
            )
        })
        .collect();
    counts.join(", ")
}

fn show_report(report: &ErasureReport) -> String {
    let rows: Vec<_> = report.reach.iter().map(reach_row).collect();
    format!(
        "{}\n\n{}",
        show_runs(std::slice::from_ref(&report.run)),
        show_table(["where", "state", "note"], &rows)
    )
}

fn reach_row(reach: &Reach) -> [String; 3] {
    let state = match reach.state {
        ReachState::Done => "done".to_owned(),
        ReachState::Unfinished => "unfinished".to_owned(),
        ReachState::By { at } => format!("by {}", show_instant(at)),
        _ => "out of reach".to_owned(),
    };
    [escape(&reach.place), state, escape(&reach.note)]
}

fn failure(error: ErasureError) -> Failure {
    match error {
        ErasureError::Database(error) => error.into(),
        ErasureError::MigrationMissing | ErasureError::InTransaction => {
            Failure::CouldNotRun(error.into())
        }
        ErasureError::Key { ref source, .. } => Failure::usage(format!("{error}: {source}")),
        other => Failure::usage(other),
    }
}
