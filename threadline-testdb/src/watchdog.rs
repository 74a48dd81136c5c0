//! What ends the server when this process ends without a chance to do so itself: killed, aborted,
//! or simply finished with the cluster in a `static`, which Rust never drops.
//!
//! A small shell process reads from a pipe whose other end only this process holds. The operating
//! system closes that end however this process ends, the shell reads end-of-file, and cleans up.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Reads the postmaster's process id whenever it changes (an empty line when there is none), or
/// `done`. At end-of-file it stops the server, waits for its lock file to go, and removes the
/// folder.
///
/// The id comes through the pipe and is not read from `postmaster.pid`, which outlives a killed
/// server while the number may belong to somebody else. Should this process die between starting
/// a server and telling its id, the server ends nevertheless: a postmaster that finds its data
/// directory gone shuts down within a minute.
const SCRIPT: &str = r#"
dir=$1 fate=$2 pid=
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
[ "$fate" = remove ] && rm -rf -- "$dir"
"#;

/// What the watchdog does with the cluster's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Remove,
    Keep,
}

/// The shell that waits for our end.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// Starts watching over a cluster's folder; no server is known yet.
    pub(crate) fn start(folder: &Path, fate: Fate) -> io::Result<Self> {
        let fate = match fate {
            Fate::Remove => "remove",
            Fate::Keep => "keep",
        };
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "threadline-testdb-watchdog"])
            .arg(folder)
            .arg(fate)
            .current_dir("/")
            // Out of the terminal's and the test runner's reach: Ctrl-C ends the tests, and the
            // watchdog has to outlive them. Open outputs would make a runner wait for it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// From now on, this is the server to stop.
    pub(crate) fn watch(&mut self, postmaster: u32) -> io::Result<()> {
        self.tell(&postmaster.to_string())
    }

    /// From now on, there is no server to stop.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        self.tell("")
    }

    /// Ends the watch, without any cleaning up.
    pub(crate) fn dismiss(mut self) {
        // If it cannot be told, it is not there any more.
        self.tell("done").ok();
        self.pipe = None;
        self.shell.wait().ok();
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
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
    fn the_folder_goes_when_the_pipe_closes() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("cluster");
        std::fs::create_dir(&folder).unwrap();
        let mut watchdog = Watchdog::start(&folder, Fate::Remove).unwrap();

        drop(watchdog.pipe.take());
        watchdog.shell.wait().unwrap();

        assert!(!folder.exists());
    }

    #[test]
    fn a_dismissed_watchdog_touches_nothing() {
        let home = tempfile::tempdir().unwrap();
        let watchdog = Watchdog::start(home.path(), Fate::Remove).unwrap();

        watchdog.dismiss();

        assert!(home.path().exists());
    }
}
