//! Progress of long commands on standard error, if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::text::escape;

/// How often the line is drawn again without news.
const TICK: Duration = Duration::from_millis(200);

/// A line of progress, which is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// No line.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// A line with a message.
    pub(crate) fn message() -> Self {
        Self::new(ProgressBar::no_length(), "{msg}")
    }

    /// A line with a count of changes: with a bar and the remaining time if the total is known.
    pub(crate) fn changes(total: Option<u64>) -> Self {
        match total {
            Some(total) => Self::new(
                ProgressBar::new(total),
                "[{bar:20}] {percent:>3} % {pos} of {len}, {per_sec}, {eta} left",
            ),
            None => Self::new(ProgressBar::no_length(), "{pos} changes, {per_sec}"),
        }
    }

    fn new(bar: ProgressBar, template: &str) -> Self {
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("#..");
        let bar = bar.with_style(style);
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    pub(crate) fn set_message(&self, message: &str) {
        self.0.set_message(escape(message));
    }

    pub(crate) fn set_count(&self, count: u64) {
        self.0.set_position(count);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
