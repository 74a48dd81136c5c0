//! Text for a terminal.

use std::io::{self, IsTerminal, Write, stdout};

use chrono::{DateTime, Utc};
pub(crate) use threadline_core::terminal::escape;

/// Prints lines whose stored text is escaped, and a line break.
pub(crate) fn print_block(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints a text on one line.
pub(crate) fn print_line(text: &str) -> io::Result<()> {
    print_block(&escape(text))
}

/// Prints a script: as it is to a pipe, without the characters that a terminal acts on to a terminal.
pub(crate) fn print_script(script: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    if out.is_terminal() {
        for line in script.lines() {
            writeln!(out, "{}", escape(line))?;
        }
    } else {
        out.write_all(script.as_bytes())?;
    }
    out.flush()
}

/// Prints a note on standard error, on one line.
pub(crate) fn print_note(text: &str) {
    eprintln!("{}", escape(text));
}

/// An instant in UTC, to the second, without the time zone.
pub(crate) fn show_instant(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M:%S").to_string()
}
