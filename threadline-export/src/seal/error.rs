//! Errors of the sealer.

use std::io;
use std::path::PathBuf;

use threadline_diesel::feed::FeedError;
use threadline_seal::checkpoint::CheckpointError;
use threadline_seal::key::InvalidKey;
use threadline_seal::record::InvalidRecord;

/// The error of the sealer. Messages have no values from the trail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The log has not begun.
    #[error("the trail has no log of seals: begin it first")]
    NotBegun,
    /// The log has begun already.
    #[error("the trail has a log of seals already")]
    AlreadyBegun,
    /// The name of the consumer is not valid.
    #[error("`threadline.seal` is not the name of a consumer")]
    Consumer,
    /// A record has malformed fields.
    #[error("a record cannot be sealed: its fields are not an object of texts")]
    Fields,
    /// A record cannot be sealed.
    #[error("the record {id} cannot be sealed")]
    Record {
        /// The id of the record.
        id: i64,
        /// The cause.
        source: InvalidRecord,
    },
    /// The state of the log is malformed.
    #[error("{0} of the log of seals is malformed: it was changed by hand, or restored in part")]
    State(&'static str),
    /// Random bytes are not available.
    #[error("the operating system has no random bytes")]
    Random(#[from] getrandom::Error),
    /// A key is malformed.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The key has another name.
    #[error("the log is `{origin}`, the key is of `{key}`")]
    OtherKey {
        /// The origin of the log.
        origin: String,
        /// The name of the key.
        key: String,
    },
    /// Other users can read the key.
    #[error("{} can be read by other users (mode {mode:03o}): chmod 600", path.display())]
    ExposedKey {
        /// The file with the key.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The environment variable is not set.
    #[error("the environment variable `{0}` has no key")]
    NoKeyVariable(String),
    /// A file could not be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The published checkpoint is malformed.
    #[error("{}: not a checkpoint", path.display())]
    Published {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: CheckpointError,
    },
    /// The published log is not the start of the database's.
    #[error(
        "a checkpoint of size {size} is published, and the database has none with this root: it was restored from an \
         older copy, or its seals were changed. Nothing was signed; the guide on seals says how to begin a new log"
    )]
    PublishedDiffers {
        /// The size of the published checkpoint.
        size: u64,
    },
    /// The writer failed.
    #[error("cannot write the export")]
    Write(#[source] io::Error),
    /// No checkpoint is signed.
    #[error("no checkpoint is signed yet: an export has the records of the newest checkpoint")]
    NoCheckpoint,
    /// Records were removed or erased, and what explains it is not in a checkpoint yet.
    #[error(
        "records were removed or erased after the newest checkpoint: run the sealer first, which seals the reason"
    )]
    UnsealedRemovals,
    /// The feed returned an error.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The database returned an error.
    #[error("the log of seals cannot be read or written")]
    Database(#[from] diesel::result::Error),
}

impl SealError {
    pub(super) fn file(path: &std::path::Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}
