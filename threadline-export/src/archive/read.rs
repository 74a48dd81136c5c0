//! Reading the files of an archive.

use std::fs::File;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};
use object_store::path::Path;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use threadline_seal::digest::decode_hex;
use threadline_seal::field::Secret;
use threadline_seal::instant::format_micros;

use super::columns::{columns, schema};
use super::layout::{ArchiveFile, ArchiveKind};
use super::{ArchiveError, FileFault};
use crate::storage::{Storage, StorageError};

/// The number of records in memory.
const BATCH_ROWS: usize = 256;

/// A row of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchivedRecord {
    /// The index of its leaf in the log of seals.
    pub leaf: i64,
    /// The secret of its leaf; none if fields of it were erased before the file was written.
    pub secret: Option<Secret>,
    /// The texts of its columns, in the order of [`columns`](fn@super::columns): as PostgreSQL prints them, and instants as
    /// `2026-11-21T09:30:00.000001Z`, `infinity` or `-infinity`. All of them can be cast to the types of the
    /// table's columns.
    pub values: Vec<Option<String>>,
}

/// The records of a file, in its order. 256 of them are in memory.
pub struct FileRecords {
    object: String,
    kind: ArchiveKind,
    batches: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    row: usize,
}

impl std::fmt::Debug for FileRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileRecords")
            .field("object", &self.object)
            .finish_non_exhaustive()
    }
}

impl FileRecords {
    /// Downloads a file to a temporary one, and compares size and digest with the manifest.
    ///
    /// # Errors
    /// [`ArchiveError::BadFile`] if they differ, or if the file does not exist or is not one of an archive;
    /// [`ArchiveError::Storage`].
    pub async fn open(storage: &Storage, file: &ArchiveFile) -> Result<Self, ArchiveError> {
        let bad = |fault| ArchiveError::BadFile {
            object: file.object.clone(),
            fault,
        };
        let mut copy = tempfile::tempfile().map_err(ArchiveError::TemporaryFile)?;
        let key = Path::from(file.object.as_str());
        let (bytes, sha256) = match storage.download(&key, &mut copy).await {
            Err(StorageError::Store(object_store::Error::NotFound { .. })) => {
                return Err(bad(FileFault::Missing));
            }
            other => other?,
        };
        if bytes != file.bytes {
            return Err(bad(FileFault::OtherSize {
                bytes,
                expected: file.bytes,
            }));
        }
        if sha256 != file.sha256 {
            return Err(bad(FileFault::OtherDigest));
        }
        Self::read(copy, file)
    }

    /// Reads the records of a local file.
    fn read(copy: File, file: &ArchiveFile) -> Result<Self, ArchiveError> {
        let object = file.object.clone();
        let unreadable = |error: &dyn std::fmt::Display| ArchiveError::BadFile {
            object: object.clone(),
            fault: FileFault::Unreadable(error.to_string()),
        };
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(copy).map_err(|error| unreadable(&error))?;
        check_schema(file.kind, builder.schema()).map_err(|error| unreadable(&error))?;
        let batches = builder.with_batch_size(BATCH_ROWS).build();
        Ok(Self {
            batches: batches.map_err(|error| unreadable(&error))?,
            object,
            kind: file.kind,
            batch: None,
            row: 0,
        })
    }

    /// Up to a number of records; none at the end.
    ///
    /// # Errors
    /// [`ArchiveError::BadFile`] if the file cannot be decoded.
    pub fn next_batch(&mut self, rows: usize) -> Result<Vec<ArchivedRecord>, ArchiveError> {
        self.by_ref().take(rows).collect()
    }

    fn next_record(&mut self) -> Result<Option<ArchivedRecord>, String> {
        loop {
            if let Some(batch) = &self.batch
                && self.row < batch.num_rows()
            {
                self.row += 1;
                return decode_row(self.kind, batch, self.row - 1).map(Some);
            }
            match self.batches.next() {
                None => return Ok(None),
                Some(batch) => self.batch = Some(batch.map_err(|error| error.to_string())?),
            }
            self.row = 0;
        }
    }
}

impl Iterator for FileRecords {
    type Item = Result<ArchivedRecord, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.next_record().map_err(|reason| ArchiveError::BadFile {
            object: self.object.clone(),
            fault: FileFault::Unreadable(reason),
        });
        record.transpose()
    }
}

/// Checks that a file has the columns of its kind.
pub(super) fn check_schema(kind: ArchiveKind, found: &Schema) -> Result<(), String> {
    let expected = schema(kind);
    let describe = |schema: &Schema| -> Vec<(String, DataType)> {
        let column = |field: &std::sync::Arc<arrow_schema::Field>| {
            (field.name().clone(), field.data_type().clone())
        };
        schema.fields().iter().map(column).collect()
    };
    if describe(found) == describe(&expected) {
        Ok(())
    } else {
        Err(format!("its columns are not those of {kind}"))
    }
}

/// The record of a row.
pub(super) fn decode_row(
    kind: ArchiveKind,
    batch: &RecordBatch,
    row: usize,
) -> Result<ArchivedRecord, String> {
    let count = columns(kind).len();
    let text = |index: usize| text_of(batch.column(index), row);
    let values = (0..count).map(text).collect();
    let leaf = text(count)
        .and_then(|leaf| leaf.parse().ok())
        .ok_or("a record has no leaf")?;
    let secret = match text(count + 1) {
        None => None,
        Some(digits) => Some(parse_secret(&digits).ok_or("a record has a malformed secret")?),
    };
    Ok(ArchivedRecord {
        leaf,
        secret,
        values,
    })
}

pub(super) fn text_of(column: &ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    if let Some(texts) = column.as_string_opt::<i32>() {
        return Some(texts.value(row).to_owned());
    }
    if let Some(numbers) = column.as_primitive_opt::<Int64Type>() {
        return Some(numbers.value(row).to_string());
    }
    let instants = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some(instant_text(instants.value(row)))
}

/// An instant as it is sealed. Years after 9999 have no sign there.
pub(super) fn instant_text(micros: i64) -> String {
    match micros {
        i64::MAX => String::from("infinity"),
        i64::MIN => String::from("-infinity"),
        _ => format_micros(micros).trim_start_matches('+').to_owned(),
    }
}

/// A secret from 32 lower-case digits.
fn parse_secret(digits: &str) -> Option<Secret> {
    decode_hex(digits).map(Secret::from_bytes)
}
