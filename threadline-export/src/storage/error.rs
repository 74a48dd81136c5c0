//! Errors of storages.

use std::io;
use std::path::PathBuf;

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
