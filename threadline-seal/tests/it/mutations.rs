//! Manipulated bytes of an export, and erasures of any field.

use std::collections::BTreeSet;

use proptest::prelude::*;
use threadline_seal::field::{Fields, Secret};
use threadline_seal::instant::format_micros;
use threadline_seal::record::RecordKind;
use threadline_seal::sealed_line::{Body, ContentError, SealedLine};
use threadline_seal::verify::Reason;

use crate::log::{Lines, finding, micros, secret, verified};

/// A log with each form of line: complete, erased and removed.
pub(crate) fn small() -> Lines {
    let mut lines = Lines::begin();
    lines.change(2);
    lines.change(3);
    lines.change_with(4, &[("data_after/ä\u{1}\"", "\"🧵\"")]);
    lines.removal(5, "erasure", r#"{"leaves": {"1": ["data_after/email"]}}"#);
    let cutoff = format_micros(micros(4));
    lines.removal(
        6,
        "retention",
        &format!(r#"{{"cutoffs": {{"public.members": "{cutoff}"}}}}"#),
    );
    lines.erase(1, "data_after/email", Some("\"[ERASED]\""));
    lines.remove(2);
    lines
}

#[test]
fn every_changed_byte_of_an_export_is_found_at_its_record() {
    let lines = small();
    let log = lines.publish(&[lines.0.len() as u64]);
    std::fs::remove_file(log.path("checkpoint")).unwrap();
    verified(&log.with_export());
    let export = std::fs::read(log.path("export.ndjson")).unwrap();
    let mut leaf = 0;
    for place in 0..export.len() {
        let is_end = export[place] == b'\n';
        let mut changed = export.clone();
        changed[place] ^= [0x01, 0x20, 0x80][place % 3];
        let line = changed.split(|byte| *byte == b'\n').nth(leaf).unwrap();
        // A different escape of the same character is the same value.
        let is_same = !is_end && SealedLine::parse(line).is_ok_and(|line| line == lines.0[leaf]);
        if !is_same {
            std::fs::write(log.path("export.ndjson"), &changed).unwrap();
            let mut found = finding(&log.with_export());
            // Only the tree has the digest of a removed record.
            if found.reason == Reason::RootDiffers && lines.0[leaf].body == Body::Removed {
                found = finding(&log.with_export().tiles(log.directory.path()));
            }
            assert_eq!(found.leaf, Some(leaf as u64), "byte {place}: {found}");
        }
        leaf += usize::from(is_end);
    }
    assert_eq!(leaf, lines.0.len());
}

/// Any fields, with those that every change has.
fn change_fields() -> impl Strategy<Value = Fields> {
    let path = prop_oneof![
        Just("data_after/".to_owned()),
        "data_after/\\PC{0,8}",
        "changed_from/[a-zA-Z/\"]{0,8}",
        "[a-z_]{1,8}",
    ];
    prop::collection::btree_map(path, "[\\s\\S]{0,20}", 0..8).prop_map(|mut fields: Fields| {
        let at = format_micros(micros(7));
        for (path, value) in [
            ("id", "7"),
            ("captured_at", &at),
            ("table_schema", "public"),
            ("table_name", "members"),
        ] {
            fields.insert(path.to_owned(), value.to_owned());
        }
        fields
    })
}

const HEADER: [&str; 4] = ["id", "captured_at", "table_schema", "table_name"];

proptest! {
    #[test]
    fn a_line_is_read_as_it_was_written(fields in change_fields(), bytes in any::<[u8; 16]>()) {
        let line = SealedLine::seal(3, RecordKind::Change, 7, fields, Secret::from_bytes(bytes)).unwrap();
        let read = SealedLine::parse(line.to_json().as_bytes()).unwrap();
        prop_assert_eq!(&read, &line);
        prop_assert!(read.check_content().is_ok());
    }

    #[test]
    fn the_leaf_does_not_change_when_fields_are_erased(
        fields in change_fields(),
        selected in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        keeps_placeholder in any::<bool>(),
    ) {
        let mut lines = Lines::default();
        lines.push(RecordKind::Change, 7, fields.clone());
        let before = lines.0[0].entry;
        let paths: Vec<&String> = fields.keys().filter(|path| !HEADER.contains(&path.as_str())).collect();
        let mut erased = BTreeSet::new();
        for index in selected {
            if let Some(path) = (!paths.is_empty()).then(|| index.get(&paths))
                && erased.insert((*path).clone())
            {
                lines.erase(0, path, keeps_placeholder.then_some("\"[ERASED]\""));
            }
        }
        let line = SealedLine::parse(lines.0[0].to_json().as_bytes()).unwrap();
        prop_assert_eq!(line.entry, before);
        prop_assert!(line.check_content().is_ok());

        // An erasure does not cover a change of another field.
        let mut changed = line;
        let (Body::Erased { fields, .. } | Body::Complete { fields, .. }) = &mut changed.body else {
            panic!("the record was removed");
        };
        fields.insert("table_name".to_owned(), "others".to_owned());
        prop_assert_eq!(changed.check_content(), Err(ContentError::Differs));
    }

    #[test]
    fn parsing_lines_never_panics(text in "\\PC{0,200}") {
        let _ = SealedLine::parse(text.as_bytes());
    }
}

#[test]
fn a_field_without_salt_and_commitment_is_refused() {
    let mut lines = small();
    let Body::Erased { fields, .. } = &mut lines.0[1].body else {
        panic!("leaf 1 is not erased");
    };
    fields.insert("data_after/added".to_owned(), "1".to_owned());
    let added = Err(ContentError::UncoveredField("data_after/added".to_owned()));
    assert_eq!(lines.0[1].check_content(), added);
    let Body::Erased { fields, salts, .. } = &mut lines.0[1].body else {
        panic!("leaf 1 is not erased");
    };
    fields.remove("data_after/added");
    salts.insert(
        "data_after/email".to_owned(),
        secret(1).salt("data_after/email"),
    );
    let twice = Err(ContentError::UncoveredField("data_after/email".to_owned()));
    assert_eq!(lines.0[1].check_content(), twice);
}

#[test]
fn a_repeated_member_is_refused() {
    let line = small().0[3].to_json();
    let repeated = line.replace("\"op\":\"update\"", "\"op\":\"delete\",\"op\":\"update\"");
    assert_ne!(line, repeated);
    let error = SealedLine::parse(repeated.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("repeated member"), "{error}");
}
