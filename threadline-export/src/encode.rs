//! Changes turned into bytes, a module a format.

mod csv;
mod json;
#[cfg(feature = "parquet")]
mod parquet;

use threadline_diesel::change::TimelineEntry;

use crate::error::ExportError;
use crate::format::{ActionColumns, Format};
use crate::manifest::Summary;
use crate::record::Record;
use crate::sink::Sink;

/// An export being written.
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
    /// Writes what comes before the first change.
    pub(crate) fn start(
        format: Format,
        actions: ActionColumns,
        sink: Sink,
    ) -> Result<Self, ExportError> {
        let rows = match format {
            Format::Csv(options) => Rows::Csv(csv::CsvRows::start(options, actions, sink)?),
            Format::Json => Rows::Json(json::JsonRows::start(sink)?),
            Format::Ndjson => Rows::Ndjson(json::NdjsonRows::start(sink)),
            #[cfg(feature = "parquet")]
            Format::Parquet => Rows::Parquet(Box::new(parquet::ParquetRows::start(actions, sink)?)),
        };
        Ok(Self { actions, rows })
    }

    /// Writes a change.
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

    /// The bytes that are ready to leave.
    pub(crate) fn ready(&mut self) -> &mut Vec<u8> {
        match &mut self.rows {
            Rows::Csv(rows) => rows.sink().ready(),
            Rows::Json(rows) => rows.sink().ready(),
            Rows::Ndjson(rows) => rows.sink().ready(),
            #[cfg(feature = "parquet")]
            Rows::Parquet(rows) => rows.sink().ready(),
        }
    }

    /// Writes what comes after the last change.
    pub(crate) fn finish(self, summary: &Summary) -> Result<Sink, ExportError> {
        match self.rows {
            Rows::Csv(rows) => Ok(rows.finish()),
            Rows::Json(rows) => rows.finish(summary).map_err(ExportError::Write),
            Rows::Ndjson(rows) => Ok(rows.finish()),
            #[cfg(feature = "parquet")]
            Rows::Parquet(rows) => rows.finish(summary),
        }
    }
}
