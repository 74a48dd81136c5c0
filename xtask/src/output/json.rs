//! JSON on standard output.

use std::fmt::Write as _;
use std::io::{self, Write, stdout};

use serde::Serialize;
use threadline_core::terminal::is_active;

/// Prints one indented document.
pub(crate) fn print_json<T: Serialize>(document: &T) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(
        out,
        "{}",
        escape_json(&serde_json::to_string_pretty(document)?)
    )
}

/// Prints one document per line.
pub(crate) fn print_ndjson<T: Serialize>(documents: impl IntoIterator<Item = T>) -> io::Result<()> {
    let mut out = io::BufWriter::new(stdout().lock());
    write_ndjson(&mut out, documents)?;
    out.flush()
}

/// Writes one document per line.
pub(crate) fn write_ndjson<T: Serialize>(
    out: &mut impl Write,
    documents: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    for document in documents {
        writeln!(out, "{}", escape_json(&serde_json::to_string(&document)?))?;
    }
    Ok(())
}

/// A writer of NDJSON that escapes each line as the functions of this module do.
#[cfg(feature = "archive")]
pub(crate) struct EscapedLines<W> {
    out: W,
    line: Vec<u8>,
}

#[cfg(feature = "archive")]
impl<W: Write> EscapedLines<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            line: Vec::new(),
        }
    }
}

#[cfg(feature = "archive")]
impl<W: Write> Write for EscapedLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.line);
                self.out.write_all(escape_json(&line).as_bytes())?;
                self.line.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes the characters that a terminal acts on as `\u` escapes. JSON has them in strings only, apart from the
/// line breaks of an indented document.
fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_active(c) {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}
