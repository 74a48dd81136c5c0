//! Proofs of records, tiles and earlier sizes: manipulated files, both implementations.

use std::fs;

use proptest::prelude::*;
use threadline_seal::digest::Digest;
use threadline_seal::inclusion::InclusionProofs;
use threadline_seal::proof::RecordProof;
use threadline_seal::record::Entry;
use threadline_seal::tile_builder::TileBuilder;
use threadline_seal::tiles::{new_tiles, top_tile};
use threadline_seal::tree::{leaf_hash, verify_inclusion};
use threadline_seal::verify::{ProofAnswer, Reason, verify_proof};

use crate::log::{Lines, Log, finding, key, verified};
use crate::mutations::small;
use crate::second_implementation::{python, text};

/// The proof of a leaf, with the checkpoint of all leaves.
fn prove(lines: &Lines, leaf: usize) -> RecordProof {
    let size = lines.0.len() as u64;
    let mut proofs = InclusionProofs::new(vec![leaf as u64], size);
    for entry in lines.entries() {
        proofs.push(entry.leaf_hash());
    }
    let (root, mut hashes) = proofs.finish();
    let checkpoint = lines.checkpoint(size);
    assert_eq!(checkpoint.root, root);
    RecordProof {
        line: lines.0[leaf].clone(),
        hashes: hashes.pop().unwrap(),
        checkpoint: checkpoint.sign(&key()).to_string(),
    }
}

fn answer(log: &Log) -> ProofAnswer {
    let keys = [key().verifier_key().clone()];
    verify_proof(&log.path("proof"), &keys, &[]).unwrap()
}

fn reason(answer: &ProofAnswer) -> Option<Reason> {
    match answer {
        ProofAnswer::NotVerified(finding) => Some(finding.reason),
        _ => None,
    }
}

#[test]
fn both_implementations_verify_the_proof_of_each_form_of_record() {
    let lines = small();
    let log = lines.publish(&[lines.0.len() as u64]);
    for leaf in 0..lines.0.len() {
        log.write("proof", &prove(&lines, leaf).to_string());
        let ProofAnswer::Verified(summary) = answer(&log) else {
            panic!("leaf {leaf}");
        };
        assert_eq!(summary.leaf, leaf as u64);
        let mut theirs = python("verify.py");
        theirs
            .arg("--vkey")
            .arg(log.path("vkey"))
            .arg("--proof")
            .arg(log.path("proof"));
        let output = theirs.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
    assert_eq!(reason(&answer(&log)), None);
}

#[test]
fn every_changed_byte_of_a_proof_is_found_by_both_implementations() {
    let lines = small();
    let log = lines.publish(&[lines.0.len() as u64]);
    let proof = prove(&lines, 3).to_string();
    let parsed = RecordProof::parse(&proof).unwrap();
    let mut compared = 0;
    for place in 0..proof.len() {
        let mut changed = proof.clone().into_bytes();
        changed[place] ^= [0x01, 0x20, 0x80][place % 3];
        fs::write(log.path("proof"), &changed).unwrap();
        let same = String::from_utf8(changed)
            .ok()
            .and_then(|text| RecordProof::parse(&text).ok())
            .is_some_and(|read| read == parsed);
        // A different escape in the record is the same value.
        if same {
            continue;
        }
        let found = reason(&answer(&log));
        assert!(found.is_some(), "byte {place}");
        if place % 40 == 0 {
            let mut theirs = python("verify.py");
            theirs
                .arg("--vkey")
                .arg(log.path("vkey"))
                .arg("--proof")
                .arg(log.path("proof"));
            let output = theirs.output().unwrap();
            assert_eq!(
                output.status.code(),
                Some(1),
                "byte {place}: {}",
                text(&output)
            );
            compared += 1;
        }
    }
    assert!(compared > 10);
}

#[test]
fn the_proof_of_another_log_contradicts_published_checkpoints() {
    let lines = small();
    let log = lines.publish(&[lines.0.len() as u64]);
    let mut forked = Lines::begin();
    for id in 2..7 {
        forked.change(id);
    }
    assert_eq!(forked.0.len(), lines.0.len());
    log.write("proof", &prove(&forked, 2).to_string());
    assert_eq!(reason(&answer(&log)), None, "the key signed it");
    let keys = [key().verifier_key().clone()];
    let directory = log.directory.path().to_owned();
    let compared = verify_proof(&log.path("proof"), &keys, &[directory]).unwrap();
    assert_eq!(reason(&compared), Some(Reason::InconsistentCheckpoints));
}

#[test]
fn the_program_verifies_a_proof() {
    let lines = small();
    let log = lines.publish(&[lines.0.len() as u64]);
    log.write("proof", &prove(&lines, 1).to_string());
    let program = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_threadline-verify"));
        command
            .arg("--vkey")
            .arg(log.path("vkey"))
            .arg("--proof")
            .arg(log.path("proof"));
        command
    };
    let output = program().output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let line = text(&output);
    assert!(
        line.starts_with(
            "verified: change 2 of 2026-11-21T09:30:00.000002Z is leaf 1 of example.com/trail"
        ),
        "{line}"
    );
    assert!(
        line.ends_with("; erased, not proven: data_after/email\n"),
        "{line}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&text(&program().arg("--json").output().unwrap())).unwrap();
    assert_eq!(
        (&json["verified"], &json["leaf"]),
        (&true.into(), &1.into())
    );
    log.write("proof", "c2sp.org/tlog-proof@v1\n");
    let output = program().arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_str(&text(&output)).unwrap();
    assert_eq!(json["reason"], "proof_bad");
    assert_eq!(
        program()
            .arg("--export")
            .arg("x")
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn an_export_with_more_leaves_is_verified_as_of_an_earlier_size() {
    let mut lines = small();
    let size = lines.0.len() as u64;
    lines.change(9);
    let log = lines.publish(&[3, size]);
    let summary = verified(&log.with_export().size(size));
    assert_eq!((summary.size, summary.records), (size, size));
    assert_eq!(finding(&log.with_export()).reason, Reason::Unsealed);
    let mut theirs = python("verify.py");
    theirs
        .arg("--vkey")
        .arg(log.path("vkey"))
        .arg("--checkpoints")
        .arg(log.directory.path());
    theirs
        .arg("--export")
        .arg(log.path("export.ndjson"))
        .arg("--size")
        .arg(size.to_string());
    let output = theirs.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

/// A log with this number of leaves, all of one entry: reading tiles does not read records.
fn many(count: u64) -> Vec<Entry> {
    let entry = small().entries()[1];
    (0..count)
        .map(|number| Entry {
            id: i64::try_from(number).unwrap(),
            ..entry
        })
        .collect()
}

#[test]
fn every_changed_byte_of_a_tile_is_found() {
    let mut lines = Lines::begin();
    for id in 2..=300 {
        lines.change(id);
    }
    let log = lines.publish(&[300]);
    let with_tiles = log.verification().tiles(log.directory.path());
    verified(&with_tiles);
    let paths = [
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
    ];
    for path in paths {
        let bytes = fs::read(log.path(path)).unwrap();
        for place in (0..bytes.len()).step_by(bytes.len() / 7) {
            let mut changed = bytes.clone();
            changed[place] ^= 0x10;
            fs::write(log.path(path), &changed).unwrap();
            let found = finding(&with_tiles);
            assert!(
                matches!(found.reason, Reason::TileDiffers | Reason::RootDiffers),
                "{path}, byte {place}: {found}"
            );
        }
        for length in [bytes.len() - 1, bytes.len() + 1] {
            let mut changed = bytes.clone();
            changed.resize(length, 0);
            fs::write(log.path(path), &changed).unwrap();
            assert_eq!(finding(&with_tiles).reason, Reason::TileDiffers, "{path}");
        }
        fs::write(log.path(path), &bytes).unwrap();
    }
    verified(&with_tiles);
}

#[test]
fn a_resumed_builder_writes_the_tiles_of_one_that_read_all_leaves() {
    let entries = many(66_000);
    let mut whole = TileBuilder::default();
    let mut files = std::collections::BTreeMap::new();
    for (count, entry) in (1..).zip(&entries) {
        for file in whole.push(*entry) {
            files.insert(file.path, file.bytes);
        }
        if [1, 255, 256, 257, 65_535, 65_536, 65_537, 66_000].contains(&count) {
            for file in whole.partial_files() {
                files.insert(file.path, file.bytes);
            }
            let top = top_tile(count).unwrap();
            assert!(files.contains_key(&top.path()), "{count}");
            assert_eq!(new_tiles(0, count).last(), Some(&top));
            // What a publisher reads back.
            let mut rest = count;
            let mut upper = Vec::new();
            for level in 1..=top.level {
                rest /= 256;
                let tile = threadline_seal::tiles::Tile {
                    level,
                    index: rest / 256,
                    width: rest % 256,
                };
                upper.push(match tile.width {
                    0 => Vec::new(),
                    _ => threadline_seal::tiles::decode_hashes(&files[&tile.path()]).unwrap(),
                });
            }
            let first = usize::try_from(count - count % 256).unwrap();
            let last = usize::try_from(count).unwrap();
            let resumed = TileBuilder::resume(count, entries[first..last].to_vec(), upper).unwrap();
            assert_eq!(resumed, whole, "{count}");
        }
    }
    for tile in new_tiles(0, 66_000) {
        assert!(files.contains_key(&tile.path()), "{tile:?}");
    }
    let hashes: Vec<Digest> = entries.iter().map(Entry::leaf_hash).collect();
    let mut proofs = InclusionProofs::new(vec![0, 65_535, 65_999], 66_000);
    for hash in &hashes {
        proofs.push(*hash);
    }
    let (root, proofs) = proofs.finish();
    assert_eq!(whole.root(), root);
    for (leaf, proof) in [0_usize, 65_535, 65_999].into_iter().zip(&proofs) {
        verify_inclusion(leaf as u64, hashes[leaf], 66_000, &root, proof).unwrap();
    }
}

proptest! {
    #[test]
    fn inclusion_proofs_of_many_leaves_hold(size in 1_u64..300, leaves in prop::collection::vec(any::<prop::sample::Index>(), 1..5)) {
        let leaves: Vec<u64> = leaves.iter().map(|index| index.index(usize::try_from(size).unwrap()) as u64).collect();
        let hash = |leaf: u64| leaf_hash(&leaf.to_be_bytes());
        let mut proofs = InclusionProofs::new(leaves.clone(), size);
        for leaf in 0..size + 3 {
            proofs.push(hash(leaf));
        }
        let (root, proofs) = proofs.finish();
        for (leaf, proof) in leaves.iter().zip(&proofs) {
            prop_assert!(verify_inclusion(*leaf, hash(*leaf), size, &root, proof).is_ok());
        }
    }

    #[test]
    fn parsing_proofs_never_panics(text in "\\PC{0,200}") {
        let _ = RecordProof::parse(&text);
        let _ = RecordProof::parse(&format!("c2sp.org/tlog-proof@v1\n{text}\n\n{text}"));
    }
}
