//! Parquet with typed columns, zstd compression and row groups of limited size.

mod columns;

use std::sync::Arc;

use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use self::columns::Columns;
use crate::buffer::EncodeBuffer;
use crate::error::ExportError;
use crate::format::ActionColumns;
use crate::manifest::Summary;
use crate::record::Record;

/// The metadata key of the summary, whose value is JSON.
const SUMMARY_KEY: &str = "threadline.export";

/// The limits of a row group, which is held in memory in encoded form.
const ROW_GROUP_ROWS: usize = 100_000;
const ROW_GROUP_BYTES: usize = 12 * 1024 * 1024;

/// The limits of a batch of changes, which is held in memory unencoded.
pub(crate) const BATCH_ROWS: usize = 1024;
pub(crate) const BATCH_BYTES: usize = 1024 * 1024;

/// The maximum size of a dictionary; there is one in memory for each column.
const DICTIONARY_BYTES: usize = 128 * 1024;

/// Columns whose values are mostly distinct.
const WITHOUT_DICTIONARY: [&str; 5] = [
    "id",
    "captured_at",
    "table_pk",
    "changed_from",
    "data_after",
];

/// Columns with large values, which are not searched by range.
const WITHOUT_STATISTICS: [&str; 4] = ["table_pk", "changed_from", "data_after", "meta"];

/// The encoder of Parquet. The file's metadata have the summary.
pub(super) struct ParquetRows {
    writer: ArrowWriter<EncodeBuffer>,
    schema: Arc<Schema>,
    columns: Columns,
}

impl ParquetRows {
    pub(super) fn start(actions: ActionColumns, buffer: EncodeBuffer) -> Result<Self, ExportError> {
        let schema = Arc::new(columns::schema(actions));
        let writer = ArrowWriter::try_new(buffer, Arc::clone(&schema), Some(properties()))?;
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

    /// The buffer can be cleared at any time, because the Parquet writer tracks offsets itself.
    pub(super) fn buffer(&mut self) -> &mut EncodeBuffer {
        self.writer.inner_mut()
    }

    pub(super) fn finish(mut self, summary: &Summary) -> Result<EncodeBuffer, ExportError> {
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

/// The properties of all files: compression, and the limits of memory.
pub(crate) fn limited_properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_created_by(concat!("threadline-export ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
}

fn properties() -> WriterProperties {
    let mut properties = limited_properties();
    for column in WITHOUT_DICTIONARY {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    for column in WITHOUT_STATISTICS {
        properties = properties
            .set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::None);
    }
    properties.build()
}
