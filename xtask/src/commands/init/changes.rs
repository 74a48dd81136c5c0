//! Changes of files, shown before they are written.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use similar::TextDiff;

use crate::exit::Failure;
use crate::output::text::escape;

/// A file that is created or changed.
#[derive(Debug)]
pub(super) struct FileChange {
    /// The absolute path.
    pub(super) path: PathBuf,
    /// The text; none if the file does not exist.
    pub(super) before: Option<String>,
    pub(super) after: String,
}

impl FileChange {
    /// The change as a diff, with the path relative to a folder.
    pub(super) fn show(&self, root: &Path) -> String {
        let path = self.path.strip_prefix(root).unwrap_or(&self.path);
        let verb = if self.before.is_some() {
            "change"
        } else {
            "create"
        };
        let before = self.before.as_deref().unwrap_or_default();
        let diff = TextDiff::from_lines(before, &self.after);
        let diff = diff.unified_diff().to_string();
        let lines = diff.lines().map(|line| format!("\n    {}", escape(line)));
        format!(
            "{verb} {}{}",
            escape(&path.display().to_string()),
            lines.collect::<String>()
        )
    }

    /// Writes the file, and creates its folder if it does not exist.
    pub(super) fn write(&self) -> Result<(), Failure> {
        let folder = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        fs::write(&self.path, &self.after)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(())
    }
}
