//! The process of a server: asking it to stop and noticing that it has ended.

use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::process::{self, POLL, Signal};
use crate::watchdog::Watchdog;

/// The server process of a data directory, if one runs, and who watches over it.
#[derive(Debug)]
pub(super) struct State {
    /// `None` while the server is stopped or killed.
    pub(super) postmaster: Option<Child>,
    /// `None` only while being dropped.
    pub(super) watchdog: Option<Watchdog>,
}

impl State {
    /// Asks the postmaster to stop and waits for it. One that is not running is fine.
    pub(super) fn halt(&mut self, signal: Signal, limit: Duration) -> Result<(), Error> {
        let Some(postmaster) = &self.postmaster else {
            return Ok(());
        };
        let pid = postmaster.id();
        process::send(signal, &[pid]).map_err(Error::io("running", "/bin/sh"))?;
        let end = Instant::now() + limit;
        while self.ended()?.is_none() {
            if Instant::now() > end {
                let seconds = limit.as_secs();
                return Err(Error::StopTimeout { pid, seconds });
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// How the postmaster ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let Some(postmaster) = &mut self.postmaster else {
            return Ok(None);
        };
        let status = postmaster.try_wait();
        let status = status.map_err(Error::io("waiting for", "the server"))?;
        if status.is_some() {
            self.postmaster = None;
            self.tell_watchdog(Watchdog::forget)?;
        }
        Ok(status)
    }

    pub(super) fn tell_watchdog(
        &mut self,
        tell: impl FnOnce(&mut Watchdog) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        self.watchdog
            .as_mut()
            .map_or(Ok(()), tell)
            .map_err(Error::io("writing to", "the watchdog process"))
    }
}
