//! One server process with its folder: starting, waiting, stopping, killing.

mod state;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::state::State;
use crate::files::tail;
use crate::lock_file::{is_ready, shared_memory};
use crate::process::{self, POLL, Signal};
use crate::seed::tidy_environment;
use crate::user::ServerUser;
use crate::watchdog::{Fate, Watchdog};
use crate::{Error, OnDrop, ServerBinaries, cache, seed};

/// How long a fast shutdown may take: it includes writing out all that changed.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// How long an immediate shutdown may take: the postmaster itself kills what is left after 5 s.
const QUIT_LIMIT: Duration = Duration::from_secs(10);

/// The longest socket path that every Unix takes, with the zero at its end.
const SOCKET_PATH_LIMIT: usize = 103;

/// A data directory with, most of the time, a server on it.
#[derive(Debug)]
pub(crate) struct Server {
    binaries: ServerBinaries,
    user: ServerUser,
    start_timeout: Duration,
    on_drop: OnDrop,
    /// `None` only while being dropped.
    folder: Option<TempDir>,
    path: PathBuf,
    state: Mutex<State>,
}

impl Server {
    /// Makes the folder and a fresh data directory in it. No server runs yet.
    pub(crate) fn prepare(
        binaries: ServerBinaries,
        start_timeout: Duration,
        on_drop: OnDrop,
    ) -> Result<Self, Error> {
        let user =
            ServerUser::current().map_err(Error::io("asking for the owner of", "this process"))?;
        let parent = cache::temporary_folder(user)?;
        let folder = tempfile::Builder::new()
            .prefix("threadline-")
            // Whoever can reach the socket is superuser, and as that could run programs as us.
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(Error::io("creating a folder in", parent))?;
        let path = folder.path().to_owned();
        check_socket_path(&path)?;
        let fate = match on_drop {
            OnDrop::Remove => Fate::Remove,
            OnDrop::Keep => Fate::Keep,
        };
        let watchdog = Watchdog::start(&path, fate).map_err(Error::io("running", "/bin/sh"))?;
        let server = Self {
            binaries,
            user,
            start_timeout,
            on_drop,
            folder: Some(folder),
            path,
            state: Mutex::new(State {
                postmaster: None,
                watchdog: Some(watchdog),
            }),
        };
        user.take(&server.path)
            .map_err(Error::io("changing the owner of", &server.path))?;
        seed::plant(&server.binaries, user, &server.data())?;
        Ok(server)
    }

    /// The folder of the cluster, which is also the folder of its socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(crate) fn version(&self) -> crate::MajorVersion {
        self.binaries.version()
    }

    /// What the server has logged so far.
    pub(crate) fn log(&self) -> Result<String, Error> {
        let path = self.log_path();
        let bytes = fs::read(&path).map_err(Error::io("reading", path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Appends lines to `postgresql.conf`.
    pub(crate) fn configure(&self, lines: &str) -> Result<(), Error> {
        let path = self.data().join("postgresql.conf");
        File::options()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(lines.as_bytes()))
            .map_err(Error::io("writing", path))
    }

    pub(crate) fn postmaster_pid(&self) -> Option<u32> {
        self.state().postmaster.as_ref().map(Child::id)
    }

    /// Starts the server and waits until it takes connections. Stops one that runs already.
    pub(crate) fn start(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.halt(Signal::Interrupt, STOP_LIMIT)?;
        let postmaster = self.spawn()?;
        let pid = postmaster.id();
        state.postmaster = Some(postmaster);
        state.tell_watchdog(|watchdog| watchdog.watch(pid))?;
        let outcome = self.await_ready(&mut state, pid);
        if outcome.is_err() {
            state.halt(Signal::Quit, QUIT_LIMIT).ok();
        }
        outcome
    }

    /// A fast shutdown: sessions are ended, what is committed is written out.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        self.state().halt(Signal::Interrupt, STOP_LIMIT)
    }

    /// SIGKILL to the postmaster and all its children, and waits until they are gone.
    pub(crate) fn kill(&self) -> Result<(), Error> {
        let mut state = self.state();
        let mut postmaster = state.postmaster.take().ok_or(Error::NotRunning)?;
        let pid = postmaster.id();
        // Paused first, so that it cannot start a session between the look and the kill.
        let signalled = process::send(Signal::Stop, &[pid])
            .and_then(|()| process::children_of(pid))
            .and_then(|children| {
                process::send(Signal::Kill, &children)?;
                postmaster.kill()?;
                postmaster.wait()?;
                process::await_end(&children, QUIT_LIMIT);
                Ok(())
            });
        state.tell_watchdog(Watchdog::forget)?;
        signalled.map_err(Error::io("killing the server in", &self.path))
    }

    fn spawn(&self) -> Result<Child, Error> {
        let log = self.log_path();
        let open = || File::options().create(true).append(true).open(&log);
        let (out, err) = open()
            .and_then(|out| Ok((out, open()?)))
            .map_err(Error::io("opening", &log))?;
        let program = self.binaries.program("postgres");
        let mut command = Command::new(&program);
        command
            .arg("-D")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        tidy_environment(&mut command);
        self.user.apply(&mut command);
        // Ctrl-C is for the tests; the server is stopped by us or by the watchdog.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().map_err(Error::io("running", program))
    }

    fn await_ready(&self, state: &mut State, pid: u32) -> Result<(), Error> {
        let lock_file = self.lock_file();
        let end = Instant::now() + self.start_timeout;
        while !is_ready(&lock_file, pid) {
            if let Some(status) = state.ended()? {
                return Err(Error::Start {
                    status: status.to_string(),
                    log: self.end_of_log(),
                });
            }
            if Instant::now() > end {
                return Err(Error::StartTimeout {
                    seconds: self.start_timeout.as_secs(),
                    log: self.end_of_log(),
                });
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn lock_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    fn log_path(&self) -> PathBuf {
        self.path.join("server.log")
    }

    fn end_of_log(&self) -> String {
        self.log()
            .map_or_else(|error| error.to_string(), |log| tail(&log, 12))
    }

    /// A panic elsewhere leaves nothing half-done in here that the next caller could not handle.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    /// Errors have nowhere to go from here; the watchdog stays on duty if the server would not
    /// stop, and cleans up when this process ends.
    fn drop(&mut self) {
        let lock_file = self.lock_file();
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A data directory that is kept should not need recovery.
        let (signal, limit) = match self.on_drop {
            OnDrop::Remove => (Signal::Quit, QUIT_LIMIT),
            OnDrop::Keep => (Signal::Interrupt, STOP_LIMIT),
        };
        let stopped = state.halt(signal, limit).is_ok();
        // Only a killed server leaves its lock file, and with it a segment of shared memory that
        // nobody else would ever remove.
        if let (true, Some(segment)) = (stopped, shared_memory(&lock_file)) {
            process::remove_shared_memory(segment).ok();
        }
        let folder = self.folder.take();
        match (self.on_drop, folder) {
            (OnDrop::Keep, Some(folder)) => drop(folder.keep()),
            (_, folder) => drop(folder),
        }
        if let (true, Some(watchdog)) = (stopped, state.watchdog.take()) {
            watchdog.dismiss();
        }
    }
}

fn check_socket_path(folder: &Path) -> Result<(), Error> {
    let path = crate::address::socket_in(folder, u16::MAX);
    if path.as_os_str().len() > SOCKET_PATH_LIMIT {
        return Err(Error::SocketPath { path });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_too_deep_for_a_socket_is_refused() {
        let error = check_socket_path(&Path::new("/").join("x".repeat(90))).unwrap_err();

        assert!(error.to_string().starts_with("set TMPDIR"), "{error}");
    }
}
