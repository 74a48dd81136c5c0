//! `seal run`, `seal key` and `seal continue`.

use std::time::Duration;

use clap::Args;
use threadline_export::seal::{self, Publication, Round, SealError, Signer};
use threadline_seal::key::VerifierKey;

use super::signing::{KeySource, PublicationArgs};
use super::{could_not_run, read_origin};
use crate::args::DatabaseArgs;
use crate::connection::{connect, transaction};
use crate::exit::{Answer, Failure};
use crate::host::Host;
use crate::output::text::{escape, print_line, print_note};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    key: KeySource,
    #[command(flatten)]
    publication: PublicationArgs,
    /// Also publish tiles and entries (C2SP tlog-tiles). They tell when records of a table were written: publish them
    /// for auditors only.
    #[arg(long)]
    publish_tiles: bool,
    /// Repeat until the process is ended, with this pause.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,
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
pub(crate) struct ContinueArgs {
    /// The new name of the log and of its key, for example `example.com/trail/2`.
    #[arg(long, value_name = "NAME")]
    origin: String,
    /// Why the log is continued: which copy was restored, and why.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    publication: PublicationArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(host: Host, args: &RunArgs) -> Result<Answer, Failure> {
    let mut publication = args.publication.open(host)?;
    if args.publish_tiles {
        publication = publication.with_tiles();
    }
    let signer = args.key.read(&read_origin(&args.database).await?)?;
    // An error of the options is shown at once.
    let round = run_round(&args.database, &signer, &publication).await?;
    let Some(seconds) = args.every else {
        print_line(&format!("sealed {} record(s)", round.sealed))?;
        return Ok(Answer::Fine);
    };
    loop {
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
        if let Err(error) = run_round(&args.database, &signer, &publication).await {
            print_note(&format!("error: {error}"));
        }
    }
}

/// Connects for each round, so that a lost connection does no harm.
async fn run_round(
    database: &DatabaseArgs,
    signer: &Signer,
    publication: &Publication,
) -> Result<Round, Failure> {
    let mut conn = connect(database).await?;
    seal::run_round(&mut conn, signer, publication)
        .await
        .map_err(could_not_run)
}

pub(super) async fn print_key(args: &KeyArgs) -> Result<Answer, Failure> {
    let signer = args.key.read(&read_origin(&args.database).await?)?;
    print_line(&signer.verifier_key().to_string())?;
    Ok(Answer::Fine)
}

pub(super) async fn continue_log(host: Host, args: &ContinueArgs) -> Result<Answer, Failure> {
    VerifierKey::check_name(&args.origin).map_err(Failure::usage)?;
    let published = args.publication.open(host)?;
    let mut conn = connect(&args.database).await?;
    let continued = transaction(&mut conn, async |conn| {
        seal::continue_log(conn, &args.origin, &published, &args.reason).await
    });
    match continued.await {
        Ok(continued) => {
            print_line(&format!(
                "the log {} continues as {} with {} leaves; {} leaves were published",
                escape(&continued.earlier_origin),
                escape(&args.origin),
                continued.size,
                continued.published_size
            ))?;
            Ok(Answer::Fine)
        }
        Err(error @ SealError::NothingToContinue { .. }) => {
            print_note(&error.to_string());
            Ok(Answer::Bad)
        }
        Err(error @ SealError::SameOrigin(_)) => Err(Failure::usage(error)),
        Err(error) => Err(could_not_run(error)),
    }
}
