//! The codes of errors of storages.

use std::error::Error;
use std::io;

use super::lease::ErrorCode;
use crate::storage::StorageError;

/// The code of an error of a storage.
pub(super) fn storage_code(error: &StorageError) -> ErrorCode {
    match error {
        StorageError::Directory(_) => ErrorCode::new("storage_directory"),
        StorageError::Unknown(_) => ErrorCode::new("storage_unknown"),
        StorageError::Store(error) => error_code(error),
        StorageError::Io(error) => error_code(error),
    }
}

/// The code of an I/O error that a writer to a store returned.
pub(super) fn io_code(error: &io::Error) -> ErrorCode {
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
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => {
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
