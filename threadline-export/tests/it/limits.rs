//! The maximum number of changes, and counts.

use std::num::NonZeroU64;

use threadline_diesel::{Op, Timeline};
use threadline_export::{CsvOptions, Export, Format, count};

use crate::harness::{Trail, block_on};

fn at_most(rows: u64) -> Export {
    Export::new(Timeline::new()).max_rows(NonZeroU64::new(rows).unwrap())
}

#[test]
fn an_export_is_cut_only_if_more_changes_match_than_its_limit() {
    let trail = Trail::with_changes(5);
    for (limit, rows, cut) in [
        (4, 4, true),
        (5, 5, false),
        (6, 5, false),
        (u64::MAX, 5, false),
    ] {
        let (text, manifest) = trail.export(&at_most(limit));
        assert_eq!(
            (manifest.summary.row_count, manifest.summary.cut),
            (rows, cut)
        );
        assert_eq!(text.lines().count() as u64, rows);
    }
}

#[test]
fn a_limit_at_the_size_of_a_fetch_is_exact() {
    let trail = Trail::with_changes(4_001);
    for (limit, cut) in [(1_999, true), (2_000, true), (4_000, true), (4_001, false)] {
        let (text, manifest) = trail.export(&at_most(limit));
        assert_eq!(
            (manifest.summary.row_count, manifest.summary.cut),
            (limit, cut)
        );
        assert_eq!(text.lines().count() as u64, limit);
    }
}

#[test]
fn an_export_without_a_limit_is_complete() {
    let trail = Trail::with_changes(12_000);
    let (text, manifest) = trail.export(&Export::new(Timeline::new()));
    assert_eq!(
        (manifest.summary.row_count, manifest.summary.cut),
        (12_000, false)
    );
    assert_eq!(text.lines().count(), 12_000);
}

#[test]
fn an_empty_export_is_valid_in_every_format() {
    let trail = Trail::with_changes(1);
    let empty = Export::new(Timeline::new().op(Op::Delete));
    assert_eq!(trail.export(&empty).0, "");
    let csv = trail
        .export(&empty.clone().format(Format::Csv(CsvOptions::new())))
        .0;
    assert_eq!(csv.lines().count(), 1);
    let json = trail.export(&empty.format(Format::Json)).0;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["changes"], serde_json::json!([]));
    assert_eq!(json["manifest"]["row_count"], 0);
    assert_eq!(
        json["manifest"]["filters"],
        serde_json::json!({"op": "delete"})
    );
}

#[test]
fn counts_are_equal_to_the_size_of_exports() {
    let trail = Trail::with_changes(7);
    trail.run("UPDATE notes SET body = '' WHERE id < 3");
    for timeline in [
        Timeline::new(),
        Timeline::new().op(Op::Update),
        Timeline::new().row(
            "notes".parse().unwrap(),
            &threadline_core::row_key::RowKeyText::from_values(vec!["1".into()]),
        ),
        Timeline::new().actor("user:1".parse().unwrap()),
        Timeline::new().action("unused.action"),
    ] {
        let counted = block_on(async { count(&mut trail.connect().await, &timeline).await });
        let exported = trail.export(&Export::new(timeline)).1.summary.row_count;
        assert_eq!(counted.unwrap(), exported);
    }
}
