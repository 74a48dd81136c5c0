//! JSON, as one document and as lines.

use std::io::{self, Write};

use serde::Serialize;

use crate::manifest::Summary;
use crate::record::Record;
use crate::sink::Sink;

/// The version of the JSON document. Fields may join without a new one.
const FORMAT_VERSION: u32 = 1;

/// A document whose trailer says what is in it.
pub(super) struct JsonRows {
    sink: Sink,
    empty: bool,
}

impl JsonRows {
    pub(super) fn start(mut sink: Sink) -> Result<Self, crate::ExportError> {
        write!(sink, r#"{{"format_version":{FORMAT_VERSION},"changes":["#)
            .map_err(crate::ExportError::Write)?;
        Ok(Self { sink, empty: true })
    }

    pub(super) fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.sink
            .write_all(if self.empty { b"\n" } else { b",\n" })?;
        self.empty = false;
        write_json(&mut self.sink, record)
    }

    pub(super) fn sink(&mut self) -> &mut Sink {
        &mut self.sink
    }

    pub(super) fn finish(mut self, summary: &Summary) -> io::Result<Sink> {
        self.sink.write_all(b"\n],\"manifest\":")?;
        write_json(&mut self.sink, summary)?;
        self.sink.write_all(b"}\n")?;
        Ok(self.sink)
    }
}

/// An object a line.
pub(super) struct NdjsonRows(Sink);

impl NdjsonRows {
    pub(super) fn start(sink: Sink) -> Self {
        Self(sink)
    }

    pub(super) fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        write_json(&mut self.0, record)?;
        self.0.write_all(b"\n")
    }

    pub(super) fn sink(&mut self) -> &mut Sink {
        &mut self.0
    }

    pub(super) fn finish(self) -> Sink {
        self.0
    }
}

fn write_json<T: Serialize>(sink: &mut Sink, value: &T) -> io::Result<()> {
    serde_json::to_writer(sink, value).map_err(io::Error::from)
}
