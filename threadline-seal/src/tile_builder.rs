//! Builds the tiles of a growing tree, leaf by leaf.

use crate::digest::Digest;
use crate::record::Entry;
use crate::tiles::{TILE_WIDTH, Tile, encode_entries, encode_hashes, tile_root};
use crate::tree::Frontier;

/// A file of a published log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileFile {
    /// Its path in the published log.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The right edge of a tree as tiles. 256 entries, and 256 hashes of each level, are in memory.
///
/// ```
/// use threadline_seal::field::{Fields, Secret};
/// use threadline_seal::record::{Entry, RecordKind};
/// use threadline_seal::tile_builder::TileBuilder;
///
/// let fields = Fields::from([
///     ("settled_to".to_owned(), "42".to_owned()),
///     ("read_at".to_owned(), "2026-11-21T09:30:00.000001Z".to_owned()),
/// ]);
/// let entry = Entry::seal(RecordKind::Clock, 42, &fields, &Secret::from_bytes([7; 16]))?;
/// let mut builder = TileBuilder::default();
/// assert!(builder.push(entry).is_empty(), "no tile is full");
/// let paths: Vec<_> = builder.partial_files().into_iter().map(|file| file.path).collect();
/// assert_eq!(paths, ["tile/entries/000.p/1", "tile/0/000.p/1"]);
/// assert_eq!(builder.root(), entry.leaf_hash());
/// # Ok::<(), threadline_seal::record::InvalidRecord>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TileBuilder {
    /// The entries of the partial bundle.
    entries: Vec<Entry>,
    tiles: HashTiles,
}

impl TileBuilder {
    /// Continues a tree with `size` leaves: from the entries of its partial bundle, and the hashes of its partial
    /// tiles from level 1 up. Returns none if their numbers do not fit the size.
    #[must_use]
    pub fn resume(size: u64, entries: Vec<Entry>, upper: Vec<Vec<Digest>>) -> Option<Self> {
        let mut levels = vec![entries.iter().map(Entry::leaf_hash).collect::<Vec<_>>()];
        levels.extend(upper);
        let mut rest = size;
        for hashes in &levels {
            if hashes.len() as u64 != rest % TILE_WIDTH {
                return None;
            }
            rest /= TILE_WIDTH;
        }
        (rest == 0).then_some(Self {
            entries,
            tiles: HashTiles { size, levels },
        })
    }

    /// The number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tiles.size
    }

    /// Appends a leaf. Returns the files of the tiles that are now full.
    pub fn push(&mut self, entry: Entry) -> Vec<TileFile> {
        self.entries.push(entry);
        let full = self.tiles.push(entry.leaf_hash());
        let files = self.files(&full);
        if !files.is_empty() {
            self.entries.clear();
        }
        files
    }

    /// The files of the partial tiles, the highest level last.
    #[must_use]
    pub fn partial_files(&self) -> Vec<TileFile> {
        self.files(&self.tiles.partial())
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.tiles.root()
    }

    fn files(&self, tiles: &[(Tile, Vec<Digest>)]) -> Vec<TileFile> {
        let mut files = Vec::new();
        for (tile, hashes) in tiles {
            if tile.level == 0 {
                files.push(TileFile {
                    path: tile.entries_path(),
                    bytes: encode_entries(&self.entries),
                });
            }
            files.push(TileFile {
                path: tile.path(),
                bytes: encode_hashes(hashes),
            });
        }
        files
    }
}

/// The right edge of a tree: of each level the hashes of its partial tile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HashTiles {
    size: u64,
    levels: Vec<Vec<Digest>>,
}

impl HashTiles {
    /// Appends a leaf by its hash. Returns the tiles that are now full.
    pub(crate) fn push(&mut self, leaf: Digest) -> Vec<(Tile, Vec<Digest>)> {
        self.size += 1;
        let (mut full, mut node, mut rest) = (Vec::new(), leaf, self.size);
        for level in 0.. {
            if self.levels.len() <= level {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[level];
            hashes.push(node);
            if hashes.len() as u64 != TILE_WIDTH {
                break;
            }
            rest /= TILE_WIDTH;
            let hashes = std::mem::take(hashes);
            node = tile_root(&hashes);
            full.push(tile_of(level, rest - 1, hashes));
        }
        full
    }

    /// The partial tiles, the highest level last.
    pub(crate) fn partial(&self) -> Vec<(Tile, Vec<Digest>)> {
        let mut rest = self.size;
        let mut partial = Vec::new();
        for (level, hashes) in self.levels.iter().enumerate() {
            rest /= TILE_WIDTH;
            if !hashes.is_empty() {
                partial.push(tile_of(level, rest, hashes.clone()));
            }
        }
        partial
    }

    fn root(&self) -> Digest {
        let mut nodes = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut frontier = Frontier::default();
            for hash in hashes {
                frontier.push(*hash);
            }
            nodes.extend(frontier.nodes());
        }
        Frontier::new(self.size, nodes).unwrap_or_default().root()
    }
}

fn tile_of(level: usize, index: u64, hashes: Vec<Digest>) -> (Tile, Vec<Digest>) {
    let tile = Tile {
        level: u32::try_from(level).unwrap_or(u32::MAX),
        index,
        width: hashes.len() as u64,
    };
    (tile, hashes)
}
