//! CSV as in RFC 4180.
//!
//! Written here and not by the crate `csv`, which decides about quotes without knowing NULL: only
//! an unquoted empty field beside a quoted one tells NULL from the empty string.

use std::io::{self, Write};

use crate::error::ExportError;
use crate::format::{ActionColumns, CsvOptions, FormulaGuard};
use crate::record::{Record, column_names};
use crate::sink::Sink;

/// Records, each ended by CR LF.
pub(super) struct CsvRows {
    sink: Sink,
    guard: FormulaGuard,
    line: Vec<u8>,
}

impl CsvRows {
    pub(super) fn start(
        options: CsvOptions,
        actions: ActionColumns,
        sink: Sink,
    ) -> Result<Self, ExportError> {
        let mut rows = Self {
            sink,
            guard: options.formula_guard,
            line: Vec::new(),
        };
        rows.write_line(column_names(actions).map(Some))
            .map_err(ExportError::Write)?;
        Ok(rows)
    }

    pub(super) fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        let texts = record.texts();
        self.write_line(texts.iter().map(Option::as_deref))
    }

    pub(super) fn sink(&mut self) -> &mut Sink {
        &mut self.sink
    }

    pub(super) fn finish(self) -> Sink {
        self.sink
    }

    fn write_line<'t>(&mut self, texts: impl Iterator<Item = Option<&'t str>>) -> io::Result<()> {
        self.line.clear();
        for (place, text) in texts.enumerate() {
            if place > 0 {
                self.line.push(b',');
            }
            if let Some(text) = text {
                push_field(&mut self.line, text, self.guard);
            }
        }
        self.line.extend_from_slice(b"\r\n");
        self.sink.write_all(&self.line)
    }
}

/// A field that is not NULL.
fn push_field(line: &mut Vec<u8>, text: &str, guard: FormulaGuard) {
    let guarded = guard == FormulaGuard::On && looks_like_a_formula(text);
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

/// The empty string, so that it is not NULL; what RFC 4180 demands; and what other separators or
/// trimming readers would fall over.
fn needs_quotes(text: &str) -> bool {
    text.is_empty()
        || text
            .bytes()
            .any(|byte| matches!(byte, b'"' | b',' | b';' | b'\t' | b'\r' | b'\n'))
        || text.starts_with(char::is_whitespace)
        || text.ends_with(char::is_whitespace)
}

/// What spreadsheets run, or what would come back as something else once the guard is taken off.
fn looks_like_a_formula(text: &str) -> bool {
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
    fn quotes_stand_where_a_reader_needs_them() {
        let plain = |text| field(text, FormulaGuard::Off);
        assert_eq!(plain("plain"), "plain");
        assert_eq!(plain(""), r#""""#);
        assert_eq!(plain(r#"a"b"#), r#""a""b""#);
        assert_eq!(plain("a\rb"), "\"a\rb\"");
        assert_eq!(plain(" a"), "\" a\"");
        assert_eq!(plain("a;=1"), "\"a;=1\"");
    }

    #[test]
    fn formulas_are_disarmed_and_come_back() {
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
