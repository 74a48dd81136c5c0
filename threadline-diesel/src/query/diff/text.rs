//! Line differences of long texts.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use similar::{ChangeTag, DiffOp, group_diff_ops};

use super::DiffMismatch;
use super::sequence::diff_sequences;

/// The number of unchanged lines before and after a change.
const CONTEXT_LINES: usize = 3;

/// The differences of two texts, as hunks of a unified diff.
///
/// ```
/// use threadline_diesel::query::diff::TextDiff;
///
/// let diff = TextDiff::between("one\ntwo\n", "one\n2\n");
/// assert_eq!(diff.hunks.len(), 1);
/// assert_eq!(diff.apply("one\ntwo\n").unwrap(), "one\n2\n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TextDiff {
    /// The hunks, in order; none if the texts are equal.
    pub hunks: Vec<Hunk>,
}

/// A hunk: changed lines with the lines around them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hunk {
    /// The number of its first line in the old text, from 1; of the line before it if it has no line there.
    pub before_start: usize,
    /// The number of its lines in the old text.
    pub before_lines: usize,
    /// The number of its first line in the new text, from 1; of the line before it if it has no line there.
    pub after_start: usize,
    /// The number of its lines in the new text.
    pub after_lines: usize,
    /// Its lines, in order.
    pub lines: Vec<Line>,
}

/// A line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Line {
    /// Whether the old text, the new text or both have the line.
    pub kind: LineKind,
    /// The line with its line break, if any.
    pub text: String,
}

/// Whether the old text, the new text or both have a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LineKind {
    /// Both texts.
    Same,
    /// The old text alone.
    Removed,
    /// The new text alone.
    Added,
}

impl TextDiff {
    /// The difference of two texts.
    #[must_use]
    pub fn between(before: &str, after: &str) -> Self {
        let (before, after) = (lines_of(before), lines_of(after));
        let ops = diff_sequences(&before, &after);
        let hunks = group_diff_ops(ops, CONTEXT_LINES)
            .iter()
            .map(|ops| hunk(ops, &before, &after))
            .collect();
        Self { hunks }
    }

    /// Applies the diff to the old text and returns the new one.
    ///
    /// # Errors
    /// [`DiffMismatch`] when the diff was made from another text.
    pub fn apply(&self, before: &str) -> Result<String, DiffMismatch> {
        let lines = lines_of(before);
        let mut after = String::new();
        let mut at = 0;
        for hunk in &self.hunks {
            let start = hunk
                .before_start
                .checked_sub(usize::from(hunk.before_lines > 0))
                .ok_or(DiffMismatch)?;
            let skipped = lines.get(at..start).ok_or(DiffMismatch)?;
            after.extend(skipped.iter().copied());
            at = start;
            for line in &hunk.lines {
                if line.kind != LineKind::Added {
                    if lines.get(at) != Some(&line.text.as_str()) {
                        return Err(DiffMismatch);
                    }
                    at += 1;
                }
                if line.kind != LineKind::Removed {
                    after.push_str(&line.text);
                }
            }
        }
        after.extend(lines.get(at..).ok_or(DiffMismatch)?.iter().copied());
        Ok(after)
    }
}

fn lines_of(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// The hunk of consecutive operations.
fn hunk(ops: &[DiffOp], before: &[&str], after: &[&str]) -> Hunk {
    let lines = ops
        .iter()
        .flat_map(|op| op.iter_changes(before, after))
        .map(|change| Line {
            kind: match change.tag() {
                ChangeTag::Equal => LineKind::Same,
                ChangeTag::Delete => LineKind::Removed,
                ChangeTag::Insert => LineKind::Added,
            },
            text: change.value().to_owned(),
        })
        .collect();
    let start = |range: fn(&DiffOp) -> Range<usize>| ops.first().map_or(0, |op| range(op).start);
    let count = |range: fn(&DiffOp) -> Range<usize>| ops.iter().map(|op| range(op).len()).sum();
    let before_lines: usize = count(DiffOp::old_range);
    let after_lines: usize = count(DiffOp::new_range);
    Hunk {
        before_start: start(DiffOp::old_range) + usize::from(before_lines > 0),
        before_lines,
        after_start: start(DiffOp::new_range) + usize::from(after_lines > 0),
        after_lines,
        lines,
    }
}
