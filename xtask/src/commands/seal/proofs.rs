//! `seal export`, `seal prove` and `seal verify`.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use tempfile::NamedTempFile;
use threadline_export::seal::{self, SealError, SealedRecord};
use threadline_seal::verify::{Answer as Verdict, Verification};

use super::could_not_run;
use super::signing::read_verifier_keys;
use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::text::{escape, print_line, print_note};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to write. It has the secrets of the seals: keep it as safe as the trail.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// The record: `change:42`, `transaction:<uuid>`, or `action:43` by its `order_id`; also `removal`, `suspension`,
    /// `evidence` and `enrolment`.
    record: SealedRecord,
    /// The file to write, usually with the extension `tlog-proof`. It has the values of the record.
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

pub(super) async fn export(args: &ExportArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let mut file = PrivateFile::create(&args.output)?;
    let lines = seal::write_sealed_export(&mut conn, &mut BufWriter::new(&mut file.file))
        .await
        .map_err(could_not_run)?;
    file.finish()?;
    print_line(&format!("wrote {lines} record(s)"))?;
    Ok(Answer::Fine)
}

pub(super) async fn prove(args: &ProveArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let proof = match seal::prove(&mut conn, args.record).await {
        Ok(proof) => proof,
        Err(error @ SealError::NotSealed(_)) => {
            print_note(&error.to_string());
            return Ok(Answer::Bad);
        }
        Err(error) => return Err(could_not_run(error)),
    };
    let mut file = PrivateFile::create(&args.output)?;
    write!(file.file, "{proof}")?;
    file.finish()?;
    print_line(&format!("{} is leaf {}", args.record, proof.line.leaf))?;
    Ok(Answer::Fine)
}

pub(super) async fn verify(args: &VerifyArgs) -> Result<Answer, Failure> {
    let keys = read_verifier_keys(&args.vkey)?;
    let mut conn = connect(&args.database).await?;
    let mut export = NamedTempFile::new().context("cannot write the export")?;
    seal::write_sealed_export(&mut conn, &mut BufWriter::new(&mut export))
        .await
        .map_err(could_not_run)?;
    export.flush().context("cannot write the export")?;
    let verdict = Verification::new(keys, &args.checkpoints)
        .export(export.path())
        .run()
        .context("cannot verify")?;
    if args.output.json {
        print_json(&verdict)?;
    } else {
        print_line(&describe(&verdict))?;
    }
    Ok(Answer::fine_if(matches!(verdict, Verdict::Verified(_))))
}

fn describe(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Verified(summary) => format!(
            "verified: {} record(s), {} with erased fields, {} removed by retention; root {}",
            summary.records, summary.erased, summary.removed, summary.root
        ),
        Verdict::NotVerified(finding) => escape(&format!("not verified: {finding}")),
        _ => String::new(),
    }
}

/// A file that only the owner can read, and that has its name when it is complete.
struct PrivateFile<'a> {
    path: &'a Path,
    file: NamedTempFile,
}

impl<'a> PrivateFile<'a> {
    fn create(path: &'a Path) -> Result<Self, Failure> {
        let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
        let file = NamedTempFile::new_in(directory.unwrap_or(Path::new(".")));
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file })
    }

    fn finish(self) -> Result<(), Failure> {
        let failed = || format!("cannot write {}", self.path.display());
        self.file.as_file().sync_all().with_context(failed)?;
        self.file.persist(self.path).with_context(failed)?;
        Ok(())
    }
}
