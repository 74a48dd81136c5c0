//! Encoders of changes, one module for each format.

mod csv;
mod json;
#[cfg(feature = "parquet")]
mod parquet;

use threadline_diesel::TimelineEntry;

use crate::buffer::EncodeBuffer;
use crate::error::ExportError;
use crate::format::{ActionColumns, Format};
use crate::manifest::Summary;
use crate::record::Record;

/// The encoder of an export.
pub(crate) struct Encoder {
    actions: ActionColumns,
    rows: Rows,
}

enum Rows {
    Csv(csv::CsvRows),
    Json(json::JsonRows),
    Ndjson(json::NdjsonRows),
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::ParquetRows>),
}

impl Encoder {
    /// Starts the encoding: writes the header of the format.
    pub(crate) fn start(
        format: Format,
        actions: ActionColumns,
        buffer: EncodeBuffer,
    ) -> Result<Self, ExportError> {
        let rows = match format {
            Format::Csv(options) => Rows::Csv(csv::CsvRows::start(options, actions, buffer)?),
            Format::Json => Rows::Json(json::JsonRows::start(buffer)?),
            Format::Ndjson => Rows::Ndjson(json::NdjsonRows::start(buffer)),
            #[cfg(feature = "parquet")]
            Format::Parquet => {
                Rows::Parquet(Box::new(parquet::ParquetRows::start(actions, buffer)?))
            }
        };
        Ok(Self { actions, rows })
    }

    /// Encodes a change.
    pub(crate) fn write(&mut self, entry: &TimelineEntry) -> Result<(), ExportError> {
        let record = Record::new(entry, self.actions);
        match &mut self.rows {
            Rows::Csv(rows) => rows.write(&record).map_err(ExportError::Write),
            Rows::Json(rows) => rows.write(&record).map_err(ExportError::Write),
            Rows::Ndjson(rows) => rows.write(&record).map_err(ExportError::Write),
            #[cfg(feature = "parquet")]
            Rows::Parquet(rows) => rows.write(&record),
        }
    }

    /// The encoded bytes to write. The caller clears them after writing.
    pub(crate) fn pending(&mut self) -> &mut Vec<u8> {
        match &mut self.rows {
            Rows::Csv(rows) => rows.buffer().pending(),
            Rows::Json(rows) => rows.buffer().pending(),
            Rows::Ndjson(rows) => rows.buffer().pending(),
            #[cfg(feature = "parquet")]
            Rows::Parquet(rows) => rows.buffer().pending(),
        }
    }

    /// Ends the encoding: writes the trailer of the format.
    pub(crate) fn finish(self, summary: &Summary) -> Result<EncodeBuffer, ExportError> {
        match self.rows {
            Rows::Csv(rows) => Ok(rows.finish()),
            Rows::Json(rows) => rows.finish(summary).map_err(ExportError::Write),
            Rows::Ndjson(rows) => Ok(rows.finish()),
            #[cfg(feature = "parquet")]
            Rows::Parquet(rows) => rows.finish(summary),
        }
    }
}
