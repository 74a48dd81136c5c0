//! Inclusion proofs of many leaves, from one pass over all leaves.

use std::collections::HashMap;
use std::convert::Infallible;

use crate::digest::Digest;
use crate::tree::{empty_root, node_hash, prove_inclusion};

/// Collects the nodes that the proofs of some leaves need. Its memory grows with their number, not with the tree.
///
/// ```
/// use threadline_seal::inclusion::InclusionProofs;
/// use threadline_seal::tree::{leaf_hash, verify_inclusion};
///
/// let hashes: Vec<_> = [b"a", b"b", b"c"].map(|entry| leaf_hash(entry)).to_vec();
/// let mut proofs = InclusionProofs::new(vec![2], 3);
/// for hash in &hashes {
///     proofs.push(*hash);
/// }
/// let (root, proofs) = proofs.finish();
/// verify_inclusion(2, hashes[2], 3, &root, &proofs[0])?;
/// # Ok::<(), threadline_seal::tree::InvalidProof>(())
/// ```
#[derive(Debug)]
pub struct InclusionProofs {
    leaves: Vec<u64>,
    size: u64,
    pushed: u64,
    /// The roots of the complete subtrees of the pushed leaves, the largest first.
    edge: Vec<Digest>,
    nodes: HashMap<(u32, u64), Digest>,
}

impl InclusionProofs {
    /// Proofs of leaves of the tree with `size` leaves.
    #[must_use]
    pub fn new(leaves: Vec<u64>, size: u64) -> Self {
        let mut nodes = HashMap::new();
        for leaf in &leaves {
            let Ok(_) = prove_inclusion(*leaf, size, &mut |level, index| {
                nodes.insert((level, index), empty_root());
                Ok::<_, Infallible>(empty_root())
            });
        }
        Self {
            leaves,
            size,
            pushed: 0,
            edge: Vec::new(),
            nodes,
        }
    }

    /// The number of leaves that were pushed.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Adds the next leaf by its hash. Leaves after the size of the tree are ignored.
    pub fn push(&mut self, leaf: Digest) {
        if self.pushed == self.size {
            return;
        }
        let (mut node, mut index) = (leaf, self.pushed);
        self.keep(0, index, node);
        for level in 1..=self.pushed.trailing_ones() {
            if let Some(left) = self.edge.pop() {
                node = node_hash(&left, &node);
            }
            index >>= 1;
            self.keep(level, index, node);
        }
        self.edge.push(node);
        self.pushed += 1;
    }

    fn keep(&mut self, level: u32, index: u64, node: Digest) {
        if let Some(kept) = self.nodes.get_mut(&(level, index)) {
            *kept = node;
        }
    }

    /// The root of the pushed leaves, and the proof of each leaf. They hold if the root is that of the tree.
    #[must_use]
    pub fn finish(self) -> (Digest, Vec<Vec<Digest>>) {
        let mut edge = self.edge.iter().rev().copied();
        let root = edge.next().map_or_else(empty_root, |last| {
            edge.fold(last, |right, left| node_hash(&left, &right))
        });
        let mut read = |level, index| {
            let node = self.nodes.get(&(level, index)).copied();
            Ok::<_, Infallible>(node.unwrap_or_else(empty_root))
        };
        let proofs = self.leaves.iter().map(|leaf| {
            let Ok(proof) = prove_inclusion(*leaf, self.size, &mut read);
            proof
        });
        let proofs = proofs.collect();
        (root, proofs)
    }
}
