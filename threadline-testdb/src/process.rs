//! Sends signals and lists processes.
//!
//! Signals are sent by the shell's built-in `kill`: the standard library sends only SIGKILL, and
//! slim containers have no `kill` program.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often the state of a process is read.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(3);

/// The signals this crate sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGQUIT: immediate shutdown of a postmaster.
    Quit,
    /// SIGINT: fast shutdown of a postmaster.
    Interrupt,
    /// SIGKILL.
    Kill,
    /// SIGSTOP: pauses a process, so that it starts no others.
    Stop,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Quit => "QUIT",
            Self::Interrupt => "INT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
        }
    }
}

/// Sends a signal to each process. Ignores processes that do not exist.
pub(crate) fn send(signal: Signal, pids: &[u32]) -> io::Result<()> {
    Command::new("/bin/sh")
        .args([
            "-c",
            r#"s=$1; shift; for p in "$@"; do kill -s "$s" "$p"; done; :"#,
        ])
        .args(["kill", signal.name()])
        .args(pids.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
}

/// Removes a System V shared memory segment whose processes have exited.
pub(crate) fn remove_shared_memory(segment: u32) -> io::Result<()> {
    Command::new("ipcrm")
        .args(["-m", &segment.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
}

/// The ids of the child processes of `parent`.
pub(crate) fn children_of(parent: u32) -> io::Result<Vec<u32>> {
    let pairs = if Path::new("/proc/self/stat").exists() {
        list_from_proc()?
    } else {
        list_from_ps()?
    };
    Ok(pairs
        .into_iter()
        .filter(|(_, parent_id)| *parent_id == parent)
        .map(|(pid, _)| pid)
        .collect())
}

/// Waits until none of the processes runs, at most for `timeout`.
pub(crate) fn wait_for_exit(pids: &[u32], timeout: Duration) {
    let deadline = Instant::now() + timeout;
    while pids.iter().any(|pid| is_running(*pid)) && Instant::now() < deadline {
        thread::sleep(POLL_INTERVAL);
    }
}

/// Whether a process exists and is not a zombie.
fn is_running(pid: u32) -> bool {
    if Path::new("/proc/self/stat").exists() {
        return fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| fields_after_name(&stat).map(|rest| !rest.starts_with(['Z', 'X'])))
            .unwrap_or(false);
    }
    Command::new("/bin/sh")
        .args([
            "-c",
            r#"kill -0 "$1" 2>/dev/null"#,
            "kill",
            &pid.to_string(),
        ])
        .status()
        .is_ok_and(|status| status.success())
}

fn list_from_proc() -> io::Result<Vec<(u32, u32)>> {
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = fields_after_name(&stat)?.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect())
}

/// The fields after the process name in a `stat` line: state, parent, … The name is in parentheses
/// and may contain any character, also parentheses and spaces.
fn fields_after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, rest)| rest)
}

fn list_from_ps() -> io::Result<Vec<(u32, u32)>> {
    let output = Command::new("ps")
        .args(["-A", "-o", "pid=,ppid="])
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_process_is_listed_until_it_is_killed() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();

        assert!(children_of(std::process::id()).unwrap().contains(&pid));
        send(Signal::Kill, &[pid]).unwrap();
        wait_for_exit(&[pid], Duration::from_secs(10));
        assert!(!is_running(pid));
        child.wait().unwrap();
    }

    #[test]
    fn a_process_name_with_parentheses_is_skipped() {
        assert_eq!(fields_after_name("7 (a) b) S 1 2"), Some("S 1 2"));
    }
}
