//! Errors of exports.

use std::io;
use std::path::PathBuf;

/// The error of an export. Messages have no values from the trail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A query failed or the connection was lost.
    #[error("cannot read the trail")]
    Database(#[from] diesel::result::Error),
    /// The writer failed.
    #[error("cannot write the export")]
    Write(#[source] io::Error),
    /// A file could not be created, written or renamed.
    #[error("cannot write {}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The path is not a regular file but a directory, device or pipe.
    #[error("{} is not a regular file: export to it as a stream instead", .0.display())]
    NotAFile(PathBuf),
    /// The export is Parquet with gzip. Parquet files are compressed internally.
    #[cfg(all(feature = "gzip", feature = "parquet"))]
    #[error("Parquet files are compressed internally: remove gzip")]
    GzippedParquet,
    /// The export has one record for each field and is Parquet, which has the images as documents.
    #[cfg(feature = "parquet")]
    #[error(
        "records of single fields are for CSV, JSON and NDJSON: choose another format than Parquet"
    )]
    FieldsInParquet,
    /// The Parquet encoder failed.
    #[cfg(feature = "parquet")]
    #[error("cannot write Parquet")]
    Parquet(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ExportError {
    /// Whether the reader closed the pipe, which most programs treat as success.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

#[cfg(feature = "parquet")]
impl From<parquet::errors::ParquetError> for ExportError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        use parquet::errors::ParquetError::External;
        match error {
            External(cause) => match cause.downcast::<io::Error>() {
                Ok(cause) => Self::Write(*cause),
                Err(cause) => Self::Parquet(cause),
            },
            other => Self::Parquet(Box::new(other)),
        }
    }
}
