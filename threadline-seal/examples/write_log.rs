//! Writes a log with any number of changes to a directory, to measure the verifier:
//! `cargo run --release --example write_log -- DIRECTORY CHANGES [FIELDS]`. A change has 4 to 23 fields.

use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use threadline_seal::checkpoint::Checkpoint;
use threadline_seal::digest::Digest;
use threadline_seal::field::{Fields, Secret};
use threadline_seal::instant::format_micros;
use threadline_seal::key::SigningKey;
use threadline_seal::record::RecordKind;
use threadline_seal::sealed_line::SealedLine;
use threadline_seal::tree::Frontier;

const ORIGIN: &str = "example.com/trail";

/// The number of leaves between two checkpoints.
const CHECKPOINT_LEAVES: u64 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(changes)) = (arguments.next(), arguments.next()) else {
        return Err("expected DIRECTORY and CHANGES".into());
    };
    let (directory, changes): (PathBuf, u64) = (directory.into(), changes.parse()?);
    let fields = arguments.next().map_or(Ok(23), |fields| fields.parse())?;
    let key = SigningKey::from_seed(ORIGIN, &[7; 32])?;
    fs::create_dir_all(directory.join("checkpoints"))?;
    fs::write(directory.join("vkey"), format!("{}\n", key.verifier_key()))?;
    let mut export = BufWriter::new(fs::File::create(directory.join("export.ndjson"))?);
    let mut frontier = Frontier::default();
    for leaf in 0..=changes {
        let line = line(leaf, fields)?;
        writeln!(export, "{}", line.to_json())?;
        frontier.push(line.entry.leaf_hash());
        let size = frontier.size();
        if size % CHECKPOINT_LEAVES == 0 || leaf == changes {
            let checkpoint = Checkpoint::new(ORIGIN, size, frontier.root());
            let note = checkpoint.sign(&key).to_string();
            fs::write(directory.join(checkpoint.path()), &note)?;
            fs::write(directory.join("checkpoint"), note)?;
        }
    }
    export.flush()?;
    Ok(())
}

/// The genesis record, or a change; with all its fields it is of a table with 12 columns.
fn line(leaf: u64, count: usize) -> Result<SealedLine, Box<dyn Error>> {
    let id = i64::try_from(leaf)?;
    let (number, at) = (id.to_string(), format_micros(1_795_253_400_000_000 + id));
    let digest = Digest::of(&[&leaf.to_be_bytes()]);
    let secret = Secret::from_bytes(digest.as_bytes()[..16].try_into()?);
    let pairs: &[(&str, &str)] = if leaf == 0 {
        &[("from_id", "0"), ("began_at", &at), ("origin", ORIGIN)]
    } else {
        &[
            ("id", &number),
            ("captured_at", &at),
            ("table_schema", "public"),
            ("table_name", "invoices"),
            ("transaction_id", "000303c4-c5f8-7600-0000-0000000003e9"),
            ("actor", "user:42"),
            ("op", "update"),
            ("row_key", &number),
            ("table_pk", "{\"id\": \"42\"}"),
            ("data_after/id", &number),
            ("data_after/uid", "\"5ba6d5ce-4f3b-4f0e-9f0e-6d3c1b1f8a11\""),
            ("data_after/number", "\"2026-000042\""),
            ("data_after/status", "\"paid\""),
            ("data_after/currency", "\"EUR\""),
            (
                "data_after/note",
                "\"a note of some length about the invoice\"",
            ),
            ("data_after/total", "1234.50"),
            ("data_after/weight", "17"),
            ("data_after/paid", "true"),
            ("data_after/shipped_on", "\"2026-11-21\""),
            (
                "data_after/placed_at",
                "\"2026-11-21T09:30:00.000001+00:00\"",
            ),
            ("data_after/details", "{\"a\": [1, 2, 3]}"),
            ("changed_from/status", "\"open\""),
            ("changed_from/total", "1200.00"),
        ]
    };
    let owned = |(path, value): &(&str, &str)| ((*path).to_owned(), (*value).to_owned());
    let fields: Fields = pairs.iter().take(count.max(4)).map(owned).collect();
    let kind = if leaf == 0 {
        RecordKind::Genesis
    } else {
        RecordKind::Change
    };
    Ok(SealedLine::seal(leaf, kind, id, fields, secret)?)
}
