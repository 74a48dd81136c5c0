//! The commands, one file each.

mod actions;
mod actor;
#[cfg(feature = "archive")]
mod archive;
mod as_of;
mod baseline;
mod continuity;
mod correlation;
mod coverage;
mod demo;
mod diff;
mod disable_capture;
mod doctor;
mod empty_answer;
mod erase;
mod evidence;
mod export;
mod feed;
mod gen_triggers;
mod history;
mod incident;
mod init;
mod install;
mod introspection;
mod jobs;
mod page;
mod policy;
mod redeploy_triggers;
#[cfg(test)]
mod reference;
mod replica;
mod restore;
mod retention;
mod row_key;
mod schedule;
mod seal;
mod timeline;
mod verify;
mod views;
mod work;

use clap::{Parser, Subcommand};

use crate::args::DemoArgs;
use crate::connection::block_on;
use crate::exit::Exit;
use crate::host::Host;
use crate::settings::GlobalArgs;

/// The audit trail inside your application: who changed what, and why.
#[derive(Debug, Parser)]
#[command(name = "threadline", bin_name = program_name(), version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The command in usage texts: `cargo xtask` if cargo started the process.
fn program_name() -> &'static str {
    if std::env::var_os("CARGO").is_some() {
        "cargo xtask"
    } else {
        "threadline"
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add Threadline to an application: an xtask crate, its alias, the dependency and the first migrations.
    Init(init::InitArgs),
    /// Write the migrations that create the trail.
    Install(install::InstallArgs),
    /// Write the migration that captures tables as the code declares them.
    GenTriggers(gen_triggers::GenTriggersArgs),
    /// Write a migration that restores the capture of tables after manual changes.
    RedeployTriggers(redeploy_triggers::RedeployTriggersArgs),
    /// Write a migration that ends the capture of tables and keeps their trail.
    DisableCapture(disable_capture::DisableCaptureArgs),
    /// Show changes across tables, newest first.
    Timeline(timeline::TimelineArgs),
    /// Show the changes of one row, newest first.
    History(history::HistoryArgs),
    /// Show one row as of an instant.
    AsOf(as_of::AsOfArgs),
    /// Write the SQL that restores a row; nothing is executed.
    Restore(restore::RestoreArgs),
    /// Show one transaction with its actions and changes.
    #[command(visible_alias = "transaction")]
    Incident(incident::IncidentArgs),
    /// Show one change field by field.
    Diff(diff::DiffArgs),
    /// Show when capture of tables started, and how many rows have no history.
    Continuity(continuity::ContinuityArgs),
    /// Record the rows that existed before capture.
    Baseline(baseline::BaselineArgs),
    /// Show the transactions of an actor, newest first.
    Actor(actor::ActorArgs),
    /// Show recorded actions, newest first, including those that changed no row.
    Actions(actions::ActionsArgs),
    /// Show the transactions, actions and changes of a correlation.
    Correlation(correlation::CorrelationArgs),
    /// Save, list and run filters of a timeline.
    #[command(subcommand)]
    Views(views::ViewsCommand),
    /// Write changes to a file or to standard output.
    Export(Box<export::ExportArgs>),
    /// Show, cancel and retry background jobs, and download their files.
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// Add, show, pause and remove schedules of background jobs.
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Run background jobs and schedules until Ctrl-C or SIGTERM.
    Work(work::WorkArgs),
    /// Create, inspect and read consumers of the feed.
    Feed(feed::FeedArgs),
    /// Show which tables are captured, and what is wrong with their capture.
    Coverage(coverage::CoverageArgs),
    /// Compare the policies of the code, the migrations and the database.
    Policy(policy::PolicyArgs),
    /// Check migrations, coverage and policy; exit 1 if any check fails.
    Verify(verify::VerifyArgs),
    /// Diagnose connection, server, roles, pooler and the state of the trail.
    Doctor(doctor::DoctorArgs),
    /// Show and remove records that the retention policy does not keep.
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    /// Show how to replicate the trail to another PostgreSQL server.
    #[command(subcommand)]
    Replica(replica::ReplicaCommand),
    /// Run checks of the audit system, record their results, and show what they prove.
    #[command(subcommand)]
    Evidence(evidence::EvidenceCommand),
    /// Show, erase and report what the trail has of a person.
    #[command(subcommand)]
    Erase(erase::EraseCommand),
    /// Seal records in a Merkle log, publish signed checkpoints and verify them.
    #[command(subcommand)]
    Seal(seal::SealCommand),
    /// Archive sealed days as Parquet, verify archived days and read them.
    #[cfg(feature = "archive")]
    #[command(subcommand)]
    Archive(archive::ArchiveCommand),
    /// Run the demonstration on a throwaway PostgreSQL.
    Demo(DemoArgs),
}

pub(crate) fn run(host: Host, command: Command) -> Exit {
    Exit(match command {
        Command::Init(args) => init::run(&args),
        Command::Install(args) => install::run(&args),
        Command::GenTriggers(args) => block_on(gen_triggers::run(host, args)),
        Command::RedeployTriggers(args) => block_on(redeploy_triggers::run(args)),
        Command::DisableCapture(args) => disable_capture::run(&args),
        Command::Timeline(args) => block_on(timeline::run(args)),
        Command::History(args) => block_on(history::run(args)),
        Command::AsOf(args) => block_on(as_of::run(args)),
        Command::Restore(args) => block_on(restore::run(args)),
        Command::Incident(args) => block_on(incident::run(args)),
        Command::Diff(args) => block_on(diff::run(args)),
        Command::Continuity(args) => block_on(continuity::run(args)),
        Command::Baseline(args) => block_on(baseline::run(args)),
        Command::Actor(args) => block_on(actor::run(args)),
        Command::Actions(args) => block_on(actions::run(args)),
        Command::Correlation(args) => block_on(correlation::run(args)),
        Command::Views(command) => block_on(views::run(command)),
        Command::Export(args) => block_on(export::run(*args)),
        Command::Jobs(command) => block_on(jobs::run(host, command)),
        Command::Schedule(command) => block_on(schedule::run(command)),
        Command::Work(args) => block_on(work::run(host, args)),
        Command::Feed(args) => block_on(feed::run(args)),
        Command::Coverage(args) => block_on(coverage::run(host, args)),
        Command::Policy(args) => block_on(policy::run(args)),
        Command::Verify(args) => block_on(verify::run(host, args)),
        Command::Doctor(args) => block_on(doctor::run(args)),
        Command::Retention(command) => block_on(retention::run(host, command)),
        Command::Replica(command) => replica::run(&command),
        Command::Evidence(command) => block_on(evidence::run(host, command)),
        Command::Erase(command) => block_on(erase::run(host, command)),
        Command::Seal(command) => block_on(seal::run(host, command)),
        #[cfg(feature = "archive")]
        Command::Archive(command) => block_on(archive::run(host, command)),
        Command::Demo(args) => demo::run(host, &args),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
