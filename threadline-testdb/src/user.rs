//! As whom the server runs. PostgreSQL refuses to run as root, so a root test run drops to an
//! unprivileged user, and everything that user must reach has to be owned by or open to it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `nobody` (and `nogroup`) on Linux. The number is used, not the name, since minimal containers
/// have no user database to look a name up in.
const UNPRIVILEGED_ID: u32 = 65534;

/// The user of the server's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerUser {
    /// The user of this process.
    Same,
    /// This process is root's: [`UNPRIVILEGED_ID`].
    Unprivileged,
}

impl ServerUser {
    /// The user that fits this process.
    pub(crate) fn current() -> io::Result<Self> {
        Ok(if process_uid()? == 0 {
            Self::Unprivileged
        } else {
            Self::Same
        })
    }

    /// Makes a command run as this user.
    pub(crate) fn apply(self, command: &mut Command) {
        if self == Self::Unprivileged {
            command.uid(UNPRIVILEGED_ID).gid(UNPRIVILEGED_ID);
        }
        // The folder the tests run in may be closed to the other user, and PostgreSQL's programs
        // complain when they cannot return to it.
        command.current_dir("/");
    }

    /// Gives a file or folder to this user; a link itself, not what it points to.
    pub(crate) fn take(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Same => Ok(()),
            Self::Unprivileged => lchown(path, Some(UNPRIVILEGED_ID), Some(UNPRIVILEGED_ID)),
        }
    }

    /// The first folder on the way to `path`, itself included, that this user may not enter.
    /// Parts that do not exist yet are no obstacle.
    pub(crate) fn obstacle(self, path: &Path) -> Option<PathBuf> {
        if self == Self::Same {
            return None;
        }
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut folders: Vec<&Path> = real.ancestors().collect();
        folders.reverse();
        folders
            .into_iter()
            .find(|folder| fs::metadata(folder).is_ok_and(|found| !enterable(&found)))
            .map(Path::to_owned)
    }
}

fn enterable(folder: &fs::Metadata) -> bool {
    let needed = if folder.uid() == UNPRIVILEGED_ID {
        0o100
    } else if folder.gid() == UNPRIVILEGED_ID {
        0o010
    } else {
        0o001
    };
    folder.mode() & needed != 0
}

/// The user id under which this process creates files. The standard library does not tell, but
/// whoever makes a file owns it.
pub(crate) fn process_uid() -> io::Result<u32> {
    Ok(tempfile::tempfile()?.metadata()?.uid())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let open = tempfile::tempdir().unwrap();
        fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let closed = open.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let inside = closed.join("not/there/yet");

        let user = ServerUser::Unprivileged;

        assert_eq!(user.obstacle(open.path()), None);
        assert_eq!(user.obstacle(&inside), Some(closed.canonicalize().unwrap()));
        assert_eq!(ServerUser::Same.obstacle(&inside), None);
    }
}
