//! Verifies a sealed export of an audit trail against published checkpoints, without a database.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use threadline_seal::key::{VerifierKey, parse_verifier_keys};
use threadline_seal::verify::{
    Answer, ProofAnswer, ProofSummary, Summary, Verification, VerifyError, verify_proof,
};

/// The greatest size of a file with keys, in bytes.
const MAX_KEYS_BYTES: u64 = 65_536;

/// Verify checkpoints, tiles and a sealed export of an audit trail, or the proof of one record.
///
/// Exit codes: 0 verified, 1 not verified, 2 wrong usage, 3 a file could not be read.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// File with the public key of the log (NAME+ID+KEY); several keys, each on a line, after a rotation
    #[arg(long, value_name = "FILE")]
    vkey: PathBuf,
    /// Directory with `checkpoints/<20 digits>` and `checkpoint`; repeat it to compare copies
    #[arg(long, value_name = "DIR", required_unless_present = "proof")]
    checkpoints: Vec<PathBuf>,
    /// Sealed export: an NDJSON file, or a directory of them
    #[arg(long, value_name = "PATH")]
    export: Option<PathBuf>,
    /// Directory with `tile/`; with it, the export may be a part of the log
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// File that keeps the newest verified checkpoint, to find a log that was set back
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Verify as of the newest checkpoint with at most this number of leaves
    #[arg(long, value_name = "LEAVES")]
    size: Option<u64>,
    /// Proof of one record, which `threadline seal prove` writes. With --checkpoints, its checkpoint must not
    /// contradict theirs
    #[arg(long, value_name = "FILE", conflicts_with_all = ["export", "tiles", "state", "size"])]
    proof: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let keys = match read_keys(&arguments.vkey) {
        Ok(keys) => keys,
        Err((code, message)) => {
            eprintln!("error: {}", printable(&message));
            return code.into();
        }
    };
    match verify(&arguments, keys) {
        Ok((verified, text)) => {
            println!("{text}");
            ExitCode::from(u8::from(!verified))
        }
        Err(error) => {
            eprintln!("error: {}", printable(&error.to_string()));
            3.into()
        }
    }
}

/// The verdict, and the answer as text or JSON.
fn verify(arguments: &Arguments, keys: Vec<VerifierKey>) -> Result<(bool, String), VerifyError> {
    if let Some(file) = &arguments.proof {
        let answer = verify_proof(file, &keys, &arguments.checkpoints)?;
        let verified = matches!(answer, ProofAnswer::Verified(_));
        return Ok((verified, describe_proof(&answer, arguments.json)));
    }
    let answer = verification(arguments, keys).run()?;
    let verified = matches!(answer, Answer::Verified(_));
    Ok((verified, describe(&answer, arguments.json)))
}

/// Reads the keys; the error has the exit code.
fn read_keys(file: &PathBuf) -> Result<Vec<VerifierKey>, (u8, String)> {
    let failed = |error| (3, format!("{}: {error}", file.display()));
    let invalid = |message: String| (2, format!("--vkey {}: {message}", file.display()));
    if fs::metadata(file).map_err(failed)?.len() > MAX_KEYS_BYTES {
        return Err(invalid("larger than 64 KiB".to_owned()));
    }
    let text = fs::read_to_string(file).map_err(failed)?;
    parse_verifier_keys(&text).map_err(|error| invalid(error.to_string()))
}

fn verification(arguments: &Arguments, keys: Vec<VerifierKey>) -> Verification {
    let mut directories = arguments.checkpoints.iter();
    let first = directories.next().cloned().unwrap_or_default();
    let mut verification =
        directories.fold(Verification::new(keys, first), Verification::published);
    if let Some(path) = &arguments.export {
        verification = verification.export(path);
    }
    if let Some(path) = &arguments.tiles {
        verification = verification.tiles(path);
    }
    if let Some(path) = &arguments.state {
        verification = verification.state(path);
    }
    if let Some(size) = arguments.size {
        verification = verification.size(size);
    }
    verification
}

fn describe(answer: &Answer, json: bool) -> String {
    match answer {
        _ if json => serde_json::json!(answer).to_string(),
        Answer::Verified(summary) => describe_summary(summary),
        Answer::NotVerified(finding) => printable(&format!("not verified: {finding}")),
        _ => String::new(),
    }
}

fn describe_proof(answer: &ProofAnswer, json: bool) -> String {
    match answer {
        _ if json => serde_json::json!(answer).to_string(),
        ProofAnswer::Verified(summary) => describe_proof_summary(summary),
        ProofAnswer::NotVerified(finding) => printable(&format!("not verified: {finding}")),
        _ => String::new(),
    }
}

fn describe_proof_summary(summary: &ProofSummary) -> String {
    let limits = if !summary.has_fields {
        "; the record was removed, only its entry is proven".to_owned()
    } else if summary.erased.is_empty() {
        String::new()
    } else {
        format!("; erased, not proven: {}", summary.erased.join(", "))
    };
    printable(&format!(
        "verified: {} {} of {} is leaf {} of {} with {} leaves and root {}{limits}",
        summary.kind,
        summary.id,
        summary.at,
        summary.leaf,
        summary.origin,
        summary.size,
        summary.root
    ))
}

fn describe_summary(summary: &Summary) -> String {
    let records = if summary.records > 0 {
        format!(
            "; {} record(s) from leaf {}, {} with erased fields, {} removed by retention",
            summary.records, summary.first_leaf, summary.erased, summary.removed
        )
    } else {
        String::new()
    };
    let limits = if summary.consistent {
        ""
    } else {
        "; signatures only: pass --tiles or --export to prove that the checkpoints are of one log"
    };
    printable(&format!(
        "verified: {} checkpoint(s) of {}, the newest with {} leaves and root {}{records}{limits}",
        summary.checkpoints, summary.origin, summary.size, summary.root
    ))
}

/// Replaces the characters that a terminal acts on.
fn printable(text: &str) -> String {
    let is_active = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if is_active(c) { '␣' } else { c })
        .collect()
}
