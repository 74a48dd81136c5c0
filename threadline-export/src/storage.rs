//! Storages: where background jobs write their files.
//!
//! A job names its storage; the host's code connects names with stores and their credentials. A store is a
//! local directory or any store of the crate [`object_store`], which this module re-exports.

#[cfg(feature = "archive")]
mod archive_objects;
mod error;
mod objects;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use object_store;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
#[cfg(feature = "cloud")]
use object_store::signer::Signer;

pub use self::error::StorageError;
pub(crate) use self::objects::attempt_path;

/// The stores that jobs can write to, by name.
///
/// ```no_run
/// use threadline_export::storage::Storages;
///
/// let storages = Storages::local("/var/lib/app/exports")?;
/// assert!(storages.get("local").is_some());
/// # Ok::<(), threadline_export::storage::StorageError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Storages {
    by_name: BTreeMap<String, Storage>,
}

impl Storages {
    /// The name of the storage of [`local`](Self::local).
    pub const LOCAL: &str = "local";

    /// No storages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One storage named `local` in a directory.
    ///
    /// # Errors
    /// As [`Storage::local`].
    pub fn local(directory: impl Into<PathBuf>) -> Result<Self, StorageError> {
        Ok(Self::new().with(Self::LOCAL, Storage::local(directory)?))
    }

    /// Adds a storage, or replaces the one of this name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, storage: Storage) -> Self {
        self.by_name.insert(name.into(), storage);
        self
    }

    /// The storage of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Storage> {
        self.by_name.get(name)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Whether there are no storages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// A store with a prefix of its object keys.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    #[cfg(feature = "cloud")]
    signer: Option<Arc<dyn Signer>>,
    directory: Option<PathBuf>,
}

impl Storage {
    /// A store, without prefix and signed URLs.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use threadline_export::storage::Storage;
    /// use threadline_export::storage::object_store::memory::InMemory;
    ///
    /// let storage = Storage::new(Arc::new(InMemory::new())).prefix("audit");
    /// # let _ = storage;
    /// ```
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            prefix: Path::default(),
            #[cfg(feature = "cloud")]
            signer: None,
            directory: None,
        }
    }

    /// A directory, which must exist. Files are synced to disk and renamed when they are complete. Their mode is that of
    /// the process's umask: create the directory with mode 0700.
    ///
    /// # Errors
    /// [`StorageError::Directory`] if the path is not a directory.
    pub fn local(directory: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let directory = directory.into();
        if !directory.is_dir() {
            return Err(StorageError::Directory(directory));
        }
        let store = LocalFileSystem::new_with_prefix(&directory)?.with_fsync(true);
        Ok(Self {
            directory: Some(directory),
            ..Self::new(Arc::new(store))
        })
    }

    /// Sets the prefix of object keys.
    #[must_use]
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Self {
        self.prefix = Path::from(prefix.as_ref());
        self
    }

    /// Downloads are URLs that this signer signs: the store itself, for Amazon S3, Google Cloud Storage and
    /// Azure Blob Storage.
    ///
    /// ```
    /// # #[cfg(feature = "aws")] {
    /// use std::sync::Arc;
    /// use threadline_export::storage::Storage;
    /// use threadline_export::storage::object_store::aws::AmazonS3Builder;
    ///
    /// // Credentials and region come from the environment: `AWS_ACCESS_KEY_ID` and the like.
    /// let store = AmazonS3Builder::from_env()
    ///     .with_bucket_name("audit-exports")
    ///     // Only for a service in your own network that is compatible with S3.
    ///     .with_endpoint("http://minio.internal:9000")
    ///     .with_allow_http(true)
    ///     .build()?;
    /// let store = Arc::new(store);
    /// let storage = Storage::new(store.clone()).signer(store);
    /// # }
    /// # Ok::<(), threadline_export::storage::object_store::Error>(())
    /// ```
    #[cfg(feature = "cloud")]
    #[must_use]
    pub fn signer(mut self, signer: Arc<dyn Signer>) -> Self {
        self.signer = Some(signer);
        self
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
