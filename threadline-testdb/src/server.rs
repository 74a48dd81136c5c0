//! A server and its directory: starts, stops and kills the process.

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
use crate::files::last_lines;
use crate::lock_file::{is_ready, shared_memory};
use crate::process::{self, POLL_INTERVAL, Signal};
use crate::seed::normalize_environment;
use crate::user::ServerUser;
use crate::watchdog::Watchdog;
use crate::{Error, OnDrop, ServerBinaries, cache, seed};

/// The timeout of a fast shutdown, which includes a checkpoint.
const FAST_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(60);

/// The timeout of an immediate shutdown: the postmaster kills its children after 5 s.
const IMMEDIATE_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest socket path that every Unix accepts, without its final zero byte.
const SOCKET_PATH_LIMIT: usize = 103;

/// A cluster's directory, with its data directory, socket and log, and the server if it runs.
#[derive(Debug)]
pub(crate) struct Server {
    binaries: ServerBinaries,
    user: ServerUser,
    start_timeout: Duration,
    on_drop: OnDrop,
    /// `None` only while being dropped.
    directory: Option<TempDir>,
    path: PathBuf,
    state: Mutex<State>,
}

impl Server {
    /// Creates the directory and the data directory. Starts no server.
    pub(crate) fn create(
        binaries: ServerBinaries,
        start_timeout: Duration,
        on_drop: OnDrop,
    ) -> Result<Self, Error> {
        let user = ServerUser::for_current_process()
            .map_err(Error::io("finding the user of", "this process"))?;
        let parent = cache::temporary_directory(user)?;
        let directory = tempfile::Builder::new()
            .prefix("threadline-")
            // Every client of the socket is a superuser, who can run programs as the server's user.
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(Error::io("creating a directory in", parent))?;
        let path = directory.path().to_owned();
        check_socket_path(&path)?;
        let watchdog = Watchdog::start(&path, on_drop).map_err(Error::io("running", "/bin/sh"))?;
        let server = Self {
            binaries,
            user,
            start_timeout,
            on_drop,
            directory: Some(directory),
            path,
            state: Mutex::new(State {
                postmaster: None,
                watchdog: Some(watchdog),
            }),
        };
        user.change_owner(&server.path)
            .map_err(Error::io("changing the owner of", &server.path))?;
        seed::create_data_directory(&server.binaries, user, &server.data())?;
        Ok(server)
    }

    /// The directory of the cluster, which is also the directory of its socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(crate) fn version(&self) -> crate::MajorVersion {
        self.binaries.version()
    }

    /// The server's log.
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

    /// Starts the server and waits until it accepts connections. Stops a running one first.
    pub(crate) fn start(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.stop(Signal::Interrupt, FAST_SHUTDOWN_TIMEOUT)?;
        let postmaster = self.spawn()?;
        let pid = postmaster.id();
        state.postmaster = Some(postmaster);
        state.update_watchdog(|watchdog| watchdog.set_postmaster(pid))?;
        let outcome = self.wait_until_ready(&mut state, pid);
        if outcome.is_err() {
            state.stop(Signal::Quit, IMMEDIATE_SHUTDOWN_TIMEOUT).ok();
        }
        outcome
    }

    /// Runs a fast shutdown: ends the sessions and writes a checkpoint.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        self.state().stop(Signal::Interrupt, FAST_SHUTDOWN_TIMEOUT)
    }

    /// Sends SIGKILL to the postmaster and all its children, and waits for their exit.
    pub(crate) fn kill(&self) -> Result<(), Error> {
        let mut state = self.state();
        let mut postmaster = state.postmaster.take().ok_or(Error::NotRunning)?;
        let pid = postmaster.id();
        // Paused first, so that it starts no session after its children are listed.
        let killed = process::send(Signal::Stop, &[pid])
            .and_then(|()| process::children_of(pid))
            .and_then(|children| {
                process::send(Signal::Kill, &children)?;
                postmaster.kill()?;
                postmaster.wait()?;
                process::wait_for_exit(&children, IMMEDIATE_SHUTDOWN_TIMEOUT);
                Ok(())
            });
        state.update_watchdog(Watchdog::clear_postmaster)?;
        killed.map_err(Error::io("killing the server in", &self.path))
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
        normalize_environment(&mut command);
        self.user.apply_to(&mut command);
        // Ctrl-C must not reach the server: this process or the watchdog stops it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().map_err(Error::io("running", program))
    }

    fn wait_until_ready(&self, state: &mut State, pid: u32) -> Result<(), Error> {
        let lock_file = self.lock_file();
        let deadline = Instant::now() + self.start_timeout;
        while !is_ready(&lock_file, pid) {
            if let Some(status) = state.exit_status()? {
                return Err(Error::Start {
                    status: status.to_string(),
                    log: self.end_of_log(),
                });
            }
            if Instant::now() > deadline {
                return Err(Error::StartTimeout {
                    seconds: self.start_timeout.as_secs(),
                    log: self.end_of_log(),
                });
            }
            thread::sleep(POLL_INTERVAL);
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
            .map_or_else(|error| error.to_string(), |log| last_lines(&log, 12))
    }

    /// Ignores poisoning: the state is consistent after a panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    /// Ignores errors. If the server does not stop, the watchdog stops it when this process ends.
    fn drop(&mut self) {
        let lock_file = self.lock_file();
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A fast shutdown, so that a kept data directory needs no recovery.
        let (signal, timeout) = match self.on_drop {
            OnDrop::Remove => (Signal::Quit, IMMEDIATE_SHUTDOWN_TIMEOUT),
            OnDrop::Keep => (Signal::Interrupt, FAST_SHUTDOWN_TIMEOUT),
        };
        let stopped = state.stop(signal, timeout).is_ok();
        // Only a killed server leaves its lock file, and with it a shared memory segment.
        if let (true, Some(segment)) = (stopped, shared_memory(&lock_file)) {
            process::remove_shared_memory(segment).ok();
        }
        match (self.on_drop, self.directory.take()) {
            (OnDrop::Keep, Some(directory)) => drop(directory.keep()),
            (_, directory) => drop(directory),
        }
        if let (true, Some(watchdog)) = (stopped, state.watchdog.take()) {
            watchdog.dismiss();
        }
    }
}

fn check_socket_path(directory: &Path) -> Result<(), Error> {
    let path = crate::address::socket_path(directory, u16::MAX);
    if path.as_os_str().len() > SOCKET_PATH_LIMIT {
        return Err(Error::SocketPath { path });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_path_too_long_for_a_socket_is_rejected() {
        let error = check_socket_path(&Path::new("/").join("x".repeat(90))).unwrap_err();

        assert!(error.to_string().starts_with("set TMPDIR"), "{error}");
    }
}
