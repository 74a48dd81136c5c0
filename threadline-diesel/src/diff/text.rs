//! Differences of long texts, line by line.

use serde::{Deserialize, Serialize};

use super::DiffMismatch;
use super::sequence::{Step, steps};

/// How many unchanged lines are shown around what changed.
const CONTEXT_LINES: usize = 3;

/// What changed between two texts, as hunks of lines like those of a unified diff.
///
/// ```
/// use threadline_diesel::diff::TextDiff;
///
/// let diff = TextDiff::between("one\ntwo\n", "one\n2\n");
/// assert_eq!(diff.hunks.len(), 1);
/// assert_eq!(diff.apply("one\ntwo\n").unwrap(), "one\n2\n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TextDiff {
    /// The places that changed, in order; none where the texts are the same.
    pub hunks: Vec<Hunk>,
}

/// A place in a text that changed, with the lines around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hunk {
    /// The number of its first line before, from 1; the line it comes after, if it has none.
    pub before_start: usize,
    /// How many lines it had.
    pub before_lines: usize,
    /// The number of its first line after, from 1; the line it comes after, if it has none.
    pub after_start: usize,
    /// How many lines it has.
    pub after_lines: usize,
    /// Its lines, in order.
    pub lines: Vec<Line>,
}

/// A line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Line {
    /// Whether it stayed.
    pub kind: LineKind,
    /// The line, with its line break if it has one.
    pub text: String,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LineKind {
    /// It is in both texts.
    Same,
    /// It was only before.
    Removed,
    /// It is only after.
    Added,
}

impl TextDiff {
    /// The difference of two texts.
    #[must_use]
    pub fn between(before: &str, after: &str) -> Self {
        let (before, after) = (lines_of(before), lines_of(after));
        let steps = steps(&before, &after);
        let changed: Vec<_> = (0..steps.len())
            .filter(|at| !matches!(steps[*at], Step::Same(..)))
            .collect();
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for at in changed {
            let from = at.saturating_sub(CONTEXT_LINES);
            let to = (at + CONTEXT_LINES + 1).min(steps.len());
            match ranges.last_mut() {
                Some(last) if last.1 >= from => last.1 = to,
                _ => ranges.push((from, to)),
            }
        }
        let hunks = ranges
            .into_iter()
            .map(|(from, to)| hunk(&steps, from, to, &before, &after))
            .collect();
        Self { hunks }
    }

    /// The text after, from the text before.
    ///
    /// # Errors
    /// [`DiffMismatch`] when this is not the difference of that text.
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

/// The hunk of the steps from one to before another.
fn hunk(steps: &[Step], from: usize, to: usize, before: &[&str], after: &[&str]) -> Hunk {
    let count = |steps: &[Step], counted: fn(&Step) -> bool| {
        steps.iter().filter(|step| counted(step)).count()
    };
    let in_before = |step: &Step| !matches!(step, Step::Added(_));
    let in_after = |step: &Step| !matches!(step, Step::Removed(_));
    let (before_lines, after_lines) = (
        count(&steps[from..to], in_before),
        count(&steps[from..to], in_after),
    );
    let lines = steps[from..to]
        .iter()
        .map(|step| match *step {
            Step::Same(at, _) => line(LineKind::Same, before[at]),
            Step::Removed(at) => line(LineKind::Removed, before[at]),
            Step::Added(at) => line(LineKind::Added, after[at]),
        })
        .collect();
    Hunk {
        before_start: count(&steps[..from], in_before) + usize::from(before_lines > 0),
        before_lines,
        after_start: count(&steps[..from], in_after) + usize::from(after_lines > 0),
        after_lines,
        lines,
    }
}

fn line(kind: LineKind, text: &str) -> Line {
    Line {
        kind,
        text: text.to_owned(),
    }
}
