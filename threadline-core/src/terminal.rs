//! Stored text on a terminal.

/// Whether a terminal acts on a character: control characters, line separators, and marks and overrides of the
/// writing direction.
#[must_use]
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Replaces the characters that a terminal acts on. The result is one line.
///
/// ```
/// use threadline_core::terminal::escape;
///
/// assert_eq!(escape("Ada\u{1b}[31m\nLovelace"), "Ada␣[31m␣Lovelace");
/// ```
#[must_use]
pub fn escape(text: &str) -> String {
    text.chars()
        .map(|c| if is_active(c) { '␣' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_has_one_line_and_no_control_characters() {
        assert_eq!(
            escape("a\u{1b}[31m\nb\u{9b}c\u{2028}d\u{202e}e\u{200f}"),
            "a␣[31m␣b␣c␣d␣e␣"
        );
        assert_eq!(escape("größe — 量"), "größe — 量");
    }
}
