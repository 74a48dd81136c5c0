//! `seal`: the log of seals, its checkpoints and sealed exports.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use diesel_async::AsyncPgConnection;
use threadline_export::seal::{self, SealError, SealStatus, Step};
use threadline_seal::key::{SigningKey, VerifierKey, parse_verifier_keys};
use threadline_seal::verify::{Answer as Verdict, Verification};

use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::{connect, read, transaction};
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::text::{escape, print_line, print_note};

#[derive(Debug, Subcommand)]
pub(crate) enum SealCommand {
    /// Begin the log of seals. All records are sealed, from the first one.
    Begin(BeginArgs),
    /// Seal the settled records, sign a checkpoint and publish it.
    Run(RunArgs),
    /// Show the state of the log and its newest checkpoint. Exit 1 if there is none.
    Status(StatusArgs),
    /// Print the public key of the log, for verifiers.
    Key(KeyArgs),
    /// Write a sealed export, which threadline-verify verifies without the database.
    Export(ExportArgs),
    /// Verify the records in the database against published checkpoints. Exit 1 if a record is bad.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BeginArgs {
    /// The name of the log and of its key, for example `example.com/trail`.
    origin: String,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Where the signing key is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct KeySource {
    /// A PEM file with the Ed25519 key, which only its owner may read.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// An environment variable with the Ed25519 key in PEM.
    #[arg(long, value_name = "VARIABLE")]
    key_variable: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    key: KeySource,
    /// The directory for checkpoints, which a web server, git or a copy to other storage publishes.
    #[arg(long, value_name = "DIR")]
    publish: PathBuf,
    /// Repeat until the process is ended, with this pause.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,
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
pub(crate) struct KeyArgs {
    #[command(flatten)]
    key: KeySource,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to write. It has the secrets of the seals: keep it as safe as the trail.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A file with the public key of the log.
    #[arg(long, value_name = "FILE")]
    vkey: PathBuf,
    /// The directory with published checkpoints.
    #[arg(long, value_name = "DIR")]
    checkpoints: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(command: SealCommand) -> Result<Answer, Failure> {
    match command {
        SealCommand::Begin(args) => begin(&args).await,
        SealCommand::Run(args) => run_sealer(&args).await,
        SealCommand::Status(args) => show_status(&args).await,
        SealCommand::Key(args) => print_key(&args).await,
        SealCommand::Export(args) => write_export(&args).await,
        SealCommand::Verify(args) => verify(&args).await,
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

async fn run_sealer(args: &RunArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let key = read_key(&args.key, &read_status(&mut conn).await?.origin)?;
    loop {
        let leaves = seal_and_publish(&mut conn, &key, &args.publish)
            .await
            .map_err(could_not_run)?;
        let Some(seconds) = args.every else {
            print_line(&format!("sealed {leaves} record(s)"))?;
            return Ok(Answer::Fine);
        };
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    }
}

/// Seals all settled records, signs a checkpoint and publishes it. Returns the number of sealed records.
async fn seal_and_publish(
    conn: &mut AsyncPgConnection,
    key: &SigningKey,
    directory: &Path,
) -> Result<u64, SealError> {
    let mut sealed = 0;
    while let Step::Sealed { leaves } =
        transaction(conn, async |conn| seal::seal_next(conn).await).await?
    {
        sealed += leaves;
    }
    transaction(conn, async |conn| {
        seal::check_published(conn, directory).await
    })
    .await?;
    transaction(conn, async |conn| seal::sign_checkpoint(conn, key).await).await?;
    transaction(conn, async |conn| {
        seal::publish_checkpoints(conn, directory).await
    })
    .await?;
    Ok(sealed)
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

async fn print_key(args: &KeyArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let key = read_key(&args.key, &read_status(&mut conn).await?.origin)?;
    print_line(&key.verifier_key().to_string())?;
    Ok(Answer::Fine)
}

async fn write_export(args: &ExportArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let failed = || format!("cannot write {}", args.output.display());
    let directory = args
        .output
        .parent()
        .filter(|path| !path.as_os_str().is_empty());
    // Only the owner can read it, and it has its name when it is complete.
    let file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")));
    let mut file = file.with_context(failed)?;
    let lines = seal::write_sealed_export(&mut conn, &mut BufWriter::new(&mut file))
        .await
        .map_err(could_not_run)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(&args.output).with_context(failed)?;
    print_line(&format!("wrote {lines} record(s)"))?;
    Ok(Answer::Fine)
}

async fn verify(args: &VerifyArgs) -> Result<Answer, Failure> {
    let text = std::fs::read_to_string(&args.vkey)
        .with_context(|| format!("cannot read {}", args.vkey.display()))?;
    let keys = parse_verifier_keys(&text).map_err(Failure::usage)?;
    let mut conn = connect(&args.database).await?;
    let mut export = tempfile::NamedTempFile::new().context("cannot write the export")?;
    seal::write_sealed_export(&mut conn, &mut BufWriter::new(&mut export))
        .await
        .map_err(could_not_run)?;
    export.flush().context("cannot write the export")?;
    let verdict = Verification::new(keys, &args.checkpoints)
        .export(export.path())
        .run()
        .context("cannot verify")?;
    match verdict {
        Verdict::Verified(summary) => {
            if args.output.json {
                print_json(&summary)?;
            } else {
                print_line(&format!(
                    "verified: {} record(s), {} with erased fields, {} removed by retention; root {}",
                    summary.records, summary.erased, summary.removed, summary.root
                ))?;
            }
            Ok(Answer::Fine)
        }
        Verdict::NotVerified(finding) => {
            if args.output.json {
                print_json(&finding)?;
            } else {
                print_line(&escape(&format!("not verified: {finding}")))?;
            }
            Ok(Answer::Bad)
        }
        _ => Ok(Answer::Bad),
    }
}

async fn read_status(conn: &mut AsyncPgConnection) -> Result<SealStatus, Failure> {
    let status = transaction(conn, async |conn| seal::status(conn).await);
    status
        .await
        .and_then(|status| status.ok_or(SealError::NotBegun))
        .map_err(could_not_run)
}

fn read_key(source: &KeySource, origin: &str) -> Result<SigningKey, Failure> {
    let key = match (&source.key_file, &source.key_variable) {
        (Some(file), _) => seal::read_key_file(origin, file),
        (None, Some(variable)) => seal::read_key_variable(origin, variable),
        (None, None) => return Err(Failure::usage("pass --key-file or --key-variable")),
    };
    key.map_err(could_not_run)
}

fn could_not_run(error: SealError) -> Failure {
    Failure::CouldNotRun(error.into())
}
