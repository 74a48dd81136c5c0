//! Tiles of the tree and bundles of entries, as in C2SP tlog-tiles: files of 256 hashes or entries.

use crate::digest::Digest;
use crate::record::{ENTRY_BYTES, Entry};
use crate::tree::Frontier;

/// The number of hashes in a full tile, and of entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// A tile: the hashes of up to 256 neighbouring complete subtrees with `256^level` leaves.
///
/// ```
/// use threadline_seal::tiles::Tile;
///
/// let tile = Tile { level: 0, index: 1_234_067, width: 256 };
/// assert_eq!(tile.path(), "tile/0/x001/x234/067");
/// assert_eq!(tile.entries_path(), "tile/entries/x001/x234/067");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Its level; level 0 has the hashes of leaves.
    pub level: u32,
    /// Its index among the tiles of its level.
    pub index: u64,
    /// The number of its hashes, 1 to 256. A tile with fewer than 256 is partial: a larger tree has a wider
    /// version of it.
    pub width: u64,
}

impl Tile {
    /// Its path in a published log.
    #[must_use]
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, self.place())
    }

    /// The path of the bundle with the entries of a tile of level 0.
    #[must_use]
    pub fn entries_path(&self) -> String {
        format!("tile/entries/{}", self.place())
    }

    fn place(&self) -> String {
        let mut place = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            place = format!("x{:03}/{place}", rest % 1000);
            rest /= 1000;
        }
        if self.width < TILE_WIDTH {
            place = format!("{place}.p/{}", self.width);
        }
        place
    }
}

/// The tiles to publish when a tree grows from `old` to `new` leaves.
///
/// ```
/// use threadline_seal::tiles::new_tiles;
///
/// let paths: Vec<_> = new_tiles(0, 300).iter().map(|tile| tile.path()).collect();
/// assert_eq!(paths, ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"]);
/// ```
#[must_use]
pub fn new_tiles(old: u64, new: u64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let (mut old, mut new, mut level) = (old, new, 0);
    while new > 0 {
        if old != new {
            for index in old / TILE_WIDTH..new / TILE_WIDTH {
                tiles.push(Tile {
                    level,
                    index,
                    width: TILE_WIDTH,
                });
            }
            if new % TILE_WIDTH > 0 {
                tiles.push(Tile {
                    level,
                    index: new / TILE_WIDTH,
                    width: new % TILE_WIDTH,
                });
            }
        }
        old /= TILE_WIDTH;
        new /= TILE_WIDTH;
        level += 1;
    }
    tiles
}

/// The highest tile of a tree; none of the tree without leaves. A publisher writes it last.
///
/// ```
/// use threadline_seal::tiles::{new_tiles, top_tile};
///
/// assert_eq!(top_tile(70_000), new_tiles(0, 70_000).pop());
/// ```
#[must_use]
pub fn top_tile(size: u64) -> Option<Tile> {
    let level = size.checked_ilog2()? / TILE_WIDTH.ilog2();
    Some(Tile {
        level,
        index: 0,
        width: size >> (level * TILE_WIDTH.ilog2()),
    })
}

/// The hash of the subtree above the hashes of a tile.
#[must_use]
pub fn tile_root(hashes: &[Digest]) -> Digest {
    let mut frontier = Frontier::default();
    for hash in hashes {
        frontier.push(*hash);
    }
    frontier.root()
}

/// Encodes the hashes of a tile.
#[must_use]
pub fn encode_hashes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Decodes the hashes of a tile; none if the length is not that of hashes.
#[must_use]
pub fn decode_hashes(bytes: &[u8]) -> Option<Vec<Digest>> {
    let (chunks, []) = bytes.as_chunks::<32>() else {
        return None;
    };
    Some(
        chunks
            .iter()
            .map(|chunk| Digest::from_bytes(*chunk))
            .collect(),
    )
}

/// Encodes a bundle: each entry after its length in two bytes.
#[must_use]
pub fn encode_entries(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * (ENTRY_BYTES + 2));
    for entry in entries {
        bytes.extend([0, 60]);
        bytes.extend(entry.to_bytes());
    }
    bytes
}

/// Decodes a bundle; none if it is malformed.
#[must_use]
pub fn decode_entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (chunks, []) = bytes.as_chunks::<{ ENTRY_BYTES + 2 }>() else {
        return None;
    };
    chunks
        .iter()
        .map(|chunk| match chunk {
            [0, 60, entry @ ..] => Entry::from_bytes(entry),
            _ => None,
        })
        .collect()
}
