//! Errors of the sealer.

use std::io;
use std::path::PathBuf;

use threadline_diesel::evidence::EvidenceError;
use threadline_diesel::feed::FeedError;
use threadline_seal::checkpoint::CheckpointError;
use threadline_seal::key::InvalidKey;
use threadline_seal::record::InvalidRecord;

use crate::connections::PoolError;
#[cfg(feature = "jobs")]
use crate::storage::StorageError;

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
    /// A file in a storage could not be read or written.
    #[cfg(feature = "jobs")]
    #[error("{object}")]
    Storage {
        /// The file.
        object: String,
        /// The cause.
        source: StorageError,
    },
    /// The published checkpoint is malformed.
    #[error("the published file `checkpoint` is not a checkpoint")]
    Published(#[source] CheckpointError),
    /// A published file that never changes has another content.
    #[error("the published file `{0}` is not of this log; it was not replaced")]
    PublishedFileDiffers(String),
    /// The published log is another one.
    #[error(
        "the published checkpoint is of the log `{published}`, the database has `{origin}`: publish to another place"
    )]
    PublishedOrigin {
        /// The origin of the published checkpoint.
        published: String,
        /// The origin of the database's log.
        origin: String,
    },
    /// The published log is not the start of the database's.
    #[error(
        "a checkpoint of size {size} is published, and the database has none with this root: it was restored from an \
         older copy, or its seals were changed. Nothing was signed; after a restore, `seal continue` continues the log under \
         another origin"
    )]
    PublishedDiffers {
        /// The size of the published checkpoint.
        size: u64,
    },
    /// Nothing is published.
    #[error("no checkpoint is published there: pass the place of the earlier checkpoints")]
    NotPublished,
    /// The published log is that of the database.
    #[error(
        "the published checkpoint of size {size} is one of the database's: there is nothing to continue, run the sealer"
    )]
    NothingToContinue {
        /// The size of the published checkpoint.
        size: u64,
    },
    /// A continued log has another origin.
    #[error("`{0}` is the origin of the earlier log: choose another one, such as `{0}/2`")]
    SameOrigin(String),
    /// A record is not sealed, or no checkpoint covers it.
    #[error("{0} is not in a checkpoint: there is no such record, or the sealer must run first")]
    NotSealed(String),
    /// A program did not sign.
    #[error("`{program}` did not sign: {reason}")]
    SignCommand {
        /// The program.
        program: String,
        /// What is wrong.
        reason: String,
    },
    /// The pool has no connection.
    #[error("cannot take a connection")]
    Pool(#[source] PoolError),
    /// Evidence could not be recorded.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
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
    /// The kind of the error, for telemetry.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NotBegun => "not_begun",
            Self::OtherKey { .. } | Self::Key(_) => "key",
            Self::SignCommand { .. } => "sign_command",
            Self::File { .. } => "file",
            #[cfg(feature = "jobs")]
            Self::Storage { .. } => "storage",
            Self::Published(_)
            | Self::PublishedFileDiffers(_)
            | Self::PublishedOrigin { .. }
            | Self::PublishedDiffers { .. } => "published_differs",
            Self::State(_) => "state",
            Self::Fields | Self::Record { .. } => "record",
            Self::Feed(_) => "feed",
            Self::Pool(_) => "no_connection",
            Self::Database(_) => "database",
            _ => "other",
        }
    }

    #[cfg(feature = "jobs")]
    pub(super) fn storage(object: &str, source: StorageError) -> Self {
        Self::Storage {
            object: object.to_owned(),
            source,
        }
    }

    pub(super) fn file(path: &std::path::Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}
