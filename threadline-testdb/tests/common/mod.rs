//! What several test files need.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Whether a process exists and is no zombie.
pub(crate) fn exists(pid: u32) -> bool {
    let output = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8(output.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

/// Waits for something that happens soon, and fails with its name if it does not.
pub(crate) fn await_true(what: &str, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !happened() {
        assert!(Instant::now() < end, "still waiting until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What `psql` prints for a query: the proof that URLs are libpq's.
pub(crate) fn psql(url: &str, sql: &str) -> String {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "-qAtX", "-c", sql, url])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether a folder is there.
pub(crate) fn folder_exists(path: &str) -> bool {
    Path::new(path).is_dir()
}
