//! The tree and its tiles, compared with `tlog_tiles`.

use proptest::prelude::*;
use threadline_seal::digest::Digest;
use threadline_seal::tiles::{
    Tile, decode_entries, decode_hashes, encode_hashes, new_tiles, tile_root,
};
use threadline_seal::tree::{
    Frontier, leaf_hash, prove_consistency, prove_inclusion, root, verify_consistency,
    verify_inclusion,
};
use tlog_tiles::{Hash, HashReader};

/// A tree in memory, in both implementations.
struct Tree {
    leaves: Vec<Digest>,
    stored: Stored,
}

struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let hash = |index: &u64| self.0[usize::try_from(*index).unwrap()];
        Ok(indexes.iter().map(hash).collect())
    }
}

fn tree(size: u64) -> Tree {
    let (mut leaves, mut stored) = (Vec::new(), Stored(Vec::new()));
    for leaf in 0..size {
        let entry = leaf.to_be_bytes();
        leaves.push(leaf_hash(&entry));
        let hashes = tlog_tiles::stored_hashes(leaf, &entry, &stored).unwrap();
        stored.0.extend(hashes);
    }
    Tree { leaves, stored }
}

impl Tree {
    fn read(&self) -> impl FnMut(u32, u64) -> Result<Digest, ()> {
        |level, index| {
            let start = usize::try_from(index << level).unwrap();
            Ok(tile_root(&self.leaves[start..start + (1 << level)]))
        }
    }

    fn root(&self, size: u64) -> Digest {
        let mut frontier = Frontier::default();
        for leaf in &self.leaves[..usize::try_from(size).unwrap()] {
            frontier.push(*leaf);
        }
        let rebuilt = Frontier::new(size, frontier.nodes().to_vec());
        assert_eq!(rebuilt.as_ref(), Some(&frontier));
        frontier.root()
    }
}

fn theirs(digest: &Digest) -> Hash {
    Hash(*digest.as_bytes())
}

fn ours(hashes: &[Hash]) -> Vec<Digest> {
    hashes
        .iter()
        .map(|hash| Digest::from_bytes(hash.0))
        .collect()
}

#[test]
fn roots_equal_those_of_tlog_tiles() {
    let tree = tree(300);
    for size in 0..=300 {
        let expected = tlog_tiles::tree_hash(size, &tree.stored).unwrap();
        assert_eq!(theirs(&tree.root(size)), expected, "{size}");
        assert_eq!(root(size, &mut tree.read()), Ok(tree.root(size)));
    }
}

#[test]
fn inclusion_proofs_equal_those_of_tlog_tiles_and_hold_for_one_leaf() {
    let tree = tree(70);
    for size in 1..=70 {
        let root = tree.root(size);
        for leaf in 0..size {
            let proof = prove_inclusion(leaf, size, &mut tree.read()).unwrap();
            let expected = tlog_tiles::prove_record(size, leaf, &tree.stored).unwrap();
            assert_eq!(proof, ours(&expected), "{leaf} of {size}");
            let hash = tree.leaves[usize::try_from(leaf).unwrap()];
            verify_inclusion(leaf, hash, size, &root, &proof).unwrap();
            assert!(verify_inclusion(leaf, root, size, &root, &proof).is_err() || size == 1);
            assert!(verify_inclusion(leaf + 1, hash, size, &root, &proof).is_err());
            let mut longer = proof.clone();
            longer.push(root);
            assert!(verify_inclusion(leaf, hash, size, &root, &longer).is_err());
        }
    }
}

#[test]
fn consistency_proofs_equal_those_of_tlog_tiles_and_hold_for_both_roots() {
    let tree = tree(70);
    for new in 1..=70 {
        for old in 1..=new {
            let proof = prove_consistency(old, new, &mut tree.read()).unwrap();
            let expected = tlog_tiles::prove_tree(new, old, &tree.stored).unwrap();
            assert_eq!(proof, ours(&expected), "{old} of {new}");
            let (old_root, new_root) = (tree.root(old), tree.root(new));
            verify_consistency((old, &old_root), (new, &new_root), &proof).unwrap();
            let wrong = tree.leaves[0];
            let is_wrong = |root: &Digest| *root != wrong;
            assert!(
                !is_wrong(&old_root)
                    || verify_consistency((old, &wrong), (new, &new_root), &proof).is_err()
            );
            assert!(
                !is_wrong(&new_root)
                    || verify_consistency((old, &old_root), (new, &wrong), &proof).is_err()
            );
            let mut longer = proof.clone();
            longer.push(wrong);
            assert!(verify_consistency((old, &old_root), (new, &new_root), &longer).is_err());
        }
        let (empty, root) = (tree.root(0), tree.root(new));
        verify_consistency((0, &empty), (new, &root), &[]).unwrap();
        assert!(verify_consistency((0, &root), (new, &root), &[]).is_err());
    }
}

#[test]
fn hashes_of_tiles_equal_those_of_tlog_tiles() {
    let tree = tree(700);
    let mut hashes = tree.leaves.clone();
    let mut level = 0;
    for tile in new_tiles(0, 700) {
        if tile.level > level {
            hashes = hashes.chunks_exact(256).map(tile_root).collect();
            level = tile.level;
        }
        let start = usize::try_from(tile.index * 256).unwrap();
        let ours = encode_hashes(&hashes[start..start + usize::try_from(tile.width).unwrap()]);
        assert_eq!(
            ours,
            their_tile(&tile).read_data(&tree.stored).unwrap(),
            "{}",
            tile.path()
        );
        assert_eq!(encode_hashes(&decode_hashes(&ours).unwrap()), ours);
    }
    assert_eq!(level, 1);
}

fn their_tile(tile: &Tile) -> tlog_tiles::Tile {
    let level = u8::try_from(tile.level).unwrap();
    let width = u32::try_from(tile.width).unwrap();
    tlog_tiles::Tile::new(8, level, tile.index, width, false)
}

proptest! {
    #[test]
    fn tiles_and_their_paths_equal_those_of_tlog_tiles(old in 0..3_000_000_u64, more in 0..70_000_u64) {
        let ours = new_tiles(old, old + more);
        let theirs = tlog_tiles::Tile::new_tiles(8, old, old + more);
        let paths: Vec<_> = ours.iter().map(Tile::path).collect();
        let expected: Vec<_> = theirs.iter().map(|tile| tile.path().replacen("/8/", "/", 1)).collect();
        prop_assert_eq!(paths, expected);
    }

    #[test]
    fn decoding_bundles_and_tiles_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (decode_entries(&bytes), decode_hashes(&bytes));
    }
}
