//! JSON on standard output.

use std::io::{self, Write, stdout};

use serde::Serialize;

/// Prints one indented document.
pub(crate) fn print_json<T: Serialize>(document: &T) -> io::Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer_pretty(&mut out, document)?;
    writeln!(out)
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
        serde_json::to_writer(&mut *out, &document)?;
        writeln!(out)?;
    }
    Ok(())
}
