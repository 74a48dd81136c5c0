//! A shell process that stops the server if this process ends without dropping the cluster: killed,
//! aborted, or with the cluster in a `static`, which Rust never drops.
//!
//! The shell reads from a pipe. The operating system closes the writing end when this process ends,
//! the shell reads end-of-file, stops the server and removes its directory.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::OnDrop;

/// Each line read is the process id of the postmaster, empty if none runs, or `done`, which ends
/// the script. At end-of-file the script stops the server, waits until its lock file is removed,
/// and removes the directory.
///
/// The id is not read from `postmaster.pid`: the file of a killed server still exists, and another
/// process may have the number. If this process dies after it starts a server and before it sends
/// the id, the server stops too: a postmaster whose data directory is missing shuts down within a
/// minute.
const SCRIPT: &str = r#"
dir=$1 on_exit=$2 pid=
while IFS= read -r line; do
    [ "$line" = done ] && exit 0
    pid=$line
done
if [ -n "$pid" ]; then
    kill -s QUIT "$pid"
    tries=0
    while [ -e "$dir/data/postmaster.pid" ] && kill -0 "$pid" && [ $tries -lt 100 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    [ -e "$dir/data/postmaster.pid" ] && kill -s KILL "$pid"
fi
[ "$on_exit" = remove ] && rm -rf -- "$dir"
"#;

/// The shell process and the writing end of its pipe.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// Starts the watchdog of a cluster's directory, without a postmaster.
    pub(crate) fn start(directory: &Path, on_drop: OnDrop) -> io::Result<Self> {
        let on_exit = match on_drop {
            OnDrop::Remove => "remove",
            OnDrop::Keep => "keep",
        };
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "threadline-testdb-watchdog"])
            .arg(directory)
            .arg(on_exit)
            .current_dir("/")
            // Ctrl-C must end the tests and not the watchdog, and a test runner waits until all
            // processes close its outputs.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// Sets the postmaster to stop.
    pub(crate) fn set_postmaster(&mut self, postmaster: u32) -> io::Result<()> {
        self.send_line(&postmaster.to_string())
    }

    /// Records that no postmaster runs.
    pub(crate) fn clear_postmaster(&mut self) -> io::Result<()> {
        self.send_line("")
    }

    /// Ends the watchdog without stopping or removing anything.
    pub(crate) fn dismiss(mut self) {
        // The write fails only if the shell has already ended.
        self.send_line("done").ok();
        self.pipe = None;
        self.shell.wait().ok();
    }

    fn send_line(&mut self, line: &str) -> io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => pipe.write_all(format!("{line}\n").as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_removed_when_the_pipe_closes() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("cluster");
        std::fs::create_dir(&directory).unwrap();
        let mut watchdog = Watchdog::start(&directory, OnDrop::Remove).unwrap();

        drop(watchdog.pipe.take());
        watchdog.shell.wait().unwrap();

        assert!(!directory.exists());
    }

    #[test]
    fn a_dismissed_watchdog_removes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let watchdog = Watchdog::start(directory.path(), OnDrop::Remove).unwrap();

        watchdog.dismiss();

        assert!(directory.path().exists());
    }
}
