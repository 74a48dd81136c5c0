//! The guides as files, and the parts of their Markdown that the tests use.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All guides: file name and text.
pub(crate) fn guides() -> Vec<(String, String)> {
    let mut guides: Vec<_> = fs::read_dir(root().join("guides"))
        .expect("the guides")
        .map(|entry| entry.expect("a guide").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, fs::read_to_string(path).expect("UTF-8"))
        })
        .collect();
    guides.sort();
    guides
}

/// A part of a guide that the run uses.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// A fenced block: its info string, its text, and the line on which it begins.
    Block(String, String, usize),
    /// A comment: its keyword and its text.
    Comment(String, String),
}

/// The keywords of comments.
const COMMENTS: [&str; 7] = [
    "database", "setup", "gives", "fails", "prints", "exit", "not run",
];

pub(crate) fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            let block: String = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| line.trim() != "```")
                .fold(String::new(), |block, line| block + line + "\n");
            parts.push(Part::Block(fence.trim().to_owned(), block, number + 1));
        } else if let Some(first) = line.trim_start().strip_prefix("<!-- ") {
            let mut comment = first.to_owned();
            while !comment.contains("-->") {
                let (_, line) = lines.next().expect("the end of a comment");
                let _ = write!(comment, "\n{line}");
            }
            let (word, text) = comment
                .trim_end()
                .trim_end_matches("-->")
                .split_once(':')
                .map(|(word, text)| (word.trim().to_owned(), text.trim().to_owned()))
                .unwrap_or_default();
            assert!(
                COMMENTS.contains(&word.as_str()),
                "line {}: {line}",
                number + 1
            );
            parts.push(Part::Comment(word, text));
        }
    }
    parts
}

/// The anchors that GitHub generates for headings.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}
