//! Directory trees: copying, measuring, setting permissions.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::user::ServerUser;

/// Copies a directory tree with its modes and makes `owner` the owner of the copy. `to` must not
/// exist.
///
/// [`fs::copy`] shares blocks where the file system supports it.
pub(crate) fn copy_tree(from: &Path, to: &Path, owner: ServerUser) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_tree(&entry.path(), &target, owner)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &target)?;
            owner.change_owner(&target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            owner.change_owner(&target)?;
        }
    }
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    owner.change_owner(to)
}

/// The total size of all files in a directory tree. Ignores files that are removed meanwhile:
/// another process works in the directory.
pub(crate) fn directory_size(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => directory_size(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Makes a tree readable, and its programs executable, for all users: unpackers drop modes or apply
/// a umask that excludes the server's user.
pub(crate) fn make_readable(directory: &Path) -> io::Result<()> {
    let has_programs = directory.file_name().is_some_and(|name| name == "bin");
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() {
            make_readable(&entry.path())?;
        } else if found.is_file() {
            let executable = has_programs || found.permissions().mode() & 0o100 != 0;
            let mode = if executable { 0o755 } else { 0o644 };
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode))?;
        }
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

/// The last `lines` lines of a text, for error messages.
pub(crate) fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_tree_keeps_modes_and_links() {
        let home = tempfile::tempdir().unwrap();
        let from = home.path().join("from");
        fs::create_dir_all(from.join("inner")).unwrap();
        fs::write(from.join("inner/file"), "content").unwrap();
        fs::set_permissions(from.join("inner/file"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("inner/file", from.join("link")).unwrap();
        let to = home.path().join("to");

        copy_tree(&from, &to, ServerUser::Same).unwrap();

        assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "content");
        let mode = fs::metadata(to.join("inner/file"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(directory_size(&to), directory_size(&from));
    }

    #[test]
    fn the_last_lines_of_a_short_text_are_the_text() {
        assert_eq!(last_lines("one\ntwo\n", 5), "one\ntwo");
        assert_eq!(last_lines("one\ntwo\nthree", 2), "two\nthree");
        assert_eq!(last_lines("", 2), "");
    }
}
