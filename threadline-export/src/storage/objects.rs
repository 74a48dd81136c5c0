//! The objects of jobs: `exports/<job>/<attempt>/<file name>`, and `<file name>.manifest.json` beside it.

use std::io;
#[cfg(feature = "cloud")]
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
#[cfg(feature = "cloud")]
use object_store::signer::Method;
use object_store::{GetResult, ObjectStoreExt, PutMode, PutPayload};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Storage, StorageError, Storages};
use crate::output::hexadecimal;

/// The size of a part of an upload. Stores accept 10,000 parts, so a file has at most 78 GiB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// The number of parts that are uploaded at once.
const PARTS_AT_ONCE: usize = 2;

/// The key of a job's objects, without the prefix of the storage.
fn job_path(job: Uuid) -> Path {
    Path::from_iter(["exports".to_owned(), job.to_string()])
}

/// The key of the objects of an attempt, without the prefix of the storage.
pub(crate) fn attempt_path(job: Uuid, attempt: i32) -> Path {
    job_path(job).join(attempt.to_string())
}

/// The number of the attempt in a key.
fn attempt_number(path: &Path, job: &Path) -> Option<i32> {
    path.prefix_match(job)?.next()?.as_ref().parse().ok()
}

impl Storages {
    pub(crate) fn find(&self, name: &str) -> Result<&Storage, StorageError> {
        self.get(name)
            .ok_or_else(|| StorageError::Unknown(name.to_owned()))
    }
}

impl Storage {
    pub(super) fn full_path(&self, key: &Path) -> Path {
        self.prefix.parts().chain(key.parts()).collect()
    }

    /// A writer that uploads an object in parts. The object exists when the writer is shut down.
    pub(crate) fn writer(&self, key: &Path) -> BufWriter {
        BufWriter::with_capacity(self.store.clone(), self.full_path(key), PART_BYTES)
            .with_max_concurrency(PARTS_AT_ONCE)
    }

    pub(crate) async fn put(&self, key: &Path, bytes: Vec<u8>) -> Result<(), StorageError> {
        let payload = PutPayload::from(bytes);
        self.store.put(&self.full_path(key), payload).await?;
        Ok(())
    }

    pub(crate) async fn get(&self, key: &Path) -> Result<GetResult, StorageError> {
        Ok(self.store.get(&self.full_path(key)).await?)
    }

    /// Writes an object that does not exist yet; returns false if it exists.
    #[cfg(feature = "seal")]
    pub(crate) async fn create(&self, key: &Path, bytes: Vec<u8>) -> Result<bool, StorageError> {
        let (path, payload) = (self.full_path(key), PutPayload::from(bytes));
        match self
            .store
            .put_opts(&path, payload, PutMode::Create.into())
            .await
        {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a small object; none if it does not exist.
    #[cfg(feature = "seal")]
    pub(crate) async fn read(&self, key: &Path) -> Result<Option<Vec<u8>>, StorageError> {
        match self.store.get(&self.full_path(key)).await {
            Ok(object) => Ok(Some(object.bytes().await?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads an object and returns its size and its SHA-256 in hexadecimal.
    pub(crate) async fn read_digest(&self, key: &Path) -> Result<(u64, String), StorageError> {
        let mut blocks = self.get(key).await?.into_stream();
        let mut digest = Sha256::new();
        let mut bytes = 0;
        while let Some(block) = blocks.try_next().await? {
            digest.update(&block);
            bytes += block.len() as u64;
        }
        Ok((bytes, hexadecimal(&digest.finalize())))
    }

    /// A URL that downloads an object without credentials; none if the storage has no signer.
    #[cfg(feature = "cloud")]
    pub(crate) async fn signed_url(
        &self,
        key: &Path,
        valid_for: Duration,
    ) -> Result<Option<String>, StorageError> {
        let Some(signer) = &self.signer else {
            return Ok(None);
        };
        let url = signer
            .signed_url(Method::GET, &self.full_path(key), valid_for)
            .await?;
        Ok(Some(url.to_string()))
    }

    /// Deletes the objects of the attempts of a job before one. Numbers of attempts only grow, so a worker that lost
    /// its lease does not delete what a later attempt wrote.
    pub(crate) async fn delete_attempts(&self, job: Uuid, before: i32) -> Result<(), StorageError> {
        let full = self.full_path(&job_path(job));
        let objects: Vec<_> = self.store.list(Some(&full)).try_collect().await?;
        let deleted: Vec<_> = objects
            .into_iter()
            .map(|object| object.location)
            .filter(|path| attempt_number(path, &full).is_some_and(|number| number < before))
            .map(Ok)
            .collect();
        let mut results = self
            .store
            .delete_stream(futures_util::stream::iter(deleted).boxed());
        while let Some(result) = results.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let directory = directory.join(full.as_ref());
        let deleted = tokio::task::spawn_blocking(move || delete_directories(&directory, before));
        deleted.await.map_err(io::Error::other)??;
        Ok(())
    }
}

/// Deletes what a list of a local storage does not have: empty directories and incomplete files of killed
/// workers.
fn delete_directories(job: &std::path::Path, before: i32) -> io::Result<()> {
    let entries = match std::fs::read_dir(job) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let mut is_empty = true;
    for entry in entries {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok());
        if number.is_some_and(|number| number < before) {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            is_empty = false;
        }
    }
    if is_empty {
        std::fs::remove_dir(job)?;
    }
    Ok(())
}
