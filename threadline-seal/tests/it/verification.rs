//! Verification of whole logs: what is accepted, and what each kind of manipulation is called.

use std::fs;

use threadline_seal::instant::format_micros;
use threadline_seal::record::RecordKind;
use threadline_seal::sealed_line::SealedLine;
use threadline_seal::verify::{Answer, Reason, VerifyError};

use crate::log::{Lines, fields, finding, key, micros, verified};

/// A log with a transaction, changes, an action and a clock record.
fn sample(changes: i64) -> Lines {
    let mut lines = Lines::begin();
    let at = format_micros(micros(2));
    let transaction = [
        ("id", "000303c4-c5f8-7600-0000-0000000003e9"),
        ("occurred_at", at.as_str()),
    ];
    lines.push(RecordKind::Transaction, 2, fields(&transaction));
    for id in 2..2 + changes {
        lines.change(id);
    }
    let id = (2 + changes).to_string();
    let action = [
        ("order_id", id.as_str()),
        ("id", "01a1fd70-f1c0-7abc-8def-0123456789ab"),
        ("name", "a"),
    ];
    lines.push(RecordKind::Action, 2 + changes, fields(&action));
    let clock = [("settled_to", id.as_str()), ("read_at", at.as_str())];
    lines.push(RecordKind::Clock, 2 + changes, fields(&clock));
    lines
}

fn sizes(lines: &Lines) -> [u64; 2] {
    let size = lines.0.len() as u64;
    [size / 2, size]
}

#[test]
fn a_log_is_verified_with_checkpoints_tiles_and_export() {
    let lines = sample(600);
    let log = lines.publish(&sizes(&lines));
    assert!(!verified(&log.verification()).consistent);
    let with_tiles = verified(&log.verification().tiles(log.directory.path()));
    assert!(with_tiles.consistent);
    let with_export = verified(&log.with_export());
    assert_eq!((with_export.records, with_export.consistent), (604, true));
    let both = verified(&log.with_export().tiles(log.directory.path()));
    assert_eq!(both.root, with_export.root);
}

#[test]
fn a_part_of_an_export_is_verified_with_tiles_and_refused_without() {
    let lines = sample(600);
    let log = lines.publish(&sizes(&lines));
    let part = lines.0[300..310].iter().map(SealedLine::to_json);
    log.write_export(part);
    let summary = verified(&log.with_export().tiles(log.directory.path()));
    assert_eq!((summary.first_leaf, summary.records), (300, 10));
    let finding = finding(&log.with_export());
    assert_eq!((finding.reason, finding.leaf), (Reason::Missing, Some(0)));
}

#[test]
fn tiles_without_entries_are_sufficient() {
    let lines = sample(600);
    let log = lines.publish(&sizes(&lines));
    fs::remove_dir_all(log.path("tile/entries")).unwrap();
    assert!(verified(&log.with_export().tiles(log.directory.path())).consistent);
}

#[test]
fn an_export_in_several_files_is_verified() {
    let lines = sample(20);
    let log = lines.publish(&sizes(&lines));
    for (number, part) in lines.0.chunks(7).enumerate() {
        let text: String = part.iter().map(|line| line.to_json() + "\n").collect();
        log.write(&format!("parts/part-{number}.ndjson"), &text);
    }
    let summary = verified(&log.verification().export(log.path("parts")));
    assert_eq!(summary.records, 24);
}

#[test]
fn a_changed_value_is_found_at_its_record() {
    let lines = sample(20);
    let log = lines.publish(&sizes(&lines));
    let text = fs::read_to_string(log.path("export.ndjson")).unwrap();
    log.write("export.ndjson", &text.replace("member7@", "member8@"));
    let finding = finding(&log.with_export());
    assert_eq!(
        (finding.reason, finding.leaf, finding.id),
        (Reason::ContentDiffers, Some(7), Some(7))
    );
    assert_eq!(finding.kind, Some("change"));
    assert_eq!(finding.at, Some(format_micros(micros(7))));
}

#[test]
fn a_record_sealed_again_is_found_by_the_root_and_with_tiles_at_its_leaf() {
    let lines = sample(20);
    let log = lines.publish(&sizes(&lines));
    let mut forged = Lines::begin();
    forged.0 = lines.0.clone();
    let mut other = Lines::begin();
    other.0.truncate(0);
    other.0.extend_from_slice(&lines.0[..15]);
    other.change_with(15, &[("data_after/email", "\"forged\"")]);
    forged.0[15] = other.0[15].clone();
    log.write_export(forged.0.iter().map(SealedLine::to_json));
    let by_root = finding(&log.with_export());
    assert_eq!(
        (by_root.reason, by_root.leaf),
        (Reason::RootDiffers, Some(12))
    );
    let by_tile = finding(&log.with_export().tiles(log.directory.path()));
    assert_eq!(
        (by_tile.reason, by_tile.leaf),
        (Reason::ContentDiffers, Some(15))
    );
}

#[test]
fn deleted_inserted_swapped_and_renumbered_records_are_found() {
    let lines = sample(20);
    let log = lines.publish(&sizes(&lines));
    let all: Vec<String> = lines.0.iter().map(SealedLine::to_json).collect();
    let check = |changed: Vec<String>, reason: Reason, leaf: u64| {
        log.write_export(changed.into_iter());
        let finding = finding(&log.with_export());
        assert_eq!(
            (finding.reason, finding.leaf),
            (reason, Some(leaf)),
            "{finding}"
        );
    };

    let mut deleted = all.clone();
    deleted.remove(9);
    check(deleted, Reason::Missing, 9);
    check(all[..20].to_vec(), Reason::Missing, 20);
    let mut swapped = all.clone();
    swapped.swap(9, 10);
    check(swapped, Reason::Missing, 9);
    let mut inserted = all.clone();
    inserted.insert(9, all[9].clone());
    check(inserted, Reason::OrderBroken, 10);

    // The same with leaf numbers made to fit.
    let renumbered = |order: &[usize]| -> Vec<String> {
        let line = |(leaf, place): (usize, &usize)| {
            let mut line = lines.0[*place].clone();
            line.leaf = leaf as u64;
            line.to_json()
        };
        order.iter().enumerate().map(line).collect()
    };
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.remove(9);
    check(renumbered(&order), Reason::Missing, 23);
    order.insert(9, 8);
    check(renumbered(&order), Reason::OrderBroken, 9);
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.swap(9, 10);
    check(renumbered(&order), Reason::OrderBroken, 10);

    let mut appended = all.clone();
    let mut longer = lines.clone();
    longer.change(50);
    appended.push(longer.0[24].to_json());
    check(appended, Reason::Unsealed, 24);
}

#[test]
fn a_change_moved_to_another_transaction_is_found() {
    let lines = sample(20);
    let log = lines.publish(&sizes(&lines));
    let moved = lines.0.iter().enumerate().map(|(leaf, line)| {
        let other = "000303c4-c5f8-7600-0000-0000000003ea";
        let line = line.to_json();
        if leaf == 9 {
            line.replace("000303c4-c5f8-7600-0000-0000000003e9", other)
        } else {
            line
        }
    });
    log.write_export(moved);
    let finding = finding(&log.with_export());
    assert_eq!(
        (finding.reason, finding.leaf),
        (Reason::ContentDiffers, Some(9))
    );
}

#[test]
fn an_erasure_is_explained_by_a_later_removal_that_names_the_field() {
    let mut lines = sample(20);
    let path = "data_after/email";
    lines.removal(
        30,
        "erasure",
        r#"{"leaves": {"9": ["data_after/email"]}, "row_key": "7"}"#,
    );
    lines.erase(9, path, Some("\"[ERASED]\""));
    let size = lines.0.len() as u64;
    let log = lines.publish(&[size]);
    assert_eq!(verified(&log.with_export()).erased, 1);

    let check = |lines: &Lines| {
        log.write_export(lines.0.iter().map(SealedLine::to_json));
        let finding = finding(&log.with_export());
        (finding.reason, finding.leaf)
    };
    let mut other_leaf = lines.clone();
    other_leaf.erase(8, path, Some("\"[ERASED]\""));
    assert_eq!(check(&other_leaf), (Reason::ErasureUnexplained, Some(8)));
    let mut other_path = lines.clone();
    other_path.erase(9, "data_after/n", None);
    assert_eq!(check(&other_path), (Reason::ErasureUnexplained, Some(9)));
    let text: Vec<String> = lines.0.iter().map(SealedLine::to_json).collect();
    let shown = text
        .iter()
        .map(|line| line.replace("[ERASED]", "another value"));
    log.write_export(shown);
    assert_eq!(
        finding(&log.with_export()).reason,
        Reason::ErasureUnexplained
    );
    let changed = text.iter().enumerate().map(|(leaf, line)| {
        if leaf == 9 {
            line.replace("1.10", "1.20")
        } else {
            line.clone()
        }
    });
    log.write_export(changed);
    let other_field = finding(&log.with_export());
    assert_eq!(
        (other_field.reason, other_field.leaf),
        (Reason::ContentDiffers, Some(9))
    );
}

#[test]
fn a_pseudonym_in_the_place_of_an_actor_is_named_by_the_removal() {
    let mut lines = Lines::begin();
    let leaf = lines.change_with(2, &[("actor", "user:42")]);
    let scope = r#"{"leaves": {"1": ["actor"]}, "pseudonym": "erased-7f3a"}"#;
    lines.removal(3, "erasure", scope);
    for (actor, is_explained) in [
        ("user:erased-7f3a", true),
        ("user:7", false),
        ("erased-7f3a", false),
    ] {
        let mut lines = lines.clone();
        lines.erase(leaf, "actor", Some(actor));
        let verification = lines.publish(&[3]).with_export().run().unwrap();
        assert_eq!(
            matches!(verification, Answer::Verified(_)),
            is_explained,
            "{actor}"
        );
    }
}

#[test]
fn a_removed_record_is_explained_by_a_later_cutoff_after_its_time() {
    let mut lines = sample(20);
    let cutoff = format_micros(micros(10));
    let scope = format!(
        r#"{{"cutoffs": {{"public.members": "{cutoff}"}}, "before": "{cutoff}", "transactions": 1, "actions": 1}}"#
    );
    lines.removal(30, "retention", &scope);
    let size = lines.0.len() as u64;
    let log = lines.publish(&[size]);
    for leaf in [1, 2, 3, 9] {
        lines.remove(leaf);
    }
    log.write_export(lines.0.iter().map(SealedLine::to_json));
    assert_eq!(verified(&log.with_export()).removed, 4);

    lines.remove(10);
    log.write_export(lines.0.iter().map(SealedLine::to_json));
    let too_new = finding(&log.with_export());
    assert_eq!(
        (too_new.reason, too_new.leaf),
        (Reason::RemovalUnexplained, Some(10))
    );
}

#[test]
fn a_removal_before_the_record_explains_nothing() {
    let mut lines = Lines::begin();
    let cutoff = format_micros(micros(100));
    lines.removal(
        2,
        "retention",
        &format!(r#"{{"cutoffs": {{"public.members": "{cutoff}"}}}}"#),
    );
    lines.change(3);
    lines.remove(2);
    let finding = finding(&lines.publish(&[3]).with_export());
    assert_eq!(
        (finding.reason, finding.leaf),
        (Reason::RemovalUnexplained, Some(2))
    );
}

#[test]
fn removals_themselves_cannot_be_removed() {
    let mut lines = sample(5);
    let cutoff = format_micros(micros(100));
    let scope = format!(
        r#"{{"cutoffs": {{"public.members": "{cutoff}"}}, "before": "{cutoff}", "actions": 1}}"#
    );
    lines.removal(30, "retention", &scope);
    lines.removal(31, "retention", &scope);
    lines.remove(9);
    let finding = finding(&lines.publish(&[11]).with_export());
    assert_eq!(
        (finding.reason, finding.leaf),
        (Reason::RemovalUnexplained, Some(9))
    );
}

#[test]
fn a_fork_signed_with_the_key_is_found_by_two_sets_of_checkpoints() {
    let mut lines = sample(20);
    lines.0.truncate(22);
    let mut fork = lines.clone();
    fork.0.truncate(20);
    fork.change_with(21, &[("data_after/email", "\"forged\"")]);
    fork.change(22);
    let (honest, forked) = (lines.publish(&[10, 22]), fork.publish(&[10, 21, 22]));
    let both = honest.verification().published(forked.directory.path());
    assert_eq!(finding(&both).reason, Reason::InconsistentCheckpoints);

    // Other sizes: the tree shows it.
    let other_sizes = fork.publish(&[10, 21]);
    let both = honest.with_export().published(other_sizes.directory.path());
    assert_eq!(finding(&both).reason, Reason::InconsistentCheckpoints);
    let both = honest
        .verification()
        .published(other_sizes.directory.path())
        .tiles(honest.directory.path());
    assert_eq!(finding(&both).reason, Reason::InconsistentCheckpoints);
}

#[test]
fn a_log_that_was_set_back_is_found_by_the_state() {
    let lines = sample(20);
    let log = lines.publish(&sizes(&lines));
    let state = log.path("state");
    verified(&log.with_export().state(&state));
    assert_eq!(
        fs::read(&state).unwrap(),
        fs::read(log.path("checkpoint")).unwrap()
    );
    verified(&log.with_export().state(&state));

    let earlier = lines.publish(&[12]);
    let finding_of_earlier = finding(&earlier.with_export().state(&state));
    assert_eq!(finding_of_earlier.reason, Reason::RolledBack);

    let mut other = sample(19);
    other.change(40);
    other.change(41);
    let rewritten = other.publish(&[25]);
    let finding = finding(&rewritten.with_export().state(&state));
    assert_eq!(finding.reason, Reason::InconsistentCheckpoints);
}

#[test]
fn the_state_is_kept_where_the_tree_is_not_proven_to_be_an_extension() {
    let lines = sample(20);
    let log = lines.publish(&[12]);
    let state = log.path("state");
    verified(&log.verification().state(&state));
    let before = fs::read(&state).unwrap();
    log.write_checkpoint(&lines.checkpoint(24));
    verified(&log.verification().state(&state));
    assert_eq!(fs::read(&state).unwrap(), before);
    verified(&log.with_export().state(&state));
    assert_ne!(fs::read(&state).unwrap(), before);
}

#[test]
fn an_older_export_is_verified_as_of_its_size() {
    let lines = sample(20);
    let log = lines.publish(&sizes(&lines));
    log.write_export(lines.0[..12].iter().map(SealedLine::to_json));
    assert_eq!(finding(&log.with_export()).reason, Reason::Missing);
    assert_eq!(verified(&log.with_export().size(15)).size, 12);
    assert!(matches!(
        log.with_export().size(3).run(),
        Err(VerifyError::NoCheckpoint { .. })
    ));
}

#[test]
fn checkpoints_with_a_bad_signature_or_a_wrong_name_are_found() {
    let lines = sample(20);
    let log = lines.publish(&sizes(&lines));
    let note = fs::read_to_string(log.path("checkpoint")).unwrap();
    log.write("checkpoint", &note.replace("\n24\n", "\n25\n"));
    assert_eq!(finding(&log.verification()).reason, Reason::SignatureBad);
    log.write("checkpoint", &note);
    log.write("checkpoints/00000000000000000025", &note);
    assert_eq!(
        finding(&log.verification()).reason,
        Reason::InconsistentCheckpoints
    );
    let other = lines.checkpoint(24).sign(&key()).to_string();
    assert_eq!(other, note);
}

#[test]
fn tiles_of_another_tree_do_not_have_the_root() {
    let lines = sample(20);
    let log = lines.publish(&sizes(&lines));
    let mut tile = fs::read(log.path("tile/entries/000.p/24")).unwrap();
    tile[62 * 15 + 40] ^= 1;
    fs::write(log.path("tile/entries/000.p/24"), tile).unwrap();
    let finding = finding(&log.verification().tiles(log.directory.path()));
    assert_eq!(
        (finding.reason, finding.leaf),
        (Reason::RootDiffers, Some(12))
    );
}

#[test]
fn unreadable_files_are_errors_and_not_findings() {
    let lines = sample(20);
    let log = lines.publish(&sizes(&lines));
    let missing = log.verification().export(log.path("no-such-file"));
    assert!(matches!(missing.run(), Err(VerifyError::File { .. })));
    let empty = log.verification().export(log.path("tile"));
    assert!(matches!(empty.run(), Err(VerifyError::NoExport { .. })));
    fs::remove_dir_all(log.path("tile")).unwrap();
    let no_tiles = log.verification().tiles(log.directory.path());
    assert!(matches!(no_tiles.run(), Err(VerifyError::File { .. })));
    log.write("state", "not a note");
    let state = log.verification().state(log.path("state"));
    assert!(matches!(state.run(), Err(VerifyError::State { .. })));
}
