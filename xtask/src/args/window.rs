//! Windows of time.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use threadline_core::instant::InstantInput;

use crate::exit::Failure;
use crate::settings::resolve_instant;

/// The window of a list.
#[derive(Debug, Clone, Args)]
pub(crate) struct WindowArgs {
    /// Only entries from this instant until now: `2h`, `yesterday`, or as for --from.
    #[arg(
        long,
        value_name = "INSTANT",
        allow_hyphen_values = true,
        conflicts_with = "from"
    )]
    since: Option<InstantInput>,
    /// Only entries at this instant or later: `2026-01-31T12:00:00Z`, `2026-01-31 12:00`, `2026-01-31` (its
    /// start), `today`, `2h` (ago).
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    from: Option<InstantInput>,
    /// Only entries at this instant or earlier.
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    to: Option<InstantInput>,
}

/// A window with its instants.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: Option<DateTime<Utc>>,
    /// Whether the instants depend on the current time.
    is_relative: bool,
}

impl WindowArgs {
    /// The start and the end as given.
    pub(crate) fn into_given(self) -> (Option<InstantInput>, Option<InstantInput>) {
        (self.since.or(self.from), self.to)
    }

    pub(crate) fn resolve(&self) -> Result<Window, Failure> {
        let (name, from) = match &self.since {
            Some(since) => ("--since", Some(since)),
            None => ("--from", self.from.as_ref()),
        };
        let resolve = |name, input: Option<&InstantInput>| {
            input.map(|input| resolve_instant(name, input)).transpose()
        };
        Ok(Window {
            from: resolve(name, from)?,
            to: resolve("--to", self.to.as_ref())?,
            is_relative: [from, self.to.as_ref()]
                .into_iter()
                .flatten()
                .any(InstantInput::is_relative),
        })
    }
}

impl Window {
    /// The options that repeat a window that depends on the current time. A cursor is valid only for the same
    /// window.
    pub(crate) fn repeating_options(&self) -> String {
        let mut options = String::new();
        if self.is_relative {
            for (name, instant) in [("--from", self.from), ("--to", self.to)] {
                if let Some(instant) = instant {
                    let instant = instant.to_rfc3339_opts(SecondsFormat::AutoSi, true);
                    let _ = write!(options, " {name} {instant}");
                }
            }
        }
        options
    }
}
