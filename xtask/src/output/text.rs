//! Text for a terminal.

use std::io::{self, Write, stdout};

use chrono::{DateTime, Utc};

/// Prints a text and a line break.
pub(crate) fn print_line(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Replaces the characters that a terminal acts on: control characters, line separators and changes of the
/// writing direction.
pub(crate) fn escape(text: &str) -> String {
    let acts =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if acts(c) { '␣' } else { c })
        .collect()
}

/// An instant in UTC, to the second, without the time zone.
pub(crate) fn show_instant(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_has_one_line_and_no_control_characters() {
        assert_eq!(
            escape("a\u{1b}[31m\nb\u{9b}c\u{2028}d\u{202e}e"),
            "a␣[31m␣b␣c␣d␣e"
        );
        assert_eq!(escape("größe — 量"), "größe — 量");
    }
}
