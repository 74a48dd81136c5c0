//! Golden vectors, which the second implementation computed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use threadline_seal::checkpoint::Checkpoint;
use threadline_seal::digest::Digest;
use threadline_seal::field::{Fields, Secret, commit_fields, content};
use threadline_seal::key::{SigningKey, VerifierKey};
use threadline_seal::record::Entry;
use threadline_seal::sealed_line::SealedLine;
use threadline_seal::tree::Frontier;
use threadline_seal::verify::{Answer, Verification};

use crate::log::ORIGIN;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

#[derive(Deserialize)]
struct FieldVector {
    secret: String,
    fields: Fields,
    salts: BTreeMap<String, String>,
    commitments: BTreeMap<String, String>,
    content: String,
}

#[test]
fn salts_commitments_and_contents_equal_the_vectors() {
    let vectors: Vec<FieldVector> = serde_json::from_str(&read("fields.json")).unwrap();
    assert_eq!(vectors.len(), 9);
    for vector in vectors {
        let secret = Secret::from_bytes(bytes(&vector.secret));
        let commitments = commit_fields(&vector.fields, &secret);
        for (path, commitment) in &commitments {
            assert_eq!(
                hex::encode(secret.salt(path).as_bytes()),
                vector.salts[*path]
            );
            assert_eq!(commitment.to_string(), vector.commitments[*path]);
        }
        assert_eq!(content(&commitments).to_string(), vector.content);
    }
}

#[derive(Deserialize)]
struct TreeVector {
    entries: Vec<EntryVector>,
    roots: Vec<String>,
    seed: String,
}

#[derive(Deserialize)]
struct EntryVector {
    kind: String,
    entry: String,
    leaf_hash: String,
}

#[test]
fn entries_leaf_hashes_and_roots_equal_the_vectors() {
    let vector: TreeVector = serde_json::from_str(&read("tree.json")).unwrap();
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root().to_string(), vector.roots[0]);
    for (expected, root) in vector.entries.iter().zip(&vector.roots[1..]) {
        let entry = Entry::from_bytes(&bytes(&expected.entry)).unwrap();
        assert_eq!(hex::encode(entry.to_bytes()), expected.entry);
        assert_eq!(entry.kind.name(), expected.kind);
        assert_eq!(entry.leaf_hash().to_string(), expected.leaf_hash);
        frontier.push(entry.leaf_hash());
        assert_eq!(frontier.root().to_string(), *root);
    }
}

#[test]
fn lines_of_the_export_are_written_as_in_the_vectors() {
    for line in read("log/export.ndjson").lines() {
        let parsed = SealedLine::parse(line.as_bytes()).unwrap();
        parsed.check_content().unwrap();
        assert_eq!(parsed.to_json(), line);
    }
}

#[test]
fn checkpoints_and_keys_equal_the_vectors() {
    let vector: TreeVector = serde_json::from_str(&read("tree.json")).unwrap();
    let key = SigningKey::from_seed(ORIGIN, &bytes(&vector.seed)).unwrap();
    assert_eq!(format!("{}\n", key.verifier_key()), read("log/vkey"));
    for size in [5, 12] {
        let root = Digest::from_bytes(bytes(&vector.roots[usize::try_from(size).unwrap()]));
        let checkpoint = Checkpoint::new(ORIGIN, size, root);
        let note = checkpoint.sign(&key).to_string();
        assert_eq!(note, read(&format!("log/{}", checkpoint.path())));
    }
}

#[test]
fn the_log_of_the_vectors_is_verified() {
    let key: VerifierKey = read("log/vkey").trim().parse().unwrap();
    let log = folder().join("log");
    let answer = Verification::new(vec![key], &log)
        .export(log.join("export.ndjson"))
        .run()
        .unwrap();
    let Answer::Verified(summary) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(
        (summary.records, summary.erased, summary.removed),
        (12, 1, 1)
    );
}
