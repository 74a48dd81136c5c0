//! Published checkpoints.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Reason, Summary};
use super::{Stop, VerifyError};
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::key::VerifierKey;
use crate::note::MAX_NOTE_BYTES;

/// The roots of all signed checkpoints of one log, by size.
pub(super) struct Published {
    directory: PathBuf,
    origin: String,
    roots: BTreeMap<u64, Digest>,
    newest_note: Vec<u8>,
}

impl Published {
    /// Reads the checkpoints of some directories and verifies their signatures.
    pub(super) fn read(directories: &[PathBuf], keys: &[VerifierKey]) -> Result<Self, Stop> {
        let mut published = Self {
            directory: directories.first().cloned().unwrap_or_default(),
            origin: String::new(),
            roots: BTreeMap::new(),
            newest_note: Vec::new(),
        };
        for directory in directories {
            for path in checkpoint_files(directory)? {
                let note = read_note(&path)?;
                let checkpoint = Checkpoint::open(&note, keys).map_err(|error| {
                    Finding::new(
                        Reason::SignatureBad,
                        format_args!("{}: {error}", path.display()),
                    )
                })?;
                let is_latest = path.ends_with("checkpoint");
                if !is_latest && !path.ends_with(checkpoint.path()) {
                    let size = checkpoint.size;
                    let detail = format!("{}: the checkpoint is of size {size}", path.display());
                    return Err(Finding::new(Reason::InconsistentCheckpoints, detail).into());
                }
                published.insert(checkpoint, note, &path)?;
            }
        }
        Ok(published)
    }

    pub(super) fn insert(
        &mut self,
        checkpoint: Checkpoint,
        note: Vec<u8>,
        path: &Path,
    ) -> Result<(), Stop> {
        let inconsistent = |detail: String| {
            let detail = format!("{}: {detail}", path.display());
            Stop::from(Finding::new(Reason::InconsistentCheckpoints, detail))
        };
        if self.roots.is_empty() {
            self.origin = checkpoint.origin;
        } else if self.origin != checkpoint.origin {
            let other = &self.origin;
            return Err(inconsistent(format!(
                "another checkpoint is of the log `{other}`"
            )));
        }
        let size = checkpoint.size;
        let is_newest = self
            .roots
            .last_key_value()
            .is_none_or(|(newest, _)| *newest < size);
        if *self.roots.entry(size).or_insert(checkpoint.root) != checkpoint.root {
            return Err(inconsistent(format!(
                "another checkpoint of size {size} has another root: the log was forked"
            )));
        }
        if is_newest {
            self.newest_note = note;
        }
        Ok(())
    }

    /// Adds the checkpoint of an earlier verification. The log must have grown since.
    pub(super) fn compare_state(&mut self, file: &Path, keys: &[VerifierKey]) -> Result<(), Stop> {
        if !file.exists() {
            return Ok(());
        }
        let note = read_note(file)?;
        let earlier = Checkpoint::open(&note, keys).map_err(|_| VerifyError::State {
            path: file.to_owned(),
        })?;
        let newest = self.roots.last_key_value().map_or(0, |(size, _)| *size);
        if newest < earlier.size {
            let detail = format!(
                "the newest checkpoint is of size {newest}, an earlier verification had one of size {}",
                earlier.size
            );
            return Err(Finding::new(Reason::RolledBack, detail).into());
        }
        self.insert(earlier, note, file)
    }

    /// Leaves out the checkpoints above a size.
    pub(super) fn limit(&mut self, size: Option<u64>) -> Result<(), VerifyError> {
        if let Some(size) = size {
            self.roots.retain(|known, _| *known <= size);
        }
        if self.roots.is_empty() {
            return Err(VerifyError::NoCheckpoint {
                path: self.directory.clone(),
            });
        }
        Ok(())
    }

    pub(super) fn checkpoints(&self) -> &BTreeMap<u64, Digest> {
        &self.roots
    }

    /// The note of the newest checkpoint, before checkpoints were left out.
    pub(super) fn newest_note(&self) -> &[u8] {
        &self.newest_note
    }

    /// The summary before anything but signatures is verified.
    pub(super) fn summary(&self) -> Summary {
        let newest = self.roots.last_key_value();
        Summary {
            origin: self.origin.clone(),
            size: newest.map_or(0, |(size, _)| *size),
            root: newest.map_or_else(crate::tree::empty_root, |(_, root)| *root),
            checkpoints: self.roots.len(),
            consistent: self.roots.len() == 1,
            first_leaf: 0,
            records: 0,
            erased: 0,
            removed: 0,
        }
    }
}

/// The files of a directory with checkpoints, in the order of their sizes, and the newest one last.
fn checkpoint_files(directory: &Path) -> Result<Vec<PathBuf>, VerifyError> {
    let folder = directory.join("checkpoints");
    let listed = |error| VerifyError::file(&folder, error);
    let mut files = Vec::new();
    for file in fs::read_dir(&folder).map_err(listed)? {
        let path = file.map_err(listed)?.path();
        let is_checkpoint = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit()));
        if is_checkpoint {
            files.push(path);
        }
    }
    files.sort();
    let latest = directory.join("checkpoint");
    if latest.exists() {
        files.push(latest);
    }
    Ok(files)
}

/// Reads a note; more than the permitted size is read, so that parsing refuses a larger file.
fn read_note(path: &Path) -> Result<Vec<u8>, VerifyError> {
    let mut note = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_NOTE_BYTES as u64 + 1).read_to_end(&mut note))
        .map_err(|error| VerifyError::file(path, error))?;
    Ok(note)
}
