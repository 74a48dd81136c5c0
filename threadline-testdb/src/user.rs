//! The operating system user of the server. PostgreSQL does not run as root, so a test process of
//! root starts it as an unprivileged user, who needs access to all files of the server.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The number of `nobody` and `nogroup` on Linux. Minimal containers have no user database to look
/// up the names in.
const UNPRIVILEGED_ID: u32 = 65534;

/// The user of the server processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerUser {
    /// The user of this process.
    Same,
    /// [`UNPRIVILEGED_ID`], because this process runs as root.
    Unprivileged,
}

impl ServerUser {
    /// The server user for this process.
    pub(crate) fn for_current_process() -> io::Result<Self> {
        Ok(if process_uid()? == 0 {
            Self::Unprivileged
        } else {
            Self::Same
        })
    }

    /// Makes a command run as this user.
    pub(crate) fn apply_to(self, command: &mut Command) {
        if self == Self::Unprivileged {
            command.uid(UNPRIVILEGED_ID).gid(UNPRIVILEGED_ID);
        }
        // The working directory of the tests may be closed to the other user, and PostgreSQL's
        // programs fail if they cannot change back to it.
        command.current_dir("/");
    }

    /// Makes this user the owner of a file, directory or link. Does not follow links.
    pub(crate) fn change_owner(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Same => Ok(()),
            Self::Unprivileged => lchown(path, Some(UNPRIVILEGED_ID), Some(UNPRIVILEGED_ID)),
        }
    }

    /// The first directory of `path` that this user may not enter. Ignores directories that do not
    /// exist.
    pub(crate) fn closed_directory(self, path: &Path) -> Option<PathBuf> {
        if self == Self::Same {
            return None;
        }
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut directories: Vec<&Path> = real.ancestors().collect();
        directories.reverse();
        directories
            .into_iter()
            .find(|directory| fs::metadata(directory).is_ok_and(|found| !is_enterable(&found)))
            .map(Path::to_owned)
    }
}

fn is_enterable(directory: &fs::Metadata) -> bool {
    let needed = if directory.uid() == UNPRIVILEGED_ID {
        0o100
    } else if directory.gid() == UNPRIVILEGED_ID {
        0o010
    } else {
        0o001
    };
    directory.mode() & needed != 0
}

/// The user id of this process, read from a new file: the standard library has no `geteuid`.
pub(crate) fn process_uid() -> io::Result<u32> {
    Ok(tempfile::tempfile()?.metadata()?.uid())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_closed_parent_directory_is_reported() {
        let open = tempfile::tempdir().unwrap();
        fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let closed = open.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let inside = closed.join("not/there/yet");

        let user = ServerUser::Unprivileged;

        assert_eq!(user.closed_directory(open.path()), None);
        assert_eq!(
            user.closed_directory(&inside),
            Some(closed.canonicalize().unwrap())
        );
        assert_eq!(ServerUser::Same.closed_directory(&inside), None);
    }
}
