//! Functions for several test files.
#![allow(dead_code, reason = "each test file uses some of the functions")]

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Whether a process exists and is not a zombie.
pub(crate) fn exists(pid: u32) -> bool {
    let output = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8(output.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

/// Waits until a condition is true, at most 20 seconds.
pub(crate) fn wait_until(description: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "timeout: {description}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The output of `psql` for a query. Shows that libpq accepts the URL.
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

/// Whether a directory exists.
pub(crate) fn directory_exists(path: &str) -> bool {
    Path::new(path).is_dir()
}
