//! The state of a server process: stopping it and detecting its exit.

use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::process::{self, POLL_INTERVAL, Signal};
use crate::watchdog::Watchdog;

/// The postmaster of a data directory and its watchdog.
#[derive(Debug)]
pub(super) struct State {
    /// `None` while the server is stopped or killed.
    pub(super) postmaster: Option<Child>,
    /// `None` only while being dropped.
    pub(super) watchdog: Option<Watchdog>,
}

impl State {
    /// Sends a shutdown signal and waits for the exit. Does nothing if no postmaster runs.
    pub(super) fn stop(&mut self, signal: Signal, timeout: Duration) -> Result<(), Error> {
        let Some(postmaster) = &self.postmaster else {
            return Ok(());
        };
        let pid = postmaster.id();
        process::send(signal, &[pid]).map_err(Error::io("running", "/bin/sh"))?;
        let deadline = Instant::now() + timeout;
        while self.exit_status()?.is_none() {
            if Instant::now() > deadline {
                let seconds = timeout.as_secs();
                return Err(Error::StopTimeout { pid, seconds });
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// The exit status of the postmaster. `None` while it runs, and if none was running.
    pub(super) fn exit_status(&mut self) -> Result<Option<ExitStatus>, Error> {
        let Some(postmaster) = &mut self.postmaster else {
            return Ok(None);
        };
        let status = postmaster.try_wait();
        let status = status.map_err(Error::io("waiting for", "the server"))?;
        if status.is_some() {
            self.postmaster = None;
            self.update_watchdog(Watchdog::clear_postmaster)?;
        }
        Ok(status)
    }

    pub(super) fn update_watchdog(
        &mut self,
        update: impl FnOnce(&mut Watchdog) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        self.watchdog
            .as_mut()
            .map_or(Ok(()), update)
            .map_err(Error::io("writing to", "the watchdog process"))
    }
}
