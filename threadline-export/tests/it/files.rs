//! Exports to files.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use threadline_diesel::Timeline;
use threadline_export::{Export, ExportError, Manifest, manifest_path};

use crate::harness::{Trail, block_on};

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn export_to(trail: &Trail, path: &Path) -> Result<Manifest, ExportError> {
    block_on(async {
        let export = Export::new(Timeline::new().table("notes".parse().unwrap()));
        export
            .write_file(&mut trail.connect().await, path, |_| {})
            .await
    })
}

/// The digest computed by Python.
fn sha256sum(path: &Path) -> String {
    let script =
        "import hashlib,sys; print(hashlib.sha256(open(sys.argv[1],'rb').read()).hexdigest())";
    let output = Command::new("python3")
        .arg("-c")
        .arg(script)
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_manifest_file_describes_the_export() {
    let trail = Trail::with_changes(3);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.ndjson");
    let manifest = export_to(&trail, &path).unwrap();
    assert_eq!(
        names(directory.path()),
        ["notes.ndjson", "notes.ndjson.manifest.json"]
    );
    let read: Value = serde_json::from_slice(&fs::read(manifest_path(&path)).unwrap()).unwrap();
    assert_eq!(read, serde_json::to_value(&manifest).unwrap());
    assert_eq!(read["sha256"], sha256sum(&path));
    assert_eq!(read["bytes"], fs::metadata(&path).unwrap().len());
    assert_eq!(read["row_count"], 3);
    assert_eq!(read["cut"], false);
    assert_eq!(read["format"]["name"], "ndjson");
    assert_eq!(
        read["filters"]["table"],
        serde_json::to_value(&manifest.summary.filters["table"]).unwrap()
    );
}

#[test]
fn the_manifest_has_size_and_digest_after_compression() {
    let trail = Trail::with_changes(3);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.json.gz");
    let manifest = block_on(async {
        Export::new(Timeline::new())
            .format(threadline_export::Format::Json)
            .compression(threadline_export::Compression::Gzip)
            .write_file(&mut trail.connect().await, &path, |_| {})
            .await
            .unwrap()
    });
    assert_eq!(manifest.sha256, sha256sum(&path));
    assert_eq!(manifest.bytes, fs::metadata(&path).unwrap().len());
}

#[test]
fn a_failed_export_leaves_the_existing_file() {
    let trail = Trail::with_changes(5_000);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("export");
    fs::write(&path, "old").unwrap();
    let failed = block_on(async {
        let mut conn = trail.connect().await;
        let export = Export::new(Timeline::new());
        let kill = |progress: threadline_export::Progress| {
            if progress.rows > 0 {
                trail.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                );
            }
        };
        export.write_file(&mut conn, &path, kill).await
    });
    assert!(
        matches!(failed, Err(ExportError::Database(_))),
        "{failed:?}"
    );
    assert_eq!(names(directory.path()), ["export"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    export_to(&trail, &path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 5_000);
}

#[test]
fn a_dropped_export_leaves_no_files() {
    let trail = Trail::with_changes(5_000);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("export");
    block_on(async {
        let mut conn = trail.connect().await;
        let export = Export::new(Timeline::new());
        // The export waits for this lock until it is dropped.
        let mut holder = trail.connect().await;
        diesel_async::SimpleAsyncConnection::batch_execute(
            &mut holder,
            "BEGIN; LOCK TABLE threadline.audit_changes IN ACCESS EXCLUSIVE MODE",
        )
        .await
        .unwrap();
        let running = export.write_file(&mut conn, &path, |_| {});
        let stopped = tokio::time::timeout(Duration::from_millis(300), running).await;
        assert!(stopped.is_err(), "the export waits");
    });
    assert_eq!(names(directory.path()), [""; 0]);
}

#[test]
fn paths_that_are_not_regular_files_are_rejected() {
    let trail = Trail::with_changes(1);
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path(), Path::new("/dev/null"), Path::new("/")] {
        let rejected = export_to(&trail, path);
        assert!(
            matches!(rejected, Err(ExportError::NotAFile(_))),
            "{rejected:?}"
        );
    }
    let missing = export_to(&trail, &directory.path().join("missing/export"));
    assert!(
        matches!(missing, Err(ExportError::File { .. })),
        "{missing:?}"
    );
    assert_eq!(names(directory.path()), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_followed_and_exports_are_private() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let trail = Trail::with_changes(1);
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, "").unwrap();
    symlink(&file, &link).unwrap();
    export_to(&trail, &link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let metadata = fs::metadata(&file).unwrap();
    assert!(metadata.len() > 0);
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}
