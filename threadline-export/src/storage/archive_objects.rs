//! The objects of an archive.

use std::fs::File;
use std::io::{self, Write as _};

use futures_util::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use sha2::{Digest, Sha256};

use super::{Storage, StorageError};
use crate::output::hexadecimal;

impl Storage {
    /// A local storage creates its directory when it writes: one that was removed or is not mounted is an error
    /// instead.
    pub(crate) fn require_directory(&self) -> Result<(), StorageError> {
        match &self.directory {
            Some(directory) if !directory.is_dir() => {
                Err(StorageError::Directory(directory.clone()))
            }
            _ => Ok(()),
        }
    }

    /// The keys in a directory and below, without the prefix of the storage.
    pub(crate) async fn list(&self, directory: &Path) -> Result<Vec<Path>, StorageError> {
        let objects = self.store.list(Some(&self.full_path(directory)));
        let keys = objects.try_filter_map(async |object| {
            let key = object.location.prefix_match(&self.prefix);
            Ok(key.map(Path::from_iter))
        });
        Ok(keys.try_collect().await?)
    }

    /// Deletes an object. One that does not exist is no error.
    pub(crate) async fn delete(&self, key: &Path) -> Result<(), StorageError> {
        match self.store.delete(&self.full_path(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a range of the bytes of an object.
    pub(crate) async fn get_range(
        &self,
        key: &Path,
        range: std::ops::Range<u64>,
    ) -> object_store::Result<bytes::Bytes> {
        self.store.get_range(&self.full_path(key), range).await
    }

    /// Copies an object to a file, and returns its size and its SHA-256 in hexadecimal.
    pub(crate) async fn download(
        &self,
        key: &Path,
        file: &mut File,
    ) -> Result<(u64, String), StorageError> {
        let mut blocks = self.get(key).await?.into_stream();
        let mut digest = Sha256::new();
        let mut bytes = 0;
        while let Some(block) = blocks.try_next().await? {
            digest.update(&block);
            file.write_all(&block)?;
            bytes += block.len() as u64;
        }
        Ok((bytes, hexadecimal(&digest.finalize())))
    }

    /// Deletes the incomplete files that killed uploads left in a directory of a local storage. They have names such as
    /// `part.parquet#1`, which a list does not have. Other stores delete incomplete uploads by rules of their own.
    pub(crate) fn delete_incomplete(&self, directory: &Path) -> Result<(), StorageError> {
        let Some(root) = &self.directory else {
            return Ok(());
        };
        let entries = match std::fs::read_dir(root.join(self.full_path(directory).as_ref())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let is_incomplete = entry
                .file_name()
                .to_str()
                .and_then(|name| name.rsplit_once('#'))
                .is_some_and(|(_, number)| number.parse::<u32>().is_ok());
            if is_incomplete {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
