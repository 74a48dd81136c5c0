//! Exports in files.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use threadline_diesel::timeline::Timeline;
use threadline_export::{Export, ExportError, Manifest, manifest_path};

use crate::harness::{Trail, block_on};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
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

/// The digest as another tool finds it.
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
fn the_manifest_beside_a_file_tells_what_is_in_it() {
    let trail = Trail::with_changes(3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.ndjson");
    let manifest = export_to(&trail, &path).unwrap();
    assert_eq!(
        names(folder.path()),
        ["notes.ndjson", "notes.ndjson.manifest.json"]
    );
    let told: Value = serde_json::from_slice(&fs::read(manifest_path(&path)).unwrap()).unwrap();
    assert_eq!(told, serde_json::to_value(&manifest).unwrap());
    assert_eq!(told["sha256"], sha256sum(&path));
    assert_eq!(told["bytes"], fs::metadata(&path).unwrap().len());
    assert_eq!(told["row_count"], 3);
    assert_eq!(told["cut"], false);
    assert_eq!(told["format"]["name"], "ndjson");
    assert_eq!(
        told["filters"]["table"],
        serde_json::to_value(&manifest.summary.filters["table"]).unwrap()
    );
}

#[test]
fn the_manifest_speaks_of_the_compressed_bytes() {
    let trail = Trail::with_changes(3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.json.gz");
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
fn a_file_is_replaced_by_a_complete_one_only() {
    let trail = Trail::with_changes(5_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export");
    fs::write(&path, "the old one").unwrap();
    let failed = block_on(async {
        let mut conn = trail.connect().await;
        let export = Export::new(Timeline::new());
        let killed = |done: threadline_export::Progress| {
            if done.rows > 0 {
                trail.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                );
            }
        };
        export.write_file(&mut conn, &path, killed).await
    });
    assert!(
        matches!(failed, Err(ExportError::Database(_))),
        "{failed:?}"
    );
    assert_eq!(names(folder.path()), ["export"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "the old one");
    export_to(&trail, &path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 5_000);
}

#[test]
fn an_export_that_is_dropped_half_way_leaves_nothing() {
    let trail = Trail::with_changes(5_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export");
    block_on(async {
        let mut conn = trail.connect().await;
        let export = Export::new(Timeline::new());
        // Waits for a lock until it is dropped.
        let mut holder = trail.connect().await;
        diesel_async::SimpleAsyncConnection::batch_execute(
            &mut holder,
            "BEGIN; LOCK TABLE threadline.audit_changes IN ACCESS EXCLUSIVE MODE",
        )
        .await
        .unwrap();
        let running = export.write_file(&mut conn, &path, |_| {});
        let stopped = tokio::time::timeout(Duration::from_millis(300), running).await;
        assert!(stopped.is_err(), "it waits");
    });
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn what_is_no_file_is_not_replaced_by_one() {
    let trail = Trail::with_changes(1);
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path(), Path::new("/dev/null"), Path::new("/")] {
        let refused = export_to(&trail, path);
        assert!(
            matches!(refused, Err(ExportError::NotAFile(_))),
            "{refused:?}"
        );
    }
    let missing = export_to(&trail, &folder.path().join("missing/export"));
    assert!(
        matches!(missing, Err(ExportError::File { .. })),
        "{missing:?}"
    );
    assert_eq!(names(folder.path()), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_link_keeps_its_place_and_only_the_owner_reads_an_export() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let trail = Trail::with_changes(1);
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "").unwrap();
    symlink(&file, &link).unwrap();
    export_to(&trail, &link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let metadata = fs::metadata(&file).unwrap();
    assert!(metadata.len() > 0);
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}
