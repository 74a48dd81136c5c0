//! Published bundles of entries and tiles of hashes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::finding::{Finding, Reason};
use super::roots::RootCheck;
use super::{Stop, VerifyError};
use crate::digest::Digest;
use crate::record::{ENTRY_BYTES, Entry};
use crate::tile_builder::HashTiles;
use crate::tiles::{TILE_WIDTH, Tile, decode_entries, decode_hashes, encode_hashes};

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

    /// Checks that the tree of the entries has the roots of checkpoints, and that the tiles of hashes are those of
    /// the entries.
    pub(super) fn check(mut self, checkpoints: &BTreeMap<u64, Digest>) -> Result<(), Stop> {
        let mut roots = RootCheck::new(checkpoints);
        let mut tiles = HashTiles::default();
        for leaf in 0..self.size {
            let hash = self.leaf_hash(leaf)?;
            roots.push(hash)?;
            for (tile, hashes) in tiles.push(hash) {
                self.compare(&tile, &hashes)?;
            }
        }
        roots.finish()?;
        for (tile, hashes) in tiles.partial() {
            self.compare(&tile, &hashes)?;
        }
        Ok(())
    }

    /// Compares a tile of hashes with its file, if there is one.
    fn compare(&self, tile: &Tile, hashes: &[Digest]) -> Result<(), Stop> {
        match self.read(&tile.path())? {
            Some(bytes) if bytes != encode_hashes(hashes) => Err(differs(&tile.path())),
            _ => Ok(()),
        }
    }

    /// The hash of a leaf below `size`.
    pub(super) fn leaf_hash(&mut self, leaf: u64) -> Result<Digest, Stop> {
        let index = leaf / TILE_WIDTH;
        let hashes = match self.loaded.take() {
            Some((loaded, hashes)) if loaded == index => hashes,
            _ => self.load(index)?,
        };
        let place = usize::try_from(leaf % TILE_WIDTH).unwrap_or(usize::MAX);
        let hash = hashes.get(place).copied();
        self.loaded = Some((index, hashes));
        hash.ok_or_else(|| differs(&format!("tile/0 (tile {index})")))
    }

    /// Reads the hashes of a tile: from the bundle of entries or, where entries were pruned, from the tile. A full
    /// tile replaces a partial one when the log grows.
    fn load(&self, index: u64) -> Result<Vec<Digest>, Stop> {
        let width = TILE_WIDTH.min(self.size - index * TILE_WIDTH);
        for width in [TILE_WIDTH, width] {
            let tile = Tile {
                level: 0,
                index,
                width,
            };
            if let Some(bytes) = self.read(&tile.entries_path())? {
                let entries =
                    decode_entries(&bytes).filter(|entries| entries.len() as u64 == width);
                let entries = entries.ok_or_else(|| differs(&tile.entries_path()))?;
                return Ok(entries.iter().map(Entry::leaf_hash).collect());
            }
            if let Some(bytes) = self.read(&tile.path())? {
                let hashes = decode_hashes(&bytes).filter(|hashes| hashes.len() as u64 == width);
                return hashes.ok_or_else(|| differs(&tile.path()));
            }
        }
        let tile = Tile {
            level: 0,
            index,
            width,
        };
        let path = self.directory.join(tile.path());
        Err(VerifyError::file(&path, io::ErrorKind::NotFound.into()).into())
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
        // One more byte than a full bundle, so that a longer file differs.
        file.take(TILE_WIDTH * (ENTRY_BYTES as u64 + 2) + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| VerifyError::file(&path, error))?;
        Ok(Some(bytes))
    }
}

fn differs(tile: &str) -> Stop {
    let detail = format!("{tile}: malformed, or not of this log");
    Finding::new(Reason::TileDiffers, detail).into()
}
