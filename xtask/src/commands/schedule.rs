//! `schedule`: adds, shows, pauses and removes schedules of background jobs.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use threadline_export::jobs::{JobKind, Span};
use threadline_export::schedules::{
    self, Cron, NewSchedule, Schedule, ScheduleError, ScheduleName,
};

use super::jobs::print_enqueued;
use crate::args::{DatabaseArgs, ExportFormArgs, JobArgs, OutputArgs, TimelineFilterArgs};
use crate::connection::{connect, read, transaction};
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::list::show_table;
use crate::output::text::{escape, print_block, print_line, print_note, show_instant};
use crate::settings::settings;

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Add a schedule. Its times are in the time zone of --tz.
    Add(Box<AddArgs>),
    /// Show the schedules.
    List(ListArgs),
    /// Enqueue a job of a schedule now.
    RunNow(NameArgs),
    /// Pause a schedule: it enqueues no jobs.
    Pause(NameArgs),
    /// Resume a paused schedule at its next time.
    Resume(NameArgs),
    /// Remove a schedule. Its jobs stay.
    Remove(NameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The name of the schedule: lower-case letters, digits, `_`, `-` and `.`.
    schedule: ScheduleName,
    /// When it is due: minute, hour, day of month, month, day of week; for example `0 6 * * MON`.
    cron: Cron,
    /// The changes of each file.
    #[arg(long, value_enum, default_value_t = SpanName::PreviousPeriod)]
    span: SpanName,
    /// The kind of the jobs, for another kind than export.
    #[arg(long, requires = "request_json")]
    kind: Option<JobKind>,
    /// The request of the jobs of --kind: a JSON object.
    #[arg(long, value_name = "JSON", requires = "kind")]
    request_json: Option<Value>,
    #[command(flatten)]
    filters: TimelineFilterArgs,
    #[command(flatten)]
    form: ExportFormArgs,
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SpanName {
    /// Changes captured from the previous time of the schedule up to this one.
    PreviousPeriod,
    /// Changes that earlier files do not have, also of transactions that committed late.
    SinceLast,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The name of the schedule.
    schedule: ScheduleName,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(command: ScheduleCommand) -> Result<Answer, Failure> {
    match command {
        ScheduleCommand::Add(args) => add(*args).await,
        ScheduleCommand::List(args) => list(&args).await,
        ScheduleCommand::RunNow(args) => {
            let mut conn = connect(&args.database).await?;
            let job = transaction(&mut conn, async |conn| {
                schedules::run_now(conn, &args.schedule).await
            });
            match job.await {
                Ok(job) => print_enqueued(Ok(job), false),
                Err(error) => explain(error),
            }
        }
        ScheduleCommand::Pause(args) => {
            let mut conn = connect(&args.database).await?;
            let paused = transaction(&mut conn, async |conn| {
                schedules::pause(conn, &args.schedule).await
            });
            print_changed(paused.await, &args.schedule, "paused")
        }
        ScheduleCommand::Resume(args) => {
            let mut conn = connect(&args.database).await?;
            let resumed = transaction(&mut conn, async |conn| {
                schedules::resume(conn, &args.schedule).await
            });
            print_changed(resumed.await, &args.schedule, "resumed")
        }
        ScheduleCommand::Remove(args) => {
            let mut conn = connect(&args.database).await?;
            let removed = transaction(&mut conn, async |conn| {
                schedules::remove(conn, &args.schedule).await
            });
            print_changed(removed.await, &args.schedule, "removed")
        }
    }
}

async fn add(args: AddArgs) -> Result<Answer, Failure> {
    args.form.check()?;
    let zone = settings().zone;
    let (name, cron) = (args.schedule, args.cron);
    let mut schedule = if let (Some(kind), Some(request)) = (args.kind, args.request_json) {
        NewSchedule::new(name, cron, zone, kind, request)
    } else {
        let mut request = args.job.request(&args.form, args.filters.into_filters()?);
        request.span = Some(match args.span {
            SpanName::PreviousPeriod => Span::PreviousPeriod,
            SpanName::SinceLast => Span::SinceLast,
        });
        NewSchedule::export(name, cron, zone, &request)
    };
    if let Some(owner) = args.job.owner {
        schedule = schedule.actor(owner);
    }
    if let Some(key) = args.job.scope_key {
        schedule = schedule.scope_key(key);
    }
    let mut conn = connect(&args.database).await?;
    let added = transaction(&mut conn, async |conn| {
        schedules::add(conn, &schedule).await
    });
    match added.await {
        Ok(schedule) if args.output.json => print_json(&schedule)?,
        Ok(schedule) => print_line(&format!(
            "added {}; due at {} UTC",
            schedule.name,
            show_instant(schedule.next_due_at)
        ))?,
        Err(error) => return explain(error),
    }
    Ok(Answer::Fine)
}

async fn list(args: &ListArgs) -> Result<Answer, Failure> {
    let schedules = read(&args.database, async |conn| {
        schedules::list(conn).await.map_err(could_not_run)
    })
    .await?;
    if args.output.json {
        print_json(&schedules)?;
    } else if schedules.is_empty() {
        print_line("there are no schedules")?;
    } else {
        print_block(&show_schedules(&schedules))?;
    }
    Ok(Answer::Fine)
}

fn print_changed(
    changed: Result<(), ScheduleError>,
    name: &ScheduleName,
    done: &str,
) -> Result<Answer, Failure> {
    match changed {
        Ok(()) => {
            print_line(&format!("{done} {name}"))?;
            Ok(Answer::Fine)
        }
        Err(error) => explain(error),
    }
}

/// The exit code of an error: 1 for a schedule that is missing or exists, 2 for a malformed one.
fn explain(error: ScheduleError) -> Result<Answer, Failure> {
    match error {
        ScheduleError::Exists(_) | ScheduleError::NotFound(_) => {
            print_note(&error.to_string());
            Ok(Answer::Bad)
        }
        ScheduleError::Cron(_)
        | ScheduleError::HasWindow
        | ScheduleError::InvalidExport(_)
        | ScheduleError::Job(_) => Err(Failure::usage(error)),
        error => Err(could_not_run(error)),
    }
}

fn could_not_run(error: ScheduleError) -> Failure {
    match error {
        ScheduleError::Database(error) => error.into(),
        other => Failure::CouldNotRun(other.into()),
    }
}

fn show_schedules(schedules: &[Schedule]) -> String {
    let rows: Vec<_> = schedules
        .iter()
        .map(|schedule| {
            [
                schedule.name.clone(),
                schedule.kind.to_string(),
                escape(&schedule.cron),
                escape(&schedule.time_zone),
                match schedule.paused_at {
                    Some(_) => String::from("paused"),
                    None => show_instant(schedule.next_due_at),
                },
                schedule
                    .actor
                    .as_ref()
                    .map_or_else(String::new, |actor| escape(&actor.to_string())),
            ]
        })
        .collect();
    show_table(
        ["name", "kind", "cron", "time zone", "due (UTC)", "owner"],
        &rows,
    )
}
