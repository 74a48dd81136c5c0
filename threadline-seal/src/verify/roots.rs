//! Comparison of a growing tree with signed checkpoints.

use std::collections::BTreeMap;

use super::finding::{Finding, Reason};
use crate::digest::Digest;
use crate::tree::Frontier;

/// A tree that grows leaf by leaf, and is compared with each checkpoint of its size.
pub(super) struct RootCheck<'a> {
    frontier: Frontier,
    checkpoints: &'a BTreeMap<u64, Digest>,
    matched: u64,
    differing: Option<u64>,
}

impl<'a> RootCheck<'a> {
    pub(super) fn new(checkpoints: &'a BTreeMap<u64, Digest>) -> Self {
        Self {
            frontier: Frontier::default(),
            checkpoints,
            matched: 0,
            differing: None,
        }
    }

    /// Appends a leaf. A checkpoint that matches after one that did not proves that both cannot be of one log.
    pub(super) fn push(&mut self, leaf: Digest) -> Result<(), Finding> {
        self.frontier.push(leaf);
        let size = self.frontier.size();
        let Some(root) = self.checkpoints.get(&size) else {
            return Ok(());
        };
        if self.frontier.root() != *root {
            self.differing = self.differing.or(Some(size));
        } else if let Some(other) = self.differing {
            let detail =
                format!("the signed checkpoints of sizes {other} and {size} are not of one log");
            return Err(Finding::new(Reason::InconsistentCheckpoints, detail));
        } else {
            self.matched = size;
        }
        Ok(())
    }

    /// Reports a checkpoint that did not match.
    pub(super) fn finish(self) -> Result<(), Finding> {
        let Some(size) = self.differing else {
            return Ok(());
        };
        let detail = format!(
            "the root differs from the checkpoint of size {size}; the first bad record is one of the leaves {} to {}",
            self.matched,
            size - 1
        );
        Err(Finding::new(Reason::RootDiffers, detail).at_leaf(self.matched))
    }
}
