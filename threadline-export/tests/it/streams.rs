//! Exports while other things happen.

use std::io::ErrorKind;

use threadline_diesel::timeline::Timeline;
use threadline_export::{Export, ExportError, count};
use tokio::io::AsyncReadExt;

use crate::harness::{Interfering, Trail, block_on};

#[test]
fn what_is_committed_while_an_export_runs_is_not_in_it() {
    let trail = Trail::with_changes(9_000);
    let mut writer = Interfering {
        first: Some(|| {
            trail.run(
                "INSERT INTO notes SELECT n, '' FROM generate_series(10001, 10100) AS n;
                 UPDATE notes SET body = 'late'",
            );
        }),
        room: usize::MAX,
        failure: ErrorKind::Other,
        written: Vec::new(),
    };
    let manifest = block_on(async {
        let export = Export::new(Timeline::new());
        export
            .write_to(&mut trail.connect().await, &mut writer, |_| {})
            .await
            .unwrap()
    });
    assert!(writer.first.is_none(), "the writer interfered");
    assert_eq!(manifest.summary.row_count, 9_000);
    let text = String::from_utf8(writer.written).unwrap();
    assert!(!text.contains("late"));
    assert_eq!(
        trail.ask("SELECT count(*) FROM threadline.audit_changes"),
        "18200"
    );
    // The snapshot that is named is the one that was exported.
    let visible = trail.ask(&format!(
        "SELECT count(*) FROM threadline.audit_changes AS c
         JOIN threadline.audit_transactions AS t ON t.id = c.transaction_id
         WHERE pg_visible_in_snapshot(t.xid::text::xid8, '{}')",
        manifest.summary.snapshot
    ));
    assert_eq!(visible, "9000");
}

#[test]
fn an_asynchronous_writer_gets_what_a_blocking_one_gets() {
    let trail = Trail::with_changes(5_000);
    let export = Export::new(Timeline::new());
    let (text, told) = trail.export(&export);
    block_on(async {
        let mut conn = trail.connect().await;
        // Far smaller than the export: the two ends take turns.
        let (mut here, mut there) = tokio::io::duplex(1_000);
        let reading = async {
            let mut read = Vec::new();
            there.read_to_end(&mut read).await.unwrap();
            read
        };
        let writing = async {
            let manifest = export.write_to_async(&mut conn, &mut here, |_| {}).await;
            drop(here);
            manifest.unwrap()
        };
        let (manifest, read) = tokio::join!(writing, reading);
        assert_eq!(read, text.as_bytes());
        assert_eq!(manifest.sha256, told.sha256);
        assert_eq!(manifest.bytes, told.bytes);
    });
}

#[test]
fn an_asynchronous_reader_that_leaves_is_a_closed_pipe() {
    let trail = Trail::with_changes(5_000);
    block_on(async {
        let mut conn = trail.connect().await;
        let (mut here, there) = tokio::io::duplex(1_000);
        drop(there);
        let export = Export::new(Timeline::new());
        let error = export.write_to_async(&mut conn, &mut here, |_| {}).await;
        assert!(error.unwrap_err().is_closed_pipe());
        assert_eq!(count(&mut conn, &Timeline::new()).await.unwrap(), 5_000);
    });
}

#[test]
fn an_export_waits_for_a_slow_reader_without_holding_up_its_thread() {
    let trail = Trail::with_changes(5_000);
    block_on(async {
        let mut conn = trail.connect().await;
        let (mut here, there) = tokio::io::duplex(1_000);
        let export = Export::new(Timeline::new());
        let running = export.write_to_async(&mut conn, &mut here, |_| {});
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(300), running).await;
        assert!(
            waiting.is_err(),
            "nobody reads, so it waits, and the timer still runs"
        );
        drop(there);
    });
}

#[test]
fn the_first_changes_leave_before_the_last_are_read() {
    let trail = Trail::of_60_000_changes();
    block_on(async {
        let mut conn = trail.connect().await;
        let (mut here, mut there) = tokio::io::duplex(1_000);
        let export = Export::new(Timeline::new());
        let mut rows = 0;
        let mut first = vec![0; 100];
        {
            let running = export.write_to_async(&mut conn, &mut here, |done| rows = done.rows);
            tokio::select! {
                read = there.read_exact(&mut first) => { read.unwrap(); }
                done = running => panic!("nobody read the rest: {done:?}"),
            }
        }
        assert!(first.starts_with(b"{\"id\":1,"));
        assert!(rows < 2_001, "{rows} changes were read for the first");
    });
}

#[test]
fn a_closed_pipe_is_told_from_a_full_disk_and_the_connection_lives_on() {
    let trail = Trail::with_changes(5_000);
    for (failure, closed) in [
        (ErrorKind::BrokenPipe, true),
        (ErrorKind::StorageFull, false),
    ] {
        let mut writer = Interfering {
            first: None::<fn()>,
            room: 100_000,
            failure,
            written: Vec::new(),
        };
        block_on(async {
            let mut conn = trail.connect().await;
            let export = Export::new(Timeline::new());
            let error = export
                .write_to(&mut conn, &mut writer, |_| {})
                .await
                .unwrap_err();
            assert!(matches!(&error, ExportError::Write(cause) if cause.kind() == failure));
            assert_eq!(error.is_closed_pipe(), closed);
            assert_eq!(count(&mut conn, &Timeline::new()).await.unwrap(), 5_000);
        });
    }
}

#[test]
fn progress_counts_up_to_the_end() {
    let trail = Trail::with_changes(5_000);
    let mut told = Vec::new();
    block_on(async {
        let export = Export::new(Timeline::new());
        let mut conn = trail.connect().await;
        export
            .write_to(&mut conn, &mut Vec::new(), |done| told.push(done.rows))
            .await
            .unwrap();
    });
    assert_eq!(told, [0, 2_000, 4_000, 5_000]);
}

#[test]
fn a_connection_can_export_again_and_again_with_other_questions() {
    let trail = Trail::with_changes(10);
    block_on(async {
        let mut conn = trail.connect().await;
        for question in [
            Timeline::new(),
            Timeline::new().action("none"),
            Timeline::new(),
        ] {
            let rows = count(&mut conn, &question).await.unwrap();
            let export = Export::new(question);
            let manifest = export
                .write_to(&mut conn, &mut Vec::new(), |_| {})
                .await
                .unwrap();
            assert_eq!(manifest.summary.row_count, rows);
        }
    });
}

#[test]
fn exports_can_be_sent_between_threads() {
    fn sendable<T: Send>(_: &T) {}
    let trail = Trail::with_changes(1);
    block_on(async {
        let mut conn = trail.connect().await;
        let export = Export::new(Timeline::new());
        let mut out = Vec::new();
        let running = export.write_to(&mut conn, &mut out, |_| {});
        sendable(&running);
        running.await.unwrap();
    });
}
