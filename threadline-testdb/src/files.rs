//! Folder trees: copying, measuring, and opening them to other users.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::user::ServerUser;

/// Copies a folder with all it holds and gives the copy to `owner`. `to` must not exist.
///
/// Modes are kept. Files are copied by the standard library, which shares blocks where the file
/// system can.
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
            owner.take(&target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            owner.take(&target)?;
        }
    }
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    owner.take(to)
}

/// The bytes in all files below a folder. What vanishes meanwhile counts as nothing, since this
/// watches folders in which others work.
pub(crate) fn tree_size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => tree_size(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Lets everybody read a tree and run the programs in it: unpackers lose modes or apply a umask
/// that closes the tree to the server's user.
pub(crate) fn open_tree(folder: &Path) -> io::Result<()> {
    let holds_programs = folder.file_name().is_some_and(|name| name == "bin");
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() {
            open_tree(&entry.path())?;
        } else if found.is_file() {
            let executable = holds_programs || found.permissions().mode() & 0o100 != 0;
            let mode = if executable { 0o755 } else { 0o644 };
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode))?;
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// The last `lines` lines of a text, for error messages.
pub(crate) fn tail(text: &str, lines: usize) -> String {
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
        assert_eq!(tree_size(&to), tree_size(&from));
    }

    #[test]
    fn the_tail_of_a_short_text_is_the_text() {
        assert_eq!(tail("one\ntwo\n", 5), "one\ntwo");
        assert_eq!(tail("one\ntwo\nthree", 2), "two\nthree");
        assert_eq!(tail("", 2), "");
    }
}
