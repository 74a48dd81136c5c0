//! Runs of the archive: what they write and refuse.

use std::time::Duration;

use threadline_export::archive::{self, ArchiveError, ArchiveKind, DayWork, RunOptions, columns};

use super::{Site, day};
use crate::harness::block_on;

#[test]
fn three_days_are_archived_with_all_records_and_verified() {
    let site = Site::new();
    let run = site.archive();
    let days: Vec<_> = run.days.iter().map(|it| it.day).collect();
    assert_eq!(days, [day(3), day(2), day(1)]);
    assert!(run.days.iter().all(|it| it.work == DayWork::New));
    assert_eq!(run.archived_to.date_naive(), day(0));
    let manifests = site.manifests();
    let rows = |kind| manifests.iter().map(|it| it.rows_of(kind)).sum::<u64>();
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM threadline.{table} WHERE order_id < 1000000");
        let sql = match table {
            "audit_changes" | "audit_transactions" => {
                format!("SELECT count(*) FROM threadline.{table}")
            }
            _ => sql,
        };
        site.trail.query(&sql).parse::<u64>().unwrap()
    };
    assert_eq!(rows(ArchiveKind::Changes), count("audit_changes"));
    assert_eq!(rows(ArchiveKind::Transactions), count("audit_transactions"));
    assert_eq!(rows(ArchiveKind::Actions), count("audit_actions"));
    // The evidence of the run itself is of today.
    let records = count("audit_suspensions") + count("audit_enrolments") + count("audit_evidence");
    assert_eq!(rows(ArchiveKind::Records), records - 1);
    let verified = site.verify();
    assert!(verified.verified, "{verified:?}");
    assert_eq!(
        verified.records,
        ArchiveKind::ALL.map(rows).iter().sum::<u64>()
    );
    let first = &manifests[0].files[0];
    assert_eq!(
        first.object,
        format!(
            "archive/changes/v1/day={}/part-{}-{}.parquet",
            day(3),
            first.first_id,
            first.last_id
        )
    );
}

#[test]
fn a_second_run_writes_nothing_and_records_evidence() {
    let site = Site::new();
    site.archive();
    let files = site.files();
    site.seal();
    let again = site.archive();
    assert_eq!(again.days, []);
    assert_eq!(site.files(), files);
    let evidence =
        "SELECT string_agg(outcome || (subject_ref ->> 'storage'), ' ' ORDER BY order_id)
        FROM threadline.audit_evidence WHERE subject = 'archive_verification'";
    assert_eq!(site.trail.query(evidence), "passlocal passlocal");
    let archived_to = block_on(async {
        let mut conn = site.trail.connect().await;
        assert_eq!(
            archive::archived_to(&mut conn, "other").await.unwrap(),
            None
        );
        archive::archived_to(&mut conn, "local").await.unwrap()
    });
    assert_eq!(archived_to, Some(again.archived_to));
}

#[test]
fn days_from_a_given_one_on_are_left_for_a_later_run() {
    let site = Site::new();
    let options = RunOptions::new("local").wait(Duration::ZERO);
    let first = site.try_archive(&options.clone().before(day(2))).unwrap();
    assert_eq!(first.days.len(), 1);
    assert_eq!(first.archived_to.date_naive(), day(2));
    site.seal();
    assert_eq!(site.archive().days.len(), 2);
    let tomorrow = day(0).succ_opt().unwrap();
    assert!(matches!(
        site.try_archive(&options.before(tomorrow)),
        Err(ArchiveError::NotEnded { .. })
    ));
}

#[test]
fn a_trail_without_seals_is_refused() {
    let site = Site::unsealed();
    let options = RunOptions::new("local").wait(Duration::ZERO);
    let refused = site.try_archive(&options).unwrap_err();
    assert!(matches!(refused, ArchiveError::NotBegun), "{refused}");
    assert!(refused.to_string().contains("threadline seal begin"));
    assert!(site.files().is_empty());
}

#[test]
fn records_that_are_not_sealed_yet_are_waited_for_and_then_refused() {
    let site = Site::new();
    site.trail
        .run("INSERT INTO members VALUES (9, 'late', 1, NULL)");
    let options = RunOptions::new("local").wait(Duration::ZERO);
    let refused = site.try_archive(&options).unwrap_err();
    let ArchiveError::NotSealed { sealed_to, last_id } = refused else {
        panic!("{refused}");
    };
    assert!(sealed_to < last_id);
    let waited = std::thread::scope(|scope| {
        let run = scope.spawn(|| site.try_archive(&RunOptions::new("local")));
        site.seal();
        run.join().unwrap()
    });
    assert_eq!(waited.unwrap().days.len(), 3);
}

#[test]
fn the_columns_are_those_of_the_tables() {
    let site = Site::unsealed();
    for (kind, table) in [
        (ArchiveKind::Changes, "audit_changes"),
        (ArchiveKind::Transactions, "audit_transactions"),
        (ArchiveKind::Actions, "audit_actions"),
    ] {
        let sql = format!(
            "SELECT string_agg(attname || ' ' || attnotnull, ', ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = 'threadline.{table}'::regclass AND attnum > 0 AND NOT attisdropped"
        );
        let declared: Vec<_> = columns(kind)
            .iter()
            .map(|column| format!("{} {}", column.name, !column.is_nullable))
            .collect();
        assert_eq!(declared.join(", "), site.trail.query(&sql), "{table}");
    }
}

#[test]
fn the_changes_of_a_row_are_fetched_with_their_transactions() {
    let site = Site::new();
    site.archive();
    let fetch = |key: &str, from| {
        let mut out = Vec::new();
        let row = archive::ArchivedRow::new("members".parse().unwrap(), key).from(from);
        block_on(archive::fetch(&site.storage(), &row, &mut out)).expect("an answer");
        let text = String::from_utf8(out).expect("UTF-8");
        let parse = |line| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        text.lines().map(parse).collect::<Vec<_>>()
    };
    let changes = fetch("1", day(9));
    let ops: Vec<_> = changes
        .iter()
        .map(|it| it["op"].as_str().unwrap())
        .collect();
    assert_eq!(ops, ["insert", "update"]);
    assert_eq!(changes[1]["data_after"]["email"], "eve@example.com");
    assert_eq!(
        changes[0]["transaction"]["id"],
        changes[0]["transaction_id"]
    );
    assert_eq!(fetch("1", day(2)).len(), 0);
    // Also the change that gave the row another key.
    assert_eq!(fetch("3", day(9)).len(), 2);
    assert_eq!(fetch("4", day(9)).len(), 1);
    assert_eq!(fetch("99", day(9)).len(), 0);
    let meta = &fetch("4", day(9))[0]["transaction"]["context"]["meta"];
    assert_eq!(meta["ip"], "192.0.2.7");
}
