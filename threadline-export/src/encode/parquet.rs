//! Parquet: typed columns, zstd, row groups of bounded size.

mod columns;

use std::sync::Arc;

use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use self::columns::Columns;
use crate::error::ExportError;
use crate::format::ActionColumns;
use crate::manifest::Summary;
use crate::record::Record;
use crate::sink::Sink;

/// Under this key the file's metadata hold the summary, as JSON.
const SUMMARY_KEY: &str = "threadline.export";

/// A row group is held in memory, encoded, until it is full.
const ROW_GROUP_ROWS: usize = 100_000;
const ROW_GROUP_BYTES: usize = 12 * 1024 * 1024;

/// Changes are held in memory as they are until there are so many.
const BATCH_ROWS: usize = 1024;
const BATCH_BYTES: usize = 1024 * 1024;

/// There is a dictionary in memory for each column.
const DICTIONARY_BYTES: usize = 128 * 1024;

/// Columns whose values hardly repeat.
const WITHOUT_DICTIONARY: [&str; 5] = [
    "id",
    "captured_at",
    "table_pk",
    "changed_from",
    "data_after",
];

/// Columns nobody looks for by range, whose extremes are large.
const WITHOUT_STATISTICS: [&str; 4] = ["table_pk", "changed_from", "data_after", "meta"];

/// A file whose metadata say what is in it.
pub(super) struct ParquetRows {
    writer: ArrowWriter<Sink>,
    schema: Arc<Schema>,
    columns: Columns,
}

impl ParquetRows {
    pub(super) fn start(actions: ActionColumns, sink: Sink) -> Result<Self, ExportError> {
        let schema = Arc::new(columns::schema(actions));
        let writer = ArrowWriter::try_new(sink, Arc::clone(&schema), Some(properties()))?;
        Ok(Self {
            writer,
            schema,
            columns: Columns::new(actions),
        })
    }

    pub(super) fn write(&mut self, record: &Record<'_>) -> Result<(), ExportError> {
        self.columns.push(record);
        if self.columns.rows() >= BATCH_ROWS || self.columns.bytes() >= BATCH_BYTES {
            self.write_batch()?;
        }
        Ok(())
    }

    /// The writer counts what it wrote by itself, so what has arrived may be taken away.
    pub(super) fn sink(&mut self) -> &mut Sink {
        self.writer.inner_mut()
    }

    pub(super) fn finish(mut self, summary: &Summary) -> Result<Sink, ExportError> {
        self.write_batch()?;
        let summary = serde_json::to_string(summary).map_err(std::io::Error::from);
        self.writer.append_key_value_metadata(KeyValue::new(
            SUMMARY_KEY.to_owned(),
            summary.map_err(ExportError::Write)?,
        ));
        Ok(self.writer.into_inner()?)
    }

    fn write_batch(&mut self) -> Result<(), ExportError> {
        if self.columns.rows() == 0 {
            return Ok(());
        }
        let batch = self.columns.take(&self.schema);
        let batch = batch.map_err(|error| ExportError::Parquet(Box::new(error)))?;
        self.writer.write(&batch)?;
        Ok(())
    }
}

fn properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("threadline-export ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES);
    for column in WITHOUT_DICTIONARY {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    for column in WITHOUT_STATISTICS {
        properties = properties
            .set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::None);
    }
    properties.build()
}
