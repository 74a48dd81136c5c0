//! JSON documents, and NDJSON.

use std::io::{self, Write};

use serde::Serialize;

use crate::buffer::EncodeBuffer;
use crate::manifest::Summary;

/// The version of the JSON document. New fields do not change it.
const FORMAT_VERSION: u32 = 1;

/// The encoder of a JSON document, which ends with the summary.
pub(super) struct JsonRows {
    buffer: EncodeBuffer,
    empty: bool,
}

impl JsonRows {
    pub(super) fn start(mut buffer: EncodeBuffer) -> Result<Self, crate::ExportError> {
        write!(buffer, r#"{{"format_version":{FORMAT_VERSION},"changes":["#)
            .map_err(crate::ExportError::Write)?;
        Ok(Self {
            buffer,
            empty: true,
        })
    }

    pub(super) fn write<T: Serialize>(&mut self, record: &T) -> io::Result<()> {
        self.buffer
            .write_all(if self.empty { b"\n" } else { b",\n" })?;
        self.empty = false;
        write_json(&mut self.buffer, record)
    }

    pub(super) fn buffer(&mut self) -> &mut EncodeBuffer {
        &mut self.buffer
    }

    pub(super) fn finish(mut self, summary: &Summary) -> io::Result<EncodeBuffer> {
        self.buffer.write_all(b"\n],\"manifest\":")?;
        write_json(&mut self.buffer, summary)?;
        self.buffer.write_all(b"}\n")?;
        Ok(self.buffer)
    }
}

/// The encoder of NDJSON: one object per line.
pub(super) struct NdjsonRows(EncodeBuffer);

impl NdjsonRows {
    pub(super) fn start(buffer: EncodeBuffer) -> Self {
        Self(buffer)
    }

    pub(super) fn write<T: Serialize>(&mut self, record: &T) -> io::Result<()> {
        write_json(&mut self.0, record)?;
        self.0.write_all(b"\n")
    }

    pub(super) fn buffer(&mut self) -> &mut EncodeBuffer {
        &mut self.0
    }

    pub(super) fn finish(self) -> EncodeBuffer {
        self.0
    }
}

fn write_json<T: Serialize>(buffer: &mut EncodeBuffer, value: &T) -> io::Result<()> {
    serde_json::to_writer(buffer, value).map_err(io::Error::from)
}
