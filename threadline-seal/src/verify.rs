//! Verification of checkpoints, tiles and sealed exports, without a database and in constant memory.

mod export;
mod finding;
mod lines;
mod proof;
mod published;
mod published_tiles;
mod removals;
mod roots;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use finding::{Answer, Finding, Reason, Summary};
pub use proof::{ProofAnswer, ProofSummary, verify_proof};

use crate::file::replace_file;
use crate::key::VerifierKey;
use export::check_export;
use published::Published;
use published_tiles::PublishedTiles;

/// A verification could not be run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A directory has no checkpoint.
    #[error(
        "{path}: no checkpoint (a file `checkpoints/<20 digits>`) of at most the requested size"
    )]
    NoCheckpoint {
        /// The directory.
        path: PathBuf,
    },
    /// A directory has no export.
    #[error("{path}: no files with the extension `ndjson`")]
    NoExport {
        /// The directory.
        path: PathBuf,
    },
    /// The state is not a checkpoint that one of the keys signed.
    #[error(
        "{path}: not the checkpoint of an earlier verification with these keys; remove the file to begin anew"
    )]
    State {
        /// The file.
        path: PathBuf,
    },
}

impl VerifyError {
    fn file(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}

/// Why a step of a verification ended early.
enum Stop {
    /// Something is wrong with the log.
    Finding(Box<Finding>),
    /// Something could not be read.
    Error(VerifyError),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Finding(Box::new(finding))
    }
}

impl From<VerifyError> for Stop {
    fn from(error: VerifyError) -> Self {
        Self::Error(error)
    }
}

/// What to verify.
///
/// ```no_run
/// use threadline_seal::verify::{Answer, Verification};
///
/// let key = std::fs::read_to_string("trail.vkey")?.trim().parse()?;
/// let answer = Verification::new(vec![key], "published")
///     .export("export.ndjson")
///     .run()?;
/// assert!(matches!(answer, Answer::Verified(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Verification {
    keys: Vec<VerifierKey>,
    published: Vec<PathBuf>,
    export: Option<PathBuf>,
    tiles: Option<PathBuf>,
    state: Option<PathBuf>,
    size: Option<u64>,
}

impl Verification {
    /// Verifies the signatures of the checkpoints in a directory.
    #[must_use]
    pub fn new(keys: Vec<VerifierKey>, published: impl Into<PathBuf>) -> Self {
        Self {
            keys,
            published: vec![published.into()],
            export: None,
            tiles: None,
            state: None,
            size: None,
        }
    }

    /// Also verifies the checkpoints of another directory, which must belong to the same tree.
    #[must_use]
    pub fn published(mut self, directory: impl Into<PathBuf>) -> Self {
        self.published.push(directory.into());
        self
    }

    /// Verifies the records of a sealed export: a file, or the `ndjson` files of a directory in the order of
    /// their names.
    #[must_use]
    pub fn export(mut self, path: impl Into<PathBuf>) -> Self {
        self.export = Some(path.into());
        self
    }

    /// Verifies that all checkpoints belong to the tree of published tiles. With tiles, an export may have a part
    /// of the records.
    #[must_use]
    pub fn tiles(mut self, directory: impl Into<PathBuf>) -> Self {
        self.tiles = Some(directory.into());
        self
    }

    /// Compares with the checkpoint that an earlier verification wrote to a file, and replaces it.
    #[must_use]
    pub fn state(mut self, file: impl Into<PathBuf>) -> Self {
        self.state = Some(file.into());
        self
    }

    /// Verifies as of the newest checkpoint with at most `size` leaves. An export may be older than the newest
    /// checkpoint, or have more leaves: those are not verified, but their removals explain missing records and
    /// fields. Verify the whole export as well.
    #[must_use]
    pub fn size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// Runs the verification.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read. Everything that is wrong with the log is a [`Finding`].
    pub fn run(&self) -> Result<Answer, VerifyError> {
        match self.verify() {
            Ok(summary) => Ok(Answer::Verified(summary)),
            Err(Stop::Finding(finding)) => Ok(Answer::NotVerified(*finding)),
            Err(Stop::Error(error)) => Err(error),
        }
    }

    fn verify(&self) -> Result<Summary, Stop> {
        let mut published = Published::read(&self.published, &self.keys)?;
        if let Some(file) = &self.state {
            published.compare_state(file, &self.keys)?;
        }
        published.limit(self.size)?;
        let mut summary = published.summary();
        let tiles = self
            .tiles
            .as_deref()
            .map(|directory| PublishedTiles::new(directory, summary.size));
        if let Some(tiles) = tiles.clone() {
            tiles.check(published.checkpoints())?;
            summary.consistent = true;
        }
        if let Some(path) = &self.export {
            check_export(path, &published, tiles, self.size, &mut summary)?;
            summary.consistent = true;
        }
        if let Some(file) = &self.state
            && self.size.is_none()
            && (summary.consistent || !file.exists())
        {
            replace_file(file, published.newest_note())
                .map_err(|error| VerifyError::file(file, error))?;
        }
        Ok(summary)
    }
}
