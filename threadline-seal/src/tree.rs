//! The Merkle tree of RFC 6962: hashes, roots and proofs.

use thiserror::Error;

use crate::digest::Digest;

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Digest {
    Digest::of(&[&[0], entry])
}

/// The hash of a node.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// The root of the tree without leaves.
#[must_use]
pub fn empty_root() -> Digest {
    Digest::of(&[])
}

/// The right edge of a growing tree: the roots of its complete subtrees, the largest first.
///
/// ```
/// use threadline_seal::tree::{Frontier, leaf_hash, node_hash};
///
/// let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
/// let mut frontier = Frontier::default();
/// frontier.push(a);
/// frontier.push(b);
/// assert_eq!(frontier.root(), node_hash(&a, &b));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Digest>,
}

impl Frontier {
    /// The frontier of a tree from its number of leaves and the roots of its complete subtrees; none if their
    /// number does not fit.
    #[must_use]
    pub fn new(size: u64, nodes: Vec<Digest>) -> Option<Self> {
        (nodes.len() == size.count_ones() as usize).then_some(Self { size, nodes })
    }

    /// The number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, the largest first.
    #[must_use]
    pub fn nodes(&self) -> &[Digest] {
        &self.nodes
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: Digest) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.nodes.push(node);
        self.size += 1;
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut nodes = self.nodes.iter().rev().copied();
        let Some(last) = nodes.next() else {
            return empty_root();
        };
        nodes.fold(last, |right, left| node_hash(&left, &right))
    }
}

/// A proof does not prove what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the proof does not lead to the root")]
pub struct InvalidProof;

/// The hash of the complete subtree with `2^level` leaves and an index among those of its level. A function of
/// this kind reads a tree, from tiles or from memory.
pub trait ReadNode<E>: FnMut(u32, u64) -> Result<Digest, E> {}

impl<E, F: FnMut(u32, u64) -> Result<Digest, E>> ReadNode<E> for F {}

/// The largest power of two below a number greater than 1.
fn split(count: u64) -> u64 {
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

/// The root of the leaves `[first, end)`, which is a subtree of the tree.
fn subtree<E>(first: u64, end: u64, read: &mut impl ReadNode<E>) -> Result<Digest, E> {
    let count = end - first;
    if count.is_power_of_two() {
        let level = count.trailing_zeros();
        return read(level, first >> level);
    }
    let middle = first + split(count);
    let left = subtree(first, middle, read)?;
    Ok(node_hash(&left, &subtree(middle, end, read)?))
}

/// The root of the tree with `size` leaves.
///
/// # Errors
///
/// Returns an error if `read` does.
pub fn root<E>(size: u64, read: &mut impl ReadNode<E>) -> Result<Digest, E> {
    if size == 0 {
        return Ok(empty_root());
    }
    subtree(0, size, read)
}

/// The proof that a leaf is in the tree with `size` leaves. It is empty if there is no such leaf.
///
/// # Errors
///
/// Returns an error if `read` does.
pub fn prove_inclusion<E>(
    leaf: u64,
    size: u64,
    read: &mut impl ReadNode<E>,
) -> Result<Vec<Digest>, E> {
    let (mut first, mut end) = (0, size);
    let mut proof = Vec::new();
    while leaf < size && end - first > 1 {
        let middle = first + split(end - first);
        if leaf < middle {
            proof.push(subtree(middle, end, read)?);
            end = middle;
        } else {
            proof.push(subtree(first, middle, read)?);
            first = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree with `old` leaves is the start of the tree with `new` leaves. It is empty if the
/// sizes are equal, or the old tree has no leaves.
///
/// # Errors
///
/// Returns an error if `read` does.
pub fn prove_consistency<E>(
    old: u64,
    new: u64,
    read: &mut impl ReadNode<E>,
) -> Result<Vec<Digest>, E> {
    let (mut first, mut end) = (0, new);
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    while old != end {
        let middle = first + split(end - first);
        if old <= middle {
            proof.push(subtree(middle, end, read)?);
            end = middle;
        } else {
            proof.push(subtree(first, middle, read)?);
            first = middle;
        }
    }
    // The old root is known to the verifier where the old tree is complete.
    if first > 0 {
        proof.push(subtree(first, end, read)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Verifies that a leaf is in the tree with `size` leaves and a root (RFC 9162, 2.1.3.2).
///
/// # Errors
///
/// Returns [`InvalidProof`] if the proof does not lead from the leaf to the root.
pub fn verify_inclusion(
    leaf: u64,
    hash: Digest,
    size: u64,
    root: &Digest,
    proof: &[Digest],
) -> Result<(), InvalidProof> {
    if leaf >= size {
        return Err(InvalidProof);
    }
    let (mut node, mut last) = (leaf, size - 1);
    let mut computed = hash;
    for sibling in proof {
        if last == 0 {
            return Err(InvalidProof);
        }
        if node % 2 == 1 || node == last {
            computed = node_hash(sibling, &computed);
            while node.is_multiple_of(2) && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            computed = node_hash(&computed, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && computed == *root {
        Ok(())
    } else {
        Err(InvalidProof)
    }
}

/// Verifies that the tree with `old` leaves is the start of the tree with `new` leaves (RFC 9162, 2.1.4.2).
///
/// # Errors
///
/// Returns [`InvalidProof`] if the proof does not lead to both roots.
pub fn verify_consistency(
    (old, old_root): (u64, &Digest),
    (new, new_root): (u64, &Digest),
    proof: &[Digest],
) -> Result<(), InvalidProof> {
    let proven = match (old, proof.split_first()) {
        (0, None) => *old_root == empty_root() && (new > 0 || old_root == new_root),
        (_, None) => old == new && old_root == new_root,
        (0, Some(_)) => false,
        (_, Some(_)) if old >= new => false,
        (_, Some(_)) if old.is_power_of_two() => {
            walk_consistency(old, new, *old_root, proof) == Some((*old_root, *new_root))
        }
        (_, Some((start, rest))) => {
            walk_consistency(old, new, *start, rest) == Some((*old_root, *new_root))
        }
    };
    if proven { Ok(()) } else { Err(InvalidProof) }
}

/// Computes the old and the new root from the node where both trees part; none if the proof has a wrong length.
fn walk_consistency(
    old: u64,
    new: u64,
    start: Digest,
    proof: &[Digest],
) -> Option<(Digest, Digest)> {
    let shared = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> shared, (new - 1) >> shared);
    let (mut old_root, mut new_root) = (start, start);
    for sibling in proof {
        if last == 0 {
            return None;
        }
        if node % 2 == 1 || node == last {
            old_root = node_hash(sibling, &old_root);
            new_root = node_hash(sibling, &new_root);
            while node.is_multiple_of(2) && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_root = node_hash(&new_root, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some((old_root, new_root))
}
