//! Text for a terminal.

use std::io::{self, IsTerminal, Write, stdout};

use chrono::{DateTime, Utc};
use threadline_core::instant::Tz;
pub(crate) use threadline_core::terminal::escape;
use unicode_width::UnicodeWidthStr;

use crate::settings::settings;

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

/// An instant in UTC to the microsecond, and in the time zone if that is another one.
pub(crate) fn show_exact_instant(instant: DateTime<Utc>) -> String {
    let utc = instant.format("%Y-%m-%d %H:%M:%S%.6f UTC");
    match settings().zone {
        Tz::UTC => utc.to_string(),
        zone => format!("{utc} ({} {zone})", show_local(instant, zone)),
    }
}

/// An instant in a time zone, to the second.
pub(crate) fn show_local(instant: DateTime<Utc>, zone: Tz) -> String {
    let local = instant.with_timezone(&zone);
    local.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The number of columns of a text on one line.
pub(crate) fn text_width(text: &str) -> usize {
    text.width()
}

/// Wraps a line between words. Lines after the first are indented; a word that is wider than a line stays
/// whole.
pub(crate) fn wrap(line: &str, width: usize, indent: usize) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    let mut has_word = false;
    for (index, word) in line.split(' ').enumerate() {
        let word_width = text_width(word);
        if has_word && column + 1 + word_width > width {
            wrapped.push('\n');
            wrapped.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if index > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += word_width;
        has_word |= !word.is_empty();
    }
    wrapped
}

/// Wraps the lines of a text to the width of the terminal, those after the first of a line with an indent.
pub(crate) fn wrap_lines_for_terminal(text: &str, indent: usize) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(|line| wrap_for_terminal(line, indent))
        .collect();
    lines.join("\n")
}

/// Wraps a line to the width of the terminal. Output that is not for a terminal is not wrapped.
pub(crate) fn wrap_for_terminal(line: &str, indent: usize) -> String {
    match settings().width {
        Some(width) => wrap(line, width, indent),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_between_words_only() {
        assert_eq!(wrap("one two three", 8, 2), "one two\n  three");
        assert_eq!(wrap("    one two", 9, 6), "    one\n      two");
        let id = "019a0000-0000-7000-8000-000000000001";
        assert_eq!(
            wrap(&format!("id {id} end"), 10, 2),
            format!("id\n  {id}\n  end")
        );
        assert_eq!(wrap("量量 量量", 6, 0), "量量\n量量");
        assert_eq!(wrap("", 10, 2), "");
    }
}
