//! Encoding records as Parquet.

use std::fs::File;
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Encoding;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use threadline_seal::instant::parse_micros;

use super::ArchiveError;
use super::columns::{LEAF_COLUMN, SECRET_COLUMN, schema};
use super::layout::ArchiveKind;
use super::read::{ArchivedRecord, instant_text};
use crate::encode::parquet::{BATCH_BYTES, BATCH_ROWS, limited_properties};
use crate::output::hexadecimal;

/// Columns of ascending numbers, stored as differences.
const ASCENDING: [&str; 4] = ["captured_at", "occurred_at", "recorded_at", LEAF_COLUMN];

/// Columns whose values are mostly distinct and large, which are not searched by range.
const LARGE: [&str; 7] = [
    "table_pk",
    "data_after",
    "changed_from",
    "context",
    "meta",
    "fields",
    SECRET_COLUMN,
];

/// The columns that engines search for one value.
fn searched(kind: ArchiveKind) -> &'static [&'static str] {
    match kind {
        ArchiveKind::Changes => &["row_key", "transaction_id"],
        ArchiveKind::Transactions => &["id", "correlation_id"],
        ArchiveKind::Actions => &["correlation_id"],
        ArchiveKind::Records => &[],
    }
}

/// The greatest number of distinct values of a row group: the size of a Bloom filter before it is shrunk.
const SEARCHED_VALUES: u64 = 100_000;

/// A local file of records.
pub(super) struct RecordWriter {
    writer: ArrowWriter<BufWriter<File>>,
    schema: Arc<Schema>,
    builders: Vec<Builder>,
    batch_rows: usize,
    batch_bytes: usize,
}

impl RecordWriter {
    pub(super) fn create(kind: ArchiveKind) -> Result<Self, ArchiveError> {
        let file = tempfile::tempfile().map_err(ArchiveError::TemporaryFile)?;
        let schema = schema(kind);
        let writer = ArrowWriter::try_new(
            BufWriter::new(file),
            Arc::clone(&schema),
            Some(properties(kind)),
        );
        Ok(Self {
            writer: writer.map_err(ArchiveError::Parquet)?,
            builders: schema
                .fields()
                .iter()
                .map(|field| Builder::new(field.data_type()))
                .collect(),
            schema,
            batch_rows: 0,
            batch_bytes: 0,
        })
    }

    pub(super) fn write(&mut self, record: &ArchivedRecord) -> Result<(), ArchiveError> {
        let leaf = record.leaf.to_string();
        let secret = record
            .secret
            .as_ref()
            .map(|secret| hexadecimal(secret.as_bytes()));
        let values = record.values.iter().map(Option::as_deref);
        let all = values.chain([Some(leaf.as_str()), secret.as_deref()]);
        for (builder, value) in self.builders.iter_mut().zip(all) {
            self.batch_bytes += value.map_or(0, str::len);
            builder.push(value);
        }
        self.batch_rows += 1;
        if self.batch_rows >= BATCH_ROWS || self.batch_bytes >= BATCH_BYTES {
            self.write_batch()?;
        }
        Ok(())
    }

    /// The complete file, at its start.
    pub(super) fn finish(mut self) -> Result<File, ArchiveError> {
        self.write_batch()?;
        let mut buffered = self.writer.into_inner().map_err(ArchiveError::Parquet)?;
        buffered.flush().map_err(ArchiveError::TemporaryFile)?;
        let mut file = buffered
            .into_inner()
            .map_err(|error| ArchiveError::TemporaryFile(error.into_error()))?;
        file.seek(SeekFrom::Start(0))
            .map_err(ArchiveError::TemporaryFile)?;
        Ok(file)
    }

    fn write_batch(&mut self) -> Result<(), ArchiveError> {
        if self.batch_rows == 0 {
            return Ok(());
        }
        let arrays = self.builders.iter_mut().map(Builder::take).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays);
        let batch = batch.map_err(|error: ArrowError| ArchiveError::Parquet(error.into()))?;
        self.batch_rows = 0;
        self.batch_bytes = 0;
        self.writer.write(&batch).map_err(ArchiveError::Parquet)
    }
}

fn properties(kind: ArchiveKind) -> WriterProperties {
    let mut properties = limited_properties();
    for field in schema(kind).fields() {
        let name = field.name().as_str();
        let column = ColumnPath::from(name);
        let is_id = name.ends_with("id") && *field.data_type() == DataType::Int64;
        if ASCENDING.contains(&name) || is_id {
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if LARGE.contains(&name) {
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column.clone(), EnabledStatistics::None);
        }
        if searched(kind).contains(&name) {
            properties = properties
                .set_column_bloom_filter_enabled(column.clone(), true)
                .set_column_bloom_filter_max_ndv(column, SEARCHED_VALUES);
        }
    }
    properties.build()
}

/// The builder of a column.
enum Builder {
    Number(Int64Builder),
    Instant(TimestampMicrosecondBuilder),
    Text(StringBuilder),
}

impl Builder {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int64 => Self::Number(Int64Builder::new()),
            DataType::Timestamp(..) => {
                Self::Instant(TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()))
            }
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// Appends a value. The text of another type becomes null, which a required column refuses.
    fn push(&mut self, value: Option<&str>) {
        match self {
            Self::Number(numbers) => numbers.append_option(value.and_then(|it| it.parse().ok())),
            Self::Instant(instants) => instants.append_option(value.and_then(micros)),
            Self::Text(texts) => texts.append_option(value),
        }
    }

    fn take(&mut self) -> ArrayRef {
        match self {
            Self::Number(numbers) => Arc::new(numbers.finish()),
            Self::Instant(instants) => Arc::new(instants.finish()),
            Self::Text(texts) => Arc::new(texts.finish()),
        }
    }
}

/// The microseconds of an instant whose text is read back as the same.
fn micros(text: &str) -> Option<i64> {
    parse_micros(text).filter(|micros| instant_text(*micros) == text)
}
