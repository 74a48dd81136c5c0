//! Archived days that change: erasures, and records that come late.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection as _;
use threadline_export::archive::{ArchiveKind, DayWork, RunOptions};

use super::{Site, day};
use crate::harness::block_on;

const ERASE: &str =
    "SELECT threadline.erase_values('public', 'members', '1', '{email}', 'asked by the person')";

#[test]
fn erased_values_are_not_in_files_that_were_written_again() {
    let site = Site::new();
    site.archive();
    assert!(site.contains("eve@example.com") && site.contains("ada@example.com"));
    let before = site.manifests();
    site.trail.run(ERASE);
    site.seal();
    let run = site.archive();
    let days: Vec<_> = run.days.iter().map(|it| (it.day, it.work)).collect();
    assert_eq!(days, [(day(3), DayWork::Rewritten)]);
    assert_eq!(run.pending, []);
    let after = site.manifests();
    assert!(!site.contains("eve@example.com") && !site.contains("ada@example.com"));
    // All records of the day are there still, under new names; the old files are gone.
    assert_eq!(
        after[0].rows_of(ArchiveKind::Changes),
        before[0].rows_of(ArchiveKind::Changes)
    );
    let suffix = format!("-r{}.parquet", after[0].through_removal);
    assert!(after[0].files[0].object.ends_with(&suffix), "{after:?}");
    let listed: usize = after.iter().map(|it| it.files.len()).sum();
    assert_eq!(site.files().len(), listed + after.len());
    assert_eq!(after[1..], before[1..]);
    assert!(site.verify().verified);
    // Nothing is left to do.
    site.seal();
    assert_eq!(site.archive().days, []);
}

#[test]
fn a_value_that_was_erased_before_its_day_was_archived_is_verified() {
    let site = Site::new();
    site.trail.run(ERASE);
    site.seal();
    assert_eq!(site.archive().days.len(), 3);
    assert!(!site.contains("eve@example.com") && site.contains("[ERASED]"));
    assert!(site.verify().verified);
}

#[test]
fn an_erased_day_whose_records_were_removed_is_pending() {
    let site = Site::new();
    site.archive();
    site.trail.run(ERASE);
    site.trail.run(
        "SELECT threadline.remove_changes('public', 'members', date_trunc('day', now() - interval '2 days'), 100, 'policy')",
    );
    site.seal();
    let run = site.archive();
    assert_eq!((run.days.len(), run.pending), (0, vec![day(3)]));
    assert!(site.verify().verified);
}

#[test]
fn a_transaction_that_began_before_an_archived_day_ended_is_added_to_it() {
    let site = Site::new();
    block_on(async {
        let mut late = site.trail.connect().await;
        late.batch_execute("BEGIN; INSERT INTO members VALUES (20, 'late', 1, NULL); COMMIT")
            .await
            .expect("a change");
    });
    // As if it began yesterday, before the archive ran, and committed after it.
    site.trail.run(
        "SET session_replication_role = replica;
        UPDATE threadline.audit_transactions SET id = public.older(id, 1)
            WHERE id = (SELECT max(id::text)::uuid FROM threadline.audit_transactions);
        UPDATE threadline.audit_changes SET transaction_id = public.older(transaction_id, 1) WHERE row_key = '20'",
    );
    let options = RunOptions::new("local").wait(Duration::ZERO);
    // The trail is sealed up to the record before.
    assert!(site.try_archive(&options).is_err());
    site.seal();
    site.archive();
    let before = site.manifests();
    block_on(async {
        let mut late = site.trail.connect().await;
        late.batch_execute("BEGIN; INSERT INTO members VALUES (21, 'later', 1, NULL); COMMIT")
            .await
            .expect("a change");
    });
    site.trail.run(
        "SET session_replication_role = replica;
        UPDATE threadline.audit_transactions SET id = public.older(id, 2)
            WHERE id = (SELECT max(id::text)::uuid FROM threadline.audit_transactions);
        UPDATE threadline.audit_changes SET transaction_id = public.older(transaction_id, 2) WHERE row_key = '21'",
    );
    site.seal();
    let run = site.archive();
    let days: Vec<_> = run
        .days
        .iter()
        .map(|it| (it.day, it.work, it.rows))
        .collect();
    assert_eq!(days, [(day(2), DayWork::Extended, 1)]);
    let after = site.manifests();
    assert_eq!(after[1].files.len(), before[1].files.len() + 1);
    assert_eq!(after[1].through_removal, before[1].through_removal);
    assert!(site.verify().verified);
    site.seal();
    assert_eq!(site.archive().days, []);
}
