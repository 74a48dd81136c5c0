//! Encoders of changes, one module for each format.

mod csv;
mod json;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use threadline_core::table::AuditedTable;
use threadline_diesel::TimelineEntry;

use crate::buffer::EncodeBuffer;
use crate::error::ExportError;
use crate::field_record::{FIELD_COLUMNS, write_fields};
use crate::format::{ActionColumns, Format};
use crate::manifest::Summary;
use crate::record::{Record, column_names};

/// The encoder of an export.
pub(crate) struct Encoder {
    records: Records,
    rows: Rows,
}

/// The records of a change.
#[derive(Debug, Clone)]
pub(crate) enum Records {
    /// One, with its images.
    Change(ActionColumns),
    /// One for each field that it set. The declarations tell masked and excluded columns.
    Fields(Vec<AuditedTable>),
}

impl Records {
    /// The names of the columns, in order.
    pub(crate) fn columns(&self) -> Vec<&'static str> {
        match self {
            Self::Change(actions) => column_names(*actions).collect(),
            Self::Fields(_) => FIELD_COLUMNS.to_vec(),
        }
    }
}

enum Rows {
    Csv(csv::CsvRows),
    Json(json::JsonRows),
    Ndjson(json::NdjsonRows),
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::ParquetRows>),
}

impl Rows {
    /// Encodes a record as text: JSON, or the texts of its columns.
    fn write<'t, T: Serialize, L>(
        &mut self,
        record: &T,
        texts: impl FnOnce() -> L,
    ) -> io::Result<()>
    where
        L: AsRef<[Option<Cow<'t, str>>]>,
    {
        match self {
            Self::Csv(rows) => rows.write(texts().as_ref().iter().map(Option::as_deref)),
            Self::Json(rows) => rows.write(record),
            Self::Ndjson(rows) => rows.write(record),
            #[cfg(feature = "parquet")]
            Self::Parquet(_) => Ok(()),
        }
    }
}

impl Encoder {
    /// Starts the encoding: writes the header of the format.
    pub(crate) fn start(
        format: Format,
        records: Records,
        buffer: EncodeBuffer,
    ) -> Result<Self, ExportError> {
        let rows = match format {
            Format::Csv(options) => {
                Rows::Csv(csv::CsvRows::start(options, &records.columns(), buffer)?)
            }
            Format::Json => Rows::Json(json::JsonRows::start(buffer)?),
            Format::Ndjson => Rows::Ndjson(json::NdjsonRows::start(buffer)),
            #[cfg(feature = "parquet")]
            Format::Parquet => {
                let Records::Change(actions) = &records else {
                    return Err(ExportError::FieldsInParquet);
                };
                Rows::Parquet(Box::new(parquet::ParquetRows::start(*actions, buffer)?))
            }
        };
        Ok(Self { records, rows })
    }

    /// Encodes a change.
    pub(crate) fn write(&mut self, entry: &TimelineEntry) -> Result<(), ExportError> {
        let rows = &mut self.rows;
        match &self.records {
            Records::Change(actions) => {
                let record = Record::new(entry, *actions);
                #[cfg(feature = "parquet")]
                if let Rows::Parquet(rows) = rows {
                    return rows.write(&record);
                }
                let texts = || record.texts();
                rows.write(&record, texts).map_err(ExportError::Write)
            }
            Records::Fields(tables) => write_fields(entry, tables, |record| {
                let texts = || record.texts();
                rows.write(record, texts).map_err(ExportError::Write)
            }),
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
