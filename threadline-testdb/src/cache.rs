//! The cache directory (downloaded servers, prepared data directories) and the parent directory of
//! running clusters.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::BinariesError;
use crate::user::{ServerUser, process_uid};

/// The cache directory. Created if it does not exist; the server's user can enter it.
///
/// `THREADLINE_CACHE_DIR` is used if it is set. Otherwise the first usable one of
/// `XDG_CACHE_HOME/threadline`, `HOME/.cache/threadline`, for root `/var/cache/threadline`
/// (root's home directory is usually closed to the server's user), and a directory in the
/// system's temporary directory.
pub(crate) fn cache_directory(user: ServerUser) -> Result<PathBuf, BinariesError> {
    if let Some(wanted) = path_variable("THREADLINE_CACHE_DIR") {
        return prepare(&wanted, user);
    }
    let mut outcome = Err(BinariesError::io("finding", "a cache directory")(
        io::ErrorKind::NotFound.into(),
    ));
    for candidate in candidates(user) {
        outcome = prepare(&candidate, user);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The parent directory of clusters: the system's temporary directory, or `/tmp` or `/var/tmp` if
/// the server's user cannot enter that.
pub(crate) fn temporary_directory(user: ServerUser) -> Result<PathBuf, BinariesError> {
    let first = env::temp_dir();
    let Some(closed) = user.closed_directory(&first) else {
        return Ok(first);
    };
    ["/tmp", "/var/tmp"]
        .into_iter()
        .map(PathBuf::from)
        .find(|directory| directory.is_dir() && user.closed_directory(directory).is_none())
        .ok_or(BinariesError::Inaccessible {
            directory: first,
            closed,
        })
}

/// Locks a name in the cache until the file is dropped. Waits for other processes. The operating
/// system releases the lock when the process dies.
pub(crate) fn lock(cache: &Path, name: &str) -> Result<File, BinariesError> {
    let path = cache.join(format!("{name}.lock"));
    let failed = |source| BinariesError::io("locking", &path)(source);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// The value of an environment variable as an absolute path. `None` if unset or empty.
pub(crate) fn path_variable(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name).filter(|value| !value.is_empty())?;
    std::path::absolute(value).ok()
}

fn candidates(user: ServerUser) -> Vec<PathBuf> {
    let of_user = path_variable("XDG_CACHE_HOME")
        .or_else(|| path_variable("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("threadline"));
    let of_system = match user {
        ServerUser::Same => None,
        ServerUser::Unprivileged => Some(PathBuf::from("/var/cache/threadline")),
    };
    // One directory for each user: programs run from it, so other users must not write there.
    let temporary = process_uid()
        .ok()
        .map(|uid| env::temp_dir().join(format!("threadline-cache-{uid}")));
    [of_user, of_system, temporary]
        .into_iter()
        .flatten()
        .collect()
}

fn prepare(directory: &Path, user: ServerUser) -> Result<PathBuf, BinariesError> {
    let inaccessible = |closed| BinariesError::Inaccessible {
        directory: directory.to_owned(),
        closed,
    };
    if let Some(closed) = user.closed_directory(directory) {
        return Err(inaccessible(closed));
    }
    let failed = |source| BinariesError::io("creating", directory)(source);
    if !directory.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(failed)?;
        // The umask of this process may have removed the rights of the server's user.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    if let Some(closed) = user.closed_directory(directory) {
        return Err(inaccessible(closed));
    }
    check_owner(directory).map_err(|source| BinariesError::io("trusting", directory)(source))?;
    Ok(directory.to_owned())
}

/// Fails if another user owns the directory or can write to it: programs run from the cache.
fn check_owner(directory: &Path) -> io::Result<()> {
    let found = fs::metadata(directory)?;
    if found.uid() == process_uid()? && found.mode() & 0o022 == 0 {
        // Fails early on a read-only file system.
        tempfile::tempfile_in(directory).map(drop)
    } else {
        Err(io::Error::other(
            "another user owns the directory or can write to it",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_writable_by_other_users_is_rejected() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let shared = parent.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();

        let error = prepare(&shared, ServerUser::Same).unwrap_err();

        assert!(error.to_string().contains("shared"), "{error}");
    }

    #[test]
    fn a_cache_closed_to_the_server_user_is_rejected_and_not_created() {
        let closed = tempfile::tempdir().unwrap();
        fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let inside = closed.path().join("cache");

        let error = prepare(&inside, ServerUser::Unprivileged).unwrap_err();

        assert!(
            matches!(error, BinariesError::Inaccessible { .. }),
            "{error}"
        );
        assert!(!inside.exists());
    }

    #[test]
    fn a_lock_is_held_until_it_is_dropped() {
        let cache = tempfile::tempdir().unwrap();
        let first = lock(cache.path(), "x").unwrap();
        let second = File::open(cache.path().join("x.lock")).unwrap();

        assert!(second.try_lock().is_err());
        drop(first);
        assert!(second.try_lock().is_ok());
    }
}
