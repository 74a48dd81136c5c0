//! Signals to processes, and a look at which there are.
//!
//! Signals go through the shell's built-in `kill`: the standard library sends none but SIGKILL,
//! and slim containers have no `kill` program.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a process is asked whether it has ended.
pub(crate) const POLL: Duration = Duration::from_millis(3);

/// The signals this crate sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// To a postmaster: immediate shutdown.
    Quit,
    /// To a postmaster: fast shutdown.
    Interrupt,
    /// The end, whoever gets it.
    Kill,
    /// Pauses the process, which then starts no others.
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

/// Sends a signal. Processes that are gone already are passed over.
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

/// Removes a System V shared memory segment that has outlived its processes.
pub(crate) fn remove_shared_memory(segment: u32) -> io::Result<()> {
    Command::new("ipcrm")
        .args(["-m", &segment.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
}

/// The processes whose parent this one is.
pub(crate) fn children_of(parent: u32) -> io::Result<Vec<u32>> {
    let pairs = if Path::new("/proc/self/stat").exists() {
        from_proc()?
    } else {
        from_ps()?
    };
    Ok(pairs
        .into_iter()
        .filter(|(_, its_parent)| *its_parent == parent)
        .map(|(pid, _)| pid)
        .collect())
}

/// Waits until none of the processes runs any more, at most for `limit`.
pub(crate) fn await_end(pids: &[u32], limit: Duration) {
    let end = Instant::now() + limit;
    while pids.iter().any(|pid| is_running(*pid)) && Instant::now() < end {
        thread::sleep(POLL);
    }
}

/// Whether a process exists and is no zombie, which holds no resources any more.
fn is_running(pid: u32) -> bool {
    if Path::new("/proc/self/stat").exists() {
        return fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| after_name(&stat).map(|rest| !rest.starts_with(['Z', 'X'])))
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

fn from_proc() -> io::Result<Vec<(u32, u32)>> {
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = after_name(&stat)?.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect())
}

/// What follows the process' name in a `stat` line: state, parent, … The name stands in
/// parentheses and may itself hold anything, parentheses and spaces included.
fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, rest)| rest)
}

fn from_ps() -> io::Result<Vec<(u32, u32)>> {
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
    fn a_child_is_seen_and_its_end_too() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();

        assert!(children_of(std::process::id()).unwrap().contains(&pid));
        send(Signal::Kill, &[pid]).unwrap();
        await_end(&[pid], Duration::from_secs(10));
        assert!(!is_running(pid));
        child.wait().unwrap();
    }

    #[test]
    fn a_process_name_with_parentheses_does_not_confuse() {
        assert_eq!(after_name("7 (a) b) S 1 2"), Some("S 1 2"));
    }
}
