//! Why an export could not be made.

use std::io;
use std::path::PathBuf;

/// An export could not be made. Messages name files and causes, never what the trail holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The database said no, or went away.
    #[error("cannot read the trail")]
    Database(#[from] diesel::result::Error),
    /// What was exported could not be written.
    #[error("cannot write the export")]
    Write(#[source] io::Error),
    /// A file could not be made, completed or put in its place.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The path is a folder, a device or a pipe, which an export would replace by a file.
    #[error("{} is no ordinary file: write to it as a stream instead", .0.display())]
    NotAFile(PathBuf),
    /// Parquet compresses inside, where readers can still skip what they do not need.
    #[cfg(all(feature = "gzip", feature = "parquet"))]
    #[error("Parquet is compressed by itself: leave gzip out")]
    GzippedParquet,
    /// The Parquet writer gave up.
    #[cfg(feature = "parquet")]
    #[error("cannot write Parquet")]
    Parquet(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ExportError {
    /// Whether the reader closed the pipe: it has seen enough, and nothing is wrong.
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
