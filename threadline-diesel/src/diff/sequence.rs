//! What two sequences have in common, in order.

/// The largest table of common lengths that is worth its memory; beyond it the middle is replaced
/// as a whole.
const MAX_CELLS: usize = 1_000_000;

/// A step on the way from one sequence to another, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// In both: index before, index after.
    Same(usize, usize),
    /// Only before.
    Removed(usize),
    /// Only after.
    Added(usize),
}

/// The steps from `before` to `after`, removals before additions.
pub(super) fn steps<T: PartialEq>(before: &[T], after: &[T]) -> Vec<Step> {
    let (prefix, suffix) = common_ends(before, after);
    let (middle_before, middle_after) = (
        &before[prefix..before.len() - suffix],
        &after[prefix..after.len() - suffix],
    );
    let mut steps: Vec<_> = (0..prefix).map(|at| Step::Same(at, at)).collect();
    steps.extend(middle(middle_before, middle_after, prefix));
    let (end_before, end_after) = (before.len() - suffix, after.len() - suffix);
    steps.extend((0..suffix).map(|at| Step::Same(end_before + at, end_after + at)));
    steps
}

/// How many elements two sequences share at the beginning, and at the end of the rest.
fn common_ends<T: PartialEq>(before: &[T], after: &[T]) -> (usize, usize) {
    let prefix = before
        .iter()
        .zip(after)
        .take_while(|(before, after)| before == after)
        .count();
    let suffix = before[prefix..]
        .iter()
        .rev()
        .zip(after[prefix..].iter().rev())
        .take_while(|(before, after)| before == after)
        .count();
    (prefix, suffix)
}

/// The steps between two sequences that share neither beginning nor end, both counted from
/// `offset`.
fn middle<T: PartialEq>(before: &[T], after: &[T], offset: usize) -> Vec<Step> {
    let width = after.len() + 1;
    if before.len().saturating_mul(after.len()) > MAX_CELLS {
        let removed = (0..before.len()).map(|at| Step::Removed(offset + at));
        return removed
            .chain((0..after.len()).map(|at| Step::Added(offset + at)))
            .collect();
    }
    // lengths[i * width + j]: how much before[i..] and after[j..] have in common.
    let mut lengths = vec![0_u32; (before.len() + 1) * width];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            lengths[i * width + j] = if before[i] == after[j] {
                lengths[(i + 1) * width + j + 1] + 1
            } else {
                lengths[(i + 1) * width + j].max(lengths[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut steps = Vec::with_capacity(before.len() + after.len());
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            steps.push(Step::Same(offset + i, offset + j));
            i += 1;
            j += 1;
        } else if j == after.len()
            || i < before.len() && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]
        {
            steps.push(Step::Removed(offset + i));
            i += 1;
        } else {
            steps.push(Step::Added(offset + j));
            j += 1;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: &str, after: &str) -> String {
        let (before, after): (Vec<_>, Vec<_>) = (before.chars().collect(), after.chars().collect());
        steps(&before, &after)
            .into_iter()
            .map(|step| match step {
                Step::Same(at, _) => format!(" {}", before[at]),
                Step::Removed(at) => format!("-{}", before[at]),
                Step::Added(at) => format!("+{}", after[at]),
            })
            .collect()
    }

    #[test]
    fn what_is_common_stays() {
        assert_eq!(shown("abcd", "axcd"), " a-b+x c d");
        assert_eq!(shown("", "ab"), "+a+b");
        assert_eq!(shown("ab", ""), "-a-b");
        assert_eq!(shown("abcbd", "acd"), " a-b c-b d");
    }

    #[test]
    fn what_is_too_large_to_compare_is_replaced() {
        let before: Vec<_> = (0..2000).collect();
        let after: Vec<_> = (5000..7000).collect();
        assert_eq!(steps(&before, &after).len(), 4000);
    }
}
