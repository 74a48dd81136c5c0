//! The second implementation, `examples/verify/verify.py`, on the same files; and the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use threadline_seal::sealed_line::SealedLine;
use threadline_seal::verify::Answer;

use crate::log::{Lines, Log};
use crate::mutations::small;
use crate::vectors::folder;

pub(crate) fn python(script: &str) -> Command {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/verify");
    let mut command = Command::new("python3");
    command.arg("-B").arg(examples.join(script));
    command
}

fn arguments(log: &Log) -> Vec<PathBuf> {
    let directory = log.directory.path().to_owned();
    let options = [("--vkey", "vkey"), ("--export", "export.ndjson")];
    let mut arguments = vec!["--checkpoints".into(), directory];
    for (option, file) in options {
        arguments.extend([option.into(), log.path(file)]);
    }
    arguments
}

fn program(log: &Log) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadline-verify"));
    command.args(arguments(log));
    command
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Verifies with both implementations and compares exit code, reason and leaf.
fn compare(log: &Log, reason: Option<&str>) {
    let output = python("verify.py").args(arguments(log)).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let theirs: serde_json::Value = serde_json::from_str(&text(&output)).expect(&errors);
    let ours = match log.with_export().run().unwrap() {
        Answer::Verified(_) => (0, serde_json::Value::Null, serde_json::Value::Null),
        Answer::NotVerified(finding) => {
            let leaf = finding.leaf.map_or(serde_json::Value::Null, Into::into);
            (1, finding.reason.to_string().into(), leaf)
        }
        answer => panic!("{answer:?}"),
    };
    assert_eq!(
        (ours.0, &ours.1, &ours.2),
        (
            output.status.code().unwrap(),
            &theirs["reason"],
            &theirs["leaf"]
        )
    );
    assert_eq!(theirs["reason"].as_str(), reason);
}

#[test]
fn golden_vectors_are_those_of_the_second_implementation() {
    let written = TempDir::new().unwrap();
    let output = python("make_vectors.py")
        .arg(written.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let files = [
        "fields.json",
        "tree.json",
        "log/vkey",
        "log/export.ndjson",
        "log/checkpoint",
    ];
    let sizes = [5, 12].map(|size| format!("log/checkpoints/{size:020}"));
    for file in files.into_iter().chain(sizes.iter().map(String::as_str)) {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(file)).unwrap();
        assert_eq!(read(written.path()), read(&folder()), "{file}");
    }
}

#[test]
fn both_implementations_verify_a_log() {
    let lines = small();
    compare(&lines.publish(&[3, lines.0.len() as u64]), None);
}

#[test]
fn both_implementations_report_the_same_findings() {
    let lines = small();
    let size = lines.0.len() as u64;
    let log = lines.publish(&[3, size]);
    let all: Vec<String> = lines.0.iter().map(SealedLine::to_json).collect();
    let check = |changed: Vec<String>, reason| {
        assert_ne!(changed, all);
        log.write_export(changed.into_iter());
        compare(&log, Some(reason));
    };
    let replaced =
        |from: &str, to: &str| all.iter().map(|line| line.replacen(from, to, 1)).collect();
    let without = |leaf: usize| {
        let mut lines = all.clone();
        lines.remove(leaf);
        lines
    };
    check(replaced("🧵", "X"), "content_differs");
    check(replaced("\"[ERASED]\\\"", "\"x\\\""), "erasure_unexplained");
    check(
        replaced("\"op\":\"update\"", "\"op\":\"delete\""),
        "content_differs",
    );
    check(
        replaced("\"kind\":\"change\"", "\"kind\":\"chance\""),
        "content_differs",
    );
    check(replaced("request 5", "request 6"), "content_differs");
    check(without(3), "missing");
    check(without(5), "missing");
    let mut swapped = all.clone();
    swapped.swap(2, 3);
    check(swapped, "missing");
    let mut repeated = all.clone();
    repeated.insert(3, all[3].clone());
    check(repeated, "order_broken");
    let mut unexplained = small();
    unexplained.remove(3);
    check(
        unexplained.0.iter().map(SealedLine::to_json).collect(),
        "removal_unexplained",
    );
    let mut forged = Lines::begin();
    forged.0.extend_from_slice(&lines.0[1..3]);
    forged.change(4);
    forged.0.extend_from_slice(&lines.0[4..]);
    check(
        forged.0.iter().map(SealedLine::to_json).collect(),
        "root_differs",
    );
    log.write_export(all.iter().cloned());
    compare(&log, None);
    let note = std::fs::read_to_string(log.path("checkpoint")).unwrap();
    log.write(
        "checkpoint",
        &note
            .replace("— example.com/trail A", "— example.com/trail B")
            .replace("\n6\n", "\n7\n"),
    );
    compare(&log, Some("signature_bad"));
}

#[test]
fn the_program_has_an_exit_code_for_each_outcome() {
    let lines = small();
    let log = lines.publish(&[3, lines.0.len() as u64]);
    let verified = program(&log).output().unwrap();
    assert_eq!(verified.status.code(), Some(0));
    assert!(
        text(&verified).starts_with("verified: 2 checkpoint(s) of example.com/trail"),
        "{}",
        text(&verified)
    );
    let json = text(&program(&log).arg("--json").output().unwrap());
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&document["verified"], &document["records"]),
        (&true.into(), &6.into())
    );

    let export = std::fs::read_to_string(log.path("export.ndjson")).unwrap();
    log.write("export.ndjson", &export.replace("🧵", "X"));
    let differs = program(&log).output().unwrap();
    assert_eq!(differs.status.code(), Some(1));
    let expected =
        "not verified: content_differs at leaf 3 (change 4, 2026-11-21T09:30:00.000004Z): ";
    assert!(text(&differs).starts_with(expected), "{}", text(&differs));
    let document: serde_json::Value =
        serde_json::from_str(&text(&program(&log).arg("--json").output().unwrap())).unwrap();
    assert_eq!(
        (&document["verified"], &document["leaf"]),
        (&false.into(), &3.into())
    );

    let usage = program(&log).arg("--no-such-option").output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
    std::fs::remove_file(log.path("export.ndjson")).unwrap();
    assert_eq!(program(&log).output().unwrap().status.code(), Some(3));
    log.write("vkey", "no key");
    assert_eq!(program(&log).output().unwrap().status.code(), Some(2));
}
