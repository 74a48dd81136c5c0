//! `postmaster.pid`, the file in which a server publishes its process id and status.

use std::fs;
use std::path::Path;

// Line numbers, from zero.
const PROCESS_ID: usize = 0;
const SHARED_MEMORY: usize = 6;
const STATUS: usize = 7;

/// Whether the file belongs to this postmaster and its status is `ready`. The file of a killed
/// server keeps that status, so the process id is compared too.
pub(crate) fn is_ready(lock_file: &Path, postmaster: u32) -> bool {
    let Ok(text) = fs::read_to_string(lock_file) else {
        return false;
    };
    let line = |number| text.lines().nth(number).map(str::trim);
    line(PROCESS_ID) == Some(postmaster.to_string().as_str()) && line(STATUS) == Some("ready")
}

/// The id of the server's System V shared memory segment.
pub(crate) fn shared_memory(lock_file: &Path) -> Option<u32> {
    let text = fs::read_to_string(lock_file).ok()?;
    let line = text.lines().nth(SHARED_MEMORY)?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_of_a_killed_server_is_not_ready() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("postmaster.pid");
        fs::write(&file, "41\n/d\n1700000000\n5432\n/s\n\n  77 12\nready   \n").unwrap();

        assert!(is_ready(&file, 41));
        assert!(!is_ready(&file, 42));
        assert_eq!(shared_memory(&file), Some(12));
    }
}
