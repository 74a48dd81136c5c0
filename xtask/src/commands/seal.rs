//! `seal`: the log of seals, its checkpoints, proofs and sealed exports.

mod proofs;
mod sealing;
mod signing;

pub(super) use self::signing::{open_publication, read_key};

use clap::{Args, Subcommand};
use diesel_async::AsyncPgConnection;
use threadline_export::seal::{self, SealError, SealStatus};
use threadline_seal::key::VerifierKey;

use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::{connect, read, transaction};
use crate::exit::{Answer, Failure};
use crate::host::Host;
use crate::output::json::print_json;
use crate::output::text::{escape, print_line, print_note};

#[derive(Debug, Subcommand)]
pub(crate) enum SealCommand {
    /// Begin the log of seals. All records are sealed, from the first one.
    Begin(BeginArgs),
    /// Seal the settled records, sign a checkpoint and publish it.
    Run(Box<sealing::RunArgs>),
    /// Continue the log under another origin, after the database was restored from an older copy.
    Continue(Box<sealing::ContinueArgs>),
    /// Show the state of the log and its newest checkpoint. Exit 1 if there is none.
    Status(StatusArgs),
    /// Print the public key of the log, for verifiers.
    Key(sealing::KeyArgs),
    /// Write a sealed export, which threadline-verify verifies without the database.
    Export(proofs::ExportArgs),
    /// Write the proof that a record is sealed, which threadline-verify verifies without the database.
    Prove(proofs::ProveArgs),
    /// Verify the records in the database against published checkpoints. Exit 1 if a record is bad.
    Verify(proofs::VerifyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BeginArgs {
    /// The name of the log and of its key, for example `example.com/trail`.
    origin: String,
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

pub(crate) async fn run(host: Host, command: SealCommand) -> Result<Answer, Failure> {
    match command {
        SealCommand::Begin(args) => begin(&args).await,
        SealCommand::Run(args) => sealing::run(host, &args).await,
        SealCommand::Continue(args) => sealing::continue_log(host, &args).await,
        SealCommand::Status(args) => show_status(&args).await,
        SealCommand::Key(args) => sealing::print_key(&args).await,
        SealCommand::Export(args) => proofs::export(&args).await,
        SealCommand::Prove(args) => proofs::prove(&args).await,
        SealCommand::Verify(args) => proofs::verify(&args).await,
    }
}

async fn begin(args: &BeginArgs) -> Result<Answer, Failure> {
    VerifierKey::check_name(&args.origin).map_err(Failure::usage)?;
    let mut conn = connect(&args.database).await?;
    let begun = transaction(&mut conn, async |conn| {
        seal::begin(conn, &args.origin).await
    });
    match begun.await {
        Ok(()) => {
            print_line(&format!("began the log {}", escape(&args.origin)))?;
            Ok(Answer::Fine)
        }
        Err(error @ SealError::AlreadyBegun) => {
            print_note(&error.to_string());
            Ok(Answer::Bad)
        }
        Err(error) => Err(could_not_run(error)),
    }
}

async fn show_status(args: &StatusArgs) -> Result<Answer, Failure> {
    let status = read(&args.database, async |conn| {
        seal::status(conn).await.map_err(could_not_run)
    })
    .await?;
    if args.output.json {
        print_json(&status)?;
    } else if let Some(status) = &status {
        print_line(&describe(status))?;
    } else {
        print_note(&SealError::NotBegun.to_string());
    }
    Ok(Answer::fine_if(
        status.is_some_and(|status| status.checkpoint_size.is_some()),
    ))
}

fn describe(status: &SealStatus) -> String {
    let checkpoint = match (
        status.checkpoint_size,
        status.signed_at,
        status.published_at,
    ) {
        (Some(size), Some(signed), published) => format!(
            "newest checkpoint of {size} leaves, signed {}, {}",
            signed.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            if published.is_some() {
                "published"
            } else {
                "not published"
            }
        ),
        _ => String::from("no checkpoint"),
    };
    format!(
        "log {}: {} leaves, sealed up to id {} of {}; {checkpoint}",
        escape(&status.origin),
        status.size,
        status.sealed_to,
        status.last_id
    )
}

async fn read_status(conn: &mut AsyncPgConnection) -> Result<SealStatus, Failure> {
    let status = transaction(conn, async |conn| seal::status(conn).await);
    status
        .await
        .and_then(|status| status.ok_or(SealError::NotBegun))
        .map_err(could_not_run)
}

fn could_not_run(error: SealError) -> Failure {
    Failure::CouldNotRun(error.into())
}

/// The origin of the log.
pub(super) async fn read_origin(database: &DatabaseArgs) -> Result<String, Failure> {
    let mut conn = connect(database).await?;
    Ok(read_status(&mut conn).await?.origin)
}
