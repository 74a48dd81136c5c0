//! The place where a log is published.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use threadline_seal::file::{create_file, replace_file};

use super::SealError;
#[cfg(feature = "jobs")]
use crate::storage::Storage;

/// Where checkpoints are published, and tiles if they are: one place for each log, which other places copy.
///
/// The files are those of C2SP tlog-tiles, and `checkpoints/<size in 20 digits>`. Only `checkpoint`, the newest one,
/// is replaced.
///
/// ```
/// use threadline_export::seal::Publication;
///
/// let publication = Publication::directory("published").with_tiles();
/// # let _ = publication;
/// ```
#[derive(Debug, Clone)]
pub struct Publication {
    place: Place,
    tiles: bool,
}

#[derive(Debug, Clone)]
enum Place {
    Directory(PathBuf),
    #[cfg(feature = "jobs")]
    Storage(Storage),
}

impl Publication {
    /// A directory, which is created when the first checkpoint is published.
    #[must_use]
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self {
            place: Place::Directory(path.into()),
            tiles: false,
        }
    }

    /// A storage, with a prefix of its own.
    #[cfg(feature = "jobs")]
    #[must_use]
    pub fn storage(storage: Storage) -> Self {
        Self {
            place: Place::Storage(storage),
            tiles: false,
        }
    }

    /// Also publishes the tiles of the tree and the bundles of its entries. They have no values, but tell when
    /// records were written, and which of them are of the same table: publish them for auditors only.
    #[must_use]
    pub fn with_tiles(mut self) -> Self {
        self.tiles = true;
        self
    }

    pub(super) fn has_tiles(&self) -> bool {
        self.tiles
    }

    /// Reads a file; none if it does not exist.
    pub(super) async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SealError> {
        match &self.place {
            Place::Directory(directory) => {
                let path = directory.join(path);
                match fs::read(&path) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(SealError::file(&path, error)),
                }
            }
            #[cfg(feature = "jobs")]
            Place::Storage(storage) => {
                let read = storage.read(&path.into()).await;
                read.map_err(|source| SealError::storage(path, source))
            }
        }
    }

    /// Writes a file that does not exist yet. One with the same content is left as it is.
    pub(super) async fn create(&self, path: &str, bytes: &[u8]) -> Result<(), SealError> {
        let created = match &self.place {
            Place::Directory(directory) => {
                let path = directory.join(path);
                create_directory_of(&path)?;
                match create_file(&path, bytes) {
                    Ok(()) => true,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                    Err(error) => return Err(SealError::file(&path, error)),
                }
            }
            #[cfg(feature = "jobs")]
            Place::Storage(storage) => storage
                .create(&path.into(), bytes.to_vec())
                .await
                .map_err(|source| SealError::storage(path, source))?,
        };
        if created || self.read(path).await?.as_deref() == Some(bytes) {
            Ok(())
        } else {
            Err(SealError::PublishedFileDiffers(path.to_owned()))
        }
    }

    /// Writes a file or replaces it.
    pub(super) async fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), SealError> {
        match &self.place {
            Place::Directory(directory) => {
                let path = directory.join(path);
                create_directory_of(&path)?;
                replace_file(&path, bytes).map_err(|error| SealError::file(&path, error))
            }
            #[cfg(feature = "jobs")]
            Place::Storage(storage) => storage
                .put(&path.into(), bytes.to_vec())
                .await
                .map_err(|source| SealError::storage(path, source)),
        }
    }
}

fn create_directory_of(path: &Path) -> Result<(), SealError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(|error| SealError::file(directory, error))
}
