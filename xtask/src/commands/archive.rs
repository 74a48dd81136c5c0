//! `archive`: sealed days of the trail as Parquet on a storage.

mod restore;

use std::io::BufWriter;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use serde::Serialize;
use threadline_core::table::TableName;
use threadline_export::archive::{
    self, ArchiveError, ArchiveKind, ArchiveManifest, ArchivedRow, DayWork, RunOptions,
};
use threadline_export::storage::{Storage, StorageError, Storages};

use crate::args::{DatabaseArgs, OutputArgs, StorageArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::host::Host;
use crate::output::json::{EscapedLines, print_json};
use crate::output::list::show_table;
use crate::output::progress::Progress;
use crate::output::text::{escape, print_block, print_line, print_note};

#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// Archive the days that have ended. Exit 1 if a record is not as sealed, or erased values stay in the archive.
    Run(RunArgs),
    /// Show the archived days.
    List(ListArgs),
    /// Compare the files and their records with the manifests and the seals. Exit 1 if one is bad.
    Verify(VerifyArgs),
    /// Print the archived changes of a row, as NDJSON. Needs no database.
    Fetch(FetchArgs),
    /// Restore a purged period into the trail, for some days.
    Restore(restore::RestoreArgs),
}

/// The storage of an archive.
#[derive(Debug, Args)]
struct ArchiveStorageArgs {
    /// The name of the storage.
    #[arg(long, value_name = "NAME", default_value = Storages::LOCAL)]
    storage: String,
    #[command(flatten)]
    storages: StorageArgs,
}

impl ArchiveStorageArgs {
    fn open(&self, host: Host) -> Result<Storage, Failure> {
        let storages = self.storages.open(host)?;
        let found = storages.get(&self.storage).cloned();
        found.ok_or_else(|| Failure::usage(StorageError::Unknown(self.storage.clone())))
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Archive the days before this one, in UTC. By default today.
    #[arg(long, value_name = "DAY")]
    before: Option<NaiveDate>,
    #[command(flatten)]
    storage: ArchiveStorageArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    storage: ArchiveStorageArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The days to verify, in UTC. By default all.
    #[arg(value_name = "DAY")]
    days: Vec<NaiveDate>,
    #[command(flatten)]
    storage: ArchiveStorageArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// The table, as `table` or `schema.table`.
    #[arg(long)]
    table: TableName,
    /// The key of the row as the trail stores it: the value, or a JSON array of the values of several columns.
    #[arg(long, allow_hyphen_values = true)]
    key: String,
    /// Only changes of this day and later ones, in UTC.
    #[arg(long, value_name = "DAY")]
    from: Option<NaiveDate>,
    /// Only changes of this day and earlier ones, in UTC.
    #[arg(long, value_name = "DAY")]
    to: Option<NaiveDate>,
    #[command(flatten)]
    storage: ArchiveStorageArgs,
}

pub(crate) async fn run(host: Host, command: ArchiveCommand) -> Result<Answer, Failure> {
    match command {
        ArchiveCommand::Run(args) => run_archive(host, &args).await,
        ArchiveCommand::List(args) => list(host, &args).await,
        ArchiveCommand::Verify(args) => verify(host, &args).await,
        ArchiveCommand::Fetch(args) => fetch(host, args).await,
        ArchiveCommand::Restore(args) => restore::run(host, &args).await,
    }
}

async fn run_archive(host: Host, args: &RunArgs) -> Result<Answer, Failure> {
    let storage = args.storage.open(host)?;
    let mut conn = connect(&args.database).await?;
    let mut options = RunOptions::new(args.storage.storage.as_str());
    if let Some(before) = args.before {
        options = options.before(before);
    }
    let line = Progress::message();
    let progress = |done: archive::RunProgress| {
        line.set_message(&format!("{}: {} records", done.day, done.rows));
    };
    let outcome = archive::run(&mut conn, &storage, &options, progress).await;
    drop(line);
    let run = match outcome {
        Ok(run) => run,
        Err(error) => return explain(error),
    };
    if args.output.json {
        print_json(&run)?;
    } else {
        for day in &run.days {
            let work = match day.work {
                DayWork::Rewritten => "wrote again, without erased values,",
                DayWork::Extended => "added to",
                _ => "archived",
            };
            print_line(&format!(
                "{work} {}: {} record(s), {} bytes",
                day.day, day.rows, day.bytes
            ))?;
        }
        print_line(&format!(
            "records before {} (UTC) are archived",
            run.archived_to.date_naive()
        ))?;
    }
    for day in &run.pending {
        print_note(&format!(
            "values of {day} were erased, and the trail no longer has all its records to write its files again: restore \
             the day, run the erasure again, then this command"
        ));
    }
    Ok(Answer::fine_if(run.pending.is_empty()))
}

/// An archived day of a list.
#[derive(Debug, Serialize)]
struct ListedDay {
    day: NaiveDate,
    changes: u64,
    transactions: u64,
    actions: u64,
    records: u64,
    bytes: u64,
    checkpoint_size: Option<u64>,
}

impl ListedDay {
    fn new(manifest: &ArchiveManifest) -> Self {
        Self {
            day: manifest.day,
            changes: manifest.rows_of(ArchiveKind::Changes),
            transactions: manifest.rows_of(ArchiveKind::Transactions),
            actions: manifest.rows_of(ArchiveKind::Actions),
            records: manifest.rows_of(ArchiveKind::Records),
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            checkpoint_size: manifest.checkpoint_size(),
        }
    }

    fn row(&self) -> [String; 7] {
        [
            self.day.to_string(),
            self.changes.to_string(),
            self.transactions.to_string(),
            self.actions.to_string(),
            self.records.to_string(),
            self.bytes.to_string(),
            self.checkpoint_size
                .map_or_else(String::new, |size| size.to_string()),
        ]
    }
}

async fn list(host: Host, args: &ListArgs) -> Result<Answer, Failure> {
    let storage = args.storage.open(host)?;
    let manifests = match archive::read_manifests(&storage).await {
        Ok(manifests) => manifests,
        Err(error) => return explain(error),
    };
    let days: Vec<ListedDay> = manifests.iter().map(ListedDay::new).collect();
    if args.output.json {
        print_json(&serde_json::json!({ "days": days }))?;
    } else if days.is_empty() {
        print_line("no day is archived")?;
    } else {
        let header = [
            "day",
            "changes",
            "transactions",
            "actions",
            "records",
            "bytes",
            "checkpoint",
        ];
        let rows: Vec<_> = days.iter().map(ListedDay::row).collect();
        print_block(&show_table(header, &rows))?;
    }
    Ok(Answer::Fine)
}

async fn verify(host: Host, args: &VerifyArgs) -> Result<Answer, Failure> {
    let storage = args.storage.open(host)?;
    let mut conn = connect(&args.database).await?;
    let result = match archive::verify(&mut conn, &storage, &args.days).await {
        Ok(result) => result,
        Err(error) => return explain(error),
    };
    if args.output.json {
        print_json(&result)?;
    } else if let Some(finding) = &result.finding {
        let object = finding.object.as_deref().unwrap_or("the manifest");
        let record = match (&finding.kind, &finding.id, finding.leaf) {
            (Some(kind), Some(id), Some(leaf)) => format!(" the {kind} {id} (leaf {leaf}):"),
            _ => String::new(),
        };
        print_line(&escape(&format!(
            "not verified: {}: {object}:{record} {}",
            finding.day, finding.reason
        )))?;
    } else {
        print_line(&format!(
            "verified: {} day(s), {} file(s), {} record(s)",
            result.days, result.files, result.records
        ))?;
    }
    Ok(Answer::fine_if(result.verified))
}

async fn fetch(host: Host, args: FetchArgs) -> Result<Answer, Failure> {
    let storage = args.storage.open(host)?;
    let mut row = ArchivedRow::new(args.table, args.key);
    if let Some(day) = args.from {
        row = row.from(day);
    }
    if let Some(day) = args.to {
        row = row.to(day);
    }
    let mut out = EscapedLines::new(BufWriter::new(std::io::stdout()));
    match archive::fetch(&storage, &row, &mut out).await {
        Ok(0) => print_note("the archive has no change of this row in these days"),
        Ok(_) => {}
        Err(ArchiveError::Write(error)) => return Err(error.into()),
        Err(error) => return explain(error),
    }
    Ok(Answer::Fine)
}

/// An answer for what the archive or the trail is to be blamed for, and a failure for the rest.
fn explain(error: ArchiveError) -> Result<Answer, Failure> {
    match error {
        ArchiveError::NotEnded { .. }
        | ArchiveError::NoSuchDay(_)
        | ArchiveError::Storage(StorageError::Directory(_)) => Err(Failure::usage(error)),
        error if error.is_bad_archive() || matches!(error, ArchiveError::NotAsSealed { .. }) => {
            print_note(&error.to_string());
            Ok(Answer::Bad)
        }
        error => Err(Failure::CouldNotRun(error.into())),
    }
}
