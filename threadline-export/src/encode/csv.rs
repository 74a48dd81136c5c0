//! CSV as in RFC 4180.
//!
//! The crate `csv` is not used, because it cannot quote the empty string and leave NULL unquoted,
//! which is how CSV distinguishes the two.

use std::io::{self, Write};

use crate::buffer::EncodeBuffer;
use crate::error::ExportError;
use crate::format::{CsvOptions, FormulaGuard};

/// The encoder of CSV. Records end with CR LF.
pub(super) struct CsvRows {
    buffer: EncodeBuffer,
    guard: FormulaGuard,
    line: Vec<u8>,
}

impl CsvRows {
    pub(super) fn start(
        options: CsvOptions,
        columns: &[&str],
        buffer: EncodeBuffer,
    ) -> Result<Self, ExportError> {
        let mut rows = Self {
            buffer,
            guard: options.formula_guard,
            line: Vec::new(),
        };
        rows.write(columns.iter().map(|name| Some(*name)))
            .map_err(ExportError::Write)?;
        Ok(rows)
    }

    pub(super) fn buffer(&mut self) -> &mut EncodeBuffer {
        &mut self.buffer
    }

    pub(super) fn finish(self) -> EncodeBuffer {
        self.buffer
    }

    /// Writes a line; `None` is an empty field.
    pub(super) fn write<'t>(
        &mut self,
        texts: impl Iterator<Item = Option<&'t str>>,
    ) -> io::Result<()> {
        self.line.clear();
        for (index, text) in texts.enumerate() {
            if index > 0 {
                self.line.push(b',');
            }
            if let Some(text) = text {
                push_field(&mut self.line, text, self.guard);
            }
        }
        self.line.extend_from_slice(b"\r\n");
        self.buffer.write_all(&self.line)
    }
}

/// Appends a field that is not NULL.
fn push_field(line: &mut Vec<u8>, text: &str, guard: FormulaGuard) {
    let guarded = guard == FormulaGuard::On && needs_guard(text);
    let quoted = needs_quotes(text);
    if quoted {
        line.push(b'"');
    }
    if guarded {
        line.push(b'\'');
    }
    for byte in text.bytes() {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    if quoted {
        line.push(b'"');
    }
}

/// Whether a field is quoted: the empty string, to distinguish it from NULL; characters that RFC 4180
/// requires to be quoted; other common separators; and white space that some readers trim.
fn needs_quotes(text: &str) -> bool {
    text.is_empty()
        || text
            .bytes()
            .any(|byte| matches!(byte, b'"' | b',' | b';' | b'\t' | b'\r' | b'\n'))
        || text.starts_with(char::is_whitespace)
        || text.ends_with(char::is_whitespace)
}

/// Whether a spreadsheet may evaluate a text as a formula, or the text begins like a guarded one.
fn needs_guard(text: &str) -> bool {
    let first = text.trim_start().chars().next();
    matches!(
        first,
        Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠')
    ) || text.starts_with(['\t', '\r', '\n', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str, guard: FormulaGuard) -> String {
        let mut line = Vec::new();
        push_field(&mut line, text, guard);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn fields_are_quoted_where_needed() {
        let plain = |text| field(text, FormulaGuard::Off);
        assert_eq!(plain("plain"), "plain");
        assert_eq!(plain(""), r#""""#);
        assert_eq!(plain(r#"a"b"#), r#""a""b""#);
        assert_eq!(plain("a\rb"), "\"a\rb\"");
        assert_eq!(plain(" a"), "\" a\"");
        assert_eq!(plain("a;=1"), "\"a;=1\"");
    }

    #[test]
    fn formulas_are_guarded_by_an_apostrophe() {
        for text in [
            "=cmd()", "+1", "-1", "@x", "\t=1", "\n=1", " =1", "＝1", "'=1", "''", "'",
        ] {
            let guarded = field(text, FormulaGuard::On);
            let guarded = guarded.trim_matches('"');
            assert_eq!(guarded, format!("'{text}"));
        }
        for text in ["a=1", "1-1", "{\"a\": \"=1\"}", "", "it's"] {
            assert_eq!(
                field(text, FormulaGuard::On),
                field(text, FormulaGuard::Off)
            );
        }
        assert_eq!(field("=1", FormulaGuard::Off), "=1");
    }
}
