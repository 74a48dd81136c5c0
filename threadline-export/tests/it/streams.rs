//! Exports to blocking and asynchronous writers.

use std::io::ErrorKind;

use threadline_diesel::Timeline;
use threadline_export::{Export, ExportError, count};
use tokio::io::AsyncReadExt;

use crate::harness::{HookedWriter, Trail, block_on};

#[test]
fn changes_committed_during_an_export_are_not_in_it() {
    let trail = Trail::with_changes(9_000);
    let mut writer = HookedWriter {
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
    assert!(writer.first.is_none(), "the hook has run");
    assert_eq!(manifest.summary.row_count, 9_000);
    let text = String::from_utf8(writer.written).unwrap();
    assert!(!text.contains("late"));
    assert_eq!(
        trail.query("SELECT count(*) FROM threadline.audit_changes"),
        "18200"
    );
    // The manifest names the snapshot of the export.
    let visible = trail.query(&format!(
        "SELECT count(*) FROM threadline.audit_changes AS c
         JOIN threadline.audit_transactions AS t ON t.id = c.transaction_id
         WHERE pg_visible_in_snapshot(t.xid::text::xid8, '{}')",
        manifest.summary.snapshot
    ));
    assert_eq!(visible, "9000");
}

#[test]
fn asynchronous_and_blocking_writers_receive_the_same_bytes() {
    let trail = Trail::with_changes(5_000);
    let export = Export::new(Timeline::new());
    let (text, expected) = trail.export(&export);
    block_on(async {
        let mut conn = trail.connect().await;
        // The pipe is far smaller than the export.
        let (mut writer, mut reader) = tokio::io::duplex(1_000);
        let reading = async {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).await.unwrap();
            read
        };
        let writing = async {
            let manifest = export.write_to_async(&mut conn, &mut writer, |_| {}).await;
            drop(writer);
            manifest.unwrap()
        };
        let (manifest, read) = tokio::join!(writing, reading);
        assert_eq!(read, text.as_bytes());
        assert_eq!(manifest.sha256, expected.sha256);
        assert_eq!(manifest.bytes, expected.bytes);
    });
}

#[test]
fn a_closed_asynchronous_pipe_is_reported_as_closed_pipe() {
    let trail = Trail::with_changes(5_000);
    block_on(async {
        let mut conn = trail.connect().await;
        let (mut writer, reader) = tokio::io::duplex(1_000);
        drop(reader);
        let export = Export::new(Timeline::new());
        let error = export.write_to_async(&mut conn, &mut writer, |_| {}).await;
        assert!(error.unwrap_err().is_closed_pipe());
        assert_eq!(count(&mut conn, &Timeline::new()).await.unwrap(), 5_000);
    });
}

#[test]
fn an_export_to_a_slow_reader_does_not_block_the_thread() {
    let trail = Trail::with_changes(5_000);
    block_on(async {
        let mut conn = trail.connect().await;
        let (mut writer, reader) = tokio::io::duplex(1_000);
        let export = Export::new(Timeline::new());
        let running = export.write_to_async(&mut conn, &mut writer, |_| {});
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(300), running).await;
        assert!(
            waiting.is_err(),
            "the export waits for the reader while the timer runs"
        );
        drop(reader);
    });
}

#[test]
fn the_first_changes_are_written_before_the_last_are_read() {
    let trail = Trail::with_60_000_changes();
    block_on(async {
        let mut conn = trail.connect().await;
        let (mut writer, mut reader) = tokio::io::duplex(1_000);
        let export = Export::new(Timeline::new());
        let mut rows = 0;
        let mut first = vec![0; 100];
        {
            let running = export.write_to_async(&mut conn, &mut writer, |done| rows = done.rows);
            tokio::select! {
                read = reader.read_exact(&mut first) => { read.unwrap(); }
                done = running => panic!("the export completed without a reader: {done:?}"),
            }
        }
        assert!(first.starts_with(b"{\"id\":1,"));
        assert!(
            rows < 2_001,
            "{rows} changes were read before the first was written"
        );
    });
}

#[test]
fn after_a_failed_write_the_connection_is_usable() {
    let trail = Trail::with_changes(5_000);
    for (failure, closed) in [
        (ErrorKind::BrokenPipe, true),
        (ErrorKind::StorageFull, false),
    ] {
        let mut writer = HookedWriter {
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
fn progress_is_reported_after_every_fetch() {
    let trail = Trail::with_changes(5_000);
    let mut expected = Vec::new();
    block_on(async {
        let export = Export::new(Timeline::new());
        let mut conn = trail.connect().await;
        export
            .write_to(&mut conn, &mut Vec::new(), |done| expected.push(done.rows))
            .await
            .unwrap();
    });
    assert_eq!(expected, [0, 2_000, 4_000, 5_000]);
}

#[test]
fn one_connection_can_run_several_exports() {
    let trail = Trail::with_changes(10);
    block_on(async {
        let mut conn = trail.connect().await;
        for timeline in [
            Timeline::new(),
            Timeline::new().action("none"),
            Timeline::new(),
        ] {
            let rows = count(&mut conn, &timeline).await.unwrap();
            let export = Export::new(timeline);
            let manifest = export
                .write_to(&mut conn, &mut Vec::new(), |_| {})
                .await
                .unwrap();
            assert_eq!(manifest.summary.row_count, rows);
        }
    });
}

#[test]
fn export_futures_are_send() {
    fn assert_send<T: Send>(_: &T) {}
    let trail = Trail::with_changes(1);
    block_on(async {
        let mut conn = trail.connect().await;
        let export = Export::new(Timeline::new());
        let mut out = Vec::new();
        let running = export.write_to(&mut conn, &mut out, |_| {});
        assert_send(&running);
        running.await.unwrap();
    });
}
