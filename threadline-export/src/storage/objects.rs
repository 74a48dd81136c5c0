//! The objects of jobs: `exports/<job>/<attempt>/<file name>`, and `<file name>.manifest.json` beside it.

use std::io;
#[cfg(feature = "cloud")]
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
#[cfg(feature = "cloud")]
use object_store::signer::Method;
use object_store::{GetResult, ObjectStoreExt, PutPayload};
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
    fn full_path(&self, key: &Path) -> Path {
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

    /// Deletes the objects of a job, except those of an attempt.
    pub(crate) async fn delete_attempts(
        &self,
        job: Uuid,
        except: Option<i32>,
    ) -> Result<(), StorageError> {
        let job_key = job_path(job);
        let full = self.full_path(&job_key);
        let is_deleted = |path: &Path| except.is_none() || attempt_number(path, &full) != except;
        let objects: Vec<_> = self.store.list(Some(&full)).try_collect().await?;
        let deleted: Vec<_> = objects
            .into_iter()
            .map(|object| object.location)
            .filter(|path| is_deleted(path))
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
        self.delete_directories(&job_key, except)
    }

    /// Deletes what a list of a local storage does not have: empty directories and incomplete files of killed
    /// workers.
    fn delete_directories(&self, job_key: &Path, except: Option<i32>) -> Result<(), StorageError> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let directory = directory.join(self.full_path(job_key).as_ref());
        let removed = match except {
            None => std::fs::remove_dir_all(&directory),
            Some(attempt) => std::fs::read_dir(&directory).and_then(|entries| {
                for entry in entries {
                    let entry = entry?;
                    if entry.file_name().to_str() != Some(attempt.to_string().as_str()) {
                        std::fs::remove_dir_all(entry.path())?;
                    }
                }
                Ok(())
            }),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
