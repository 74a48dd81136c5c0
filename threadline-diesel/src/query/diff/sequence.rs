//! Differences of sequences.

use std::hash::Hash;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// The time limit of the search for the shortest difference. After it, the rest is replaced as a whole.
const SEARCH_TIME: Duration = Duration::from_millis(250);

/// The operations from `before` to `after`, removals before additions.
pub(super) fn diff_sequences<T: Hash + Ord>(before: &[T], after: &[T]) -> Vec<DiffOp> {
    let deadline = Instant::now() + SEARCH_TIME;
    capture_diff_slices_deadline(Algorithm::Myers, before, after, Some(deadline))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: &str, after: &str) -> String {
        let (before, after): (Vec<_>, Vec<_>) = (before.chars().collect(), after.chars().collect());
        let mut shown = String::new();
        for op in diff_sequences(&before, &after) {
            for change in op.iter_changes(&before, &after) {
                shown.push_str(&change.tag().to_string());
                shown.push(change.value());
            }
        }
        shown
    }

    #[test]
    fn common_elements_are_kept() {
        assert_eq!(shown("abcd", "axcd"), " a-b+x c d");
        assert_eq!(shown("", "ab"), "+a+b");
        assert_eq!(shown("ab", ""), "-a-b");
        assert_eq!(shown("abcbd", "acd"), " a-b c-b d");
    }

    #[test]
    fn large_sequences_without_common_elements_are_replaced_in_bounded_time() {
        let before: Vec<_> = (0..200_000).collect();
        let after: Vec<_> = (500_000..700_000).collect();
        let started = Instant::now();
        let ops = diff_sequences(&before, &after);
        assert!(started.elapsed() < Duration::from_secs(10));
        let removed: usize = ops.iter().map(|op| op.old_range().len()).sum();
        let added: usize = ops.iter().map(|op| op.new_range().len()).sum();
        assert_eq!((removed, added), (200_000, 200_000));
    }
}
