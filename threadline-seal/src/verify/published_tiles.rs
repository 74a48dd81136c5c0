//! Leaf hashes from published bundles of entries or tiles of level 0.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::VerifyError;
use crate::digest::Digest;
use crate::record::{ENTRY_BYTES, Entry};
use crate::tiles::{TILE_WIDTH, Tile, decode_entries, decode_hashes};

/// The tiles of a directory. One bundle is in memory.
#[derive(Debug, Clone)]
pub(super) struct PublishedTiles {
    directory: PathBuf,
    size: u64,
    loaded: Option<(u64, Vec<Digest>)>,
}

impl PublishedTiles {
    /// The tiles of a tree with `size` leaves.
    pub(super) fn new(directory: &Path, size: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            size,
            loaded: None,
        }
    }

    /// The hash of a leaf below `size`.
    pub(super) fn leaf_hash(&mut self, leaf: u64) -> Result<Digest, VerifyError> {
        let index = leaf / TILE_WIDTH;
        let hashes = match self.loaded.take() {
            Some((loaded, hashes)) if loaded == index => hashes,
            _ => self.load(index)?,
        };
        let place = usize::try_from(leaf % TILE_WIDTH).unwrap_or(usize::MAX);
        let hash = hashes.get(place).copied();
        self.loaded = Some((index, hashes));
        hash.ok_or_else(|| self.invalid(index))
    }

    /// Reads the hashes of a tile: from the bundle of entries or, where entries were pruned, from the tile. A full
    /// tile replaces a partial one when the log grows.
    fn load(&self, index: u64) -> Result<Vec<Digest>, VerifyError> {
        let width = TILE_WIDTH.min(self.size - index * TILE_WIDTH);
        for width in [TILE_WIDTH, width] {
            let tile = Tile {
                level: 0,
                index,
                width,
            };
            if let Some(bytes) = self.read(&tile.entries_path())? {
                let entries = decode_entries(&bytes).ok_or_else(|| self.invalid(index))?;
                return Ok(entries.iter().map(Entry::leaf_hash).collect());
            }
            if let Some(bytes) = self.read(&tile.path())? {
                return decode_hashes(&bytes).ok_or_else(|| self.invalid(index));
            }
        }
        let tile = Tile {
            level: 0,
            index,
            width,
        };
        let path = self.directory.join(tile.path());
        Err(VerifyError::file(&path, io::ErrorKind::NotFound.into()))
    }

    /// Reads a file of at most a full bundle; none if it does not exist.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, VerifyError> {
        let path = self.directory.join(path);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(VerifyError::file(&path, error)),
        };
        let mut bytes = Vec::new();
        file.take(TILE_WIDTH * (ENTRY_BYTES as u64 + 2))
            .read_to_end(&mut bytes)
            .map_err(|error| VerifyError::file(&path, error))?;
        Ok(Some(bytes))
    }

    fn invalid(&self, index: u64) -> VerifyError {
        let path = self.directory.join(format!("tile/0 (tile {index})"));
        VerifyError::file(&path, io::ErrorKind::InvalidData.into())
    }
}
