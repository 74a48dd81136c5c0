//! How far an export is, on a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use threadline_export::Progress;

/// How often the line changes.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long the bar is, in characters.
const BAR_CHARS: u64 = 20;

/// Whether something else is written to the terminal meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terminal {
    /// It is ours.
    Free,
    /// The export itself goes there.
    Taken,
}

/// A line on standard error that says how far the export is, if somebody is there to read it.
#[derive(Debug)]
pub(super) struct Meter {
    visible: bool,
    total: Option<u64>,
    started: Instant,
    shown: Option<Instant>,
}

impl Meter {
    pub(super) fn new(terminal: Terminal, total: Option<u64>) -> Self {
        Self {
            visible: terminal == Terminal::Free && stderr().is_terminal(),
            total,
            started: Instant::now(),
            shown: None,
        }
    }

    pub(super) fn show(&mut self, done: Progress) {
        let recent = |shown: Instant| shown.elapsed() < INTERVAL;
        if self.visible && !self.shown.is_some_and(recent) {
            let line = line(done.rows, self.total, self.started.elapsed());
            // Whether anybody can read it must not decide about the export.
            let _ = write!(stderr(), "\r\x1b[K{line}");
            self.shown = Some(Instant::now());
        }
    }

    pub(super) fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn line(rows: u64, total: Option<u64>, elapsed: Duration) -> String {
    let millis = elapsed.as_millis().max(1);
    let rate = u128::from(rows) * 1000 / millis;
    let Some(total) = total else {
        return format!("{rows} changes, {rate}/s");
    };
    let bar = bar(rows, total);
    let left = u128::from(total.saturating_sub(rows));
    match (left * millis).checked_div(u128::from(rows) * 1000) {
        Some(seconds) => {
            let (minutes, seconds) = (seconds / 60, seconds % 60);
            format!("{bar} {rows} of {total}, {rate}/s, {minutes}:{seconds:02} left")
        }
        None => format!("{bar} {rows} of {total}"),
    }
}

/// How much of the whole is done, as a picture and as a number.
fn bar(rows: u64, total: u64) -> String {
    let done = rows.min(total);
    let share = |whole: u64| {
        let part = u128::from(done) * u128::from(whole);
        part.checked_div(u128::from(total))
            .map_or(whole, |part| u64::try_from(part).unwrap_or(whole))
    };
    let full = usize::try_from(share(BAR_CHARS)).unwrap_or_default();
    let empty = usize::try_from(BAR_CHARS).unwrap_or_default() - full;
    format!(
        "[{}{}] {:>3} %",
        "#".repeat(full),
        ".".repeat(empty),
        share(100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_tells_share_rate_and_remaining_time() {
        let line = |rows, total| line(rows, total, Duration::from_secs(2));
        assert_eq!(line(1000, None), "1000 changes, 500/s");
        assert_eq!(
            line(1000, Some(46_000)),
            "[....................]   2 % 1000 of 46000, 500/s, 1:30 left"
        );
        assert_eq!(
            line(5000, Some(10_000)),
            "[##########..........]  50 % 5000 of 10000, 2500/s, 0:02 left"
        );
        assert_eq!(line(0, Some(7)), "[....................]   0 % 0 of 7");
        assert_eq!(
            line(9, Some(7)),
            "[####################] 100 % 9 of 7, 4/s, 0:00 left"
        );
        assert_eq!(line(0, Some(0)), "[####################] 100 % 0 of 0");
        assert!(line(u64::MAX / 2, Some(u64::MAX)).contains(" 49 %"));
    }
}
