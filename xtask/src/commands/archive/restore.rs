//! `archive restore`: brings a purged period back into the trail, for a time.

use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use threadline_export::archive::{self, RestoreError, RestoreOptions, RestorePeriod, RestoredSpan};

use super::ArchiveStorageArgs;
use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::{connect, transaction};
use crate::exit::{Answer, Failure};
use crate::host::Host;
use crate::output::json::print_json;
use crate::output::progress::Progress;
use crate::output::text::{print_line, print_note, show_instant};

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The period: a month (`2026-01`), or a day of the period to restore if partitions are days or weeks.
    period: RestorePeriod,
    /// How long purges keep the period: up to `30d`.
    #[arg(long = "for", value_name = "DAYS", value_parser = parse_days, default_value = "7d")]
    keep: Duration,
    /// The reason, which is stored with the period: a ticket.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    storage: ArchiveStorageArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

fn parse_days(text: &str) -> Result<Duration, String> {
    let days: u64 = text
        .strip_suffix('d')
        .and_then(|days| days.parse().ok())
        .ok_or_else(|| format!("`{text}` is not a number of days; write for example 7d"))?;
    let keep = Duration::from_secs(days.saturating_mul(24 * 60 * 60));
    if keep.is_zero() || keep > archive::MAX_KEEP {
        return Err("a restored period is kept 1 to 30 days".to_owned());
    }
    Ok(keep)
}

pub(crate) async fn run(host: Host, args: &RestoreArgs) -> Result<Answer, Failure> {
    let storage = args.storage.open(host)?;
    let options = RestoreOptions::new(args.period, &args.reason).keep(args.keep);
    let mut conn = connect(&args.database).await?;
    let line = Progress::message();
    let restored = transaction(&mut conn, async |conn| {
        archive::restore(conn, &storage, &options, |done| {
            line.set_message(&format!("{} records restored, {}", done.records, done.day));
        })
        .await
    })
    .await;
    drop(line);
    let restored = restored.map_err(failure)?;
    if args.output.json {
        print_json(&restored)?;
    } else {
        print_line(&describe(&restored))?;
    }
    if restored.unerased > 0 {
        print_note(&format!(
            "{} records have values again that were erased after they were archived: run the erasure again",
            restored.unerased
        ));
    }
    Ok(Answer::Fine)
}

fn describe(restored: &RestoredSpan) -> String {
    format!(
        "restored {} to {}: {} changes, {} transactions, {} actions; purges keep them until {}",
        show_instant(restored.from),
        show_instant(restored.to),
        restored.changes,
        restored.transactions,
        restored.actions,
        show_instant(restored.keep_until)
    )
}

fn failure(error: RestoreError) -> Failure {
    match error {
        RestoreError::NoReason
        | RestoreError::Keep
        | RestoreError::NotByMonth { .. }
        | RestoreError::StillInTrail(_) => Failure::usage(error),
        other => Failure::CouldNotRun(anyhow!(other)),
    }
}
