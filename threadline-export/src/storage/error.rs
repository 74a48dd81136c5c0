//! Errors of storages.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::jobs::ErrorCode;

/// The error of a storage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The path of a local storage is not a directory.
    #[error("{} is not a directory: create it first", .0.display())]
    Directory(PathBuf),
    /// The host has no storage of this name.
    #[error("there is no storage `{0}`: add it to the storages of the host")]
    Unknown(String),
    /// The store reported an error.
    #[error("the storage reported an error")]
    Store(#[from] object_store::Error),
    /// The local directory reported an error.
    #[error("the directory of the storage reported an error")]
    Io(#[from] io::Error),
}

impl StorageError {
    /// The code for [`JobFailure`](crate::jobs::JobFailure).
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Directory(_) => ErrorCode::new("storage_directory"),
            Self::Unknown(_) => ErrorCode::new("storage_unknown"),
            Self::Store(error) => error_code(error),
            Self::Io(error) => error_code(error),
        }
    }
}

/// The code of an I/O error that a writer to a store returned.
pub(crate) fn io_code(error: &io::Error) -> ErrorCode {
    error_code(error)
}

fn error_code(error: &(dyn Error + 'static)) -> ErrorCode {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(store) = error.downcast_ref::<object_store::Error>() {
            match store {
                object_store::Error::NotFound { .. } => {
                    return ErrorCode::new("storage_not_found");
                }
                object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. } => {
                    return ErrorCode::new("storage_denied");
                }
                _ => {}
            }
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    return ErrorCode::new("storage_denied");
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    return ErrorCode::new("storage_full");
                }
                _ => {
                    // The error of a store is inside.
                    if let Some(inner) = io.get_ref() {
                        cause = Some(inner);
                        continue;
                    }
                }
            }
        }
        cause = error.source();
    }
    ErrorCode::new("storage_unavailable")
}
