//! Where things are kept between runs (downloaded binaries, prepared data directories) and where
//! clusters live while they run.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::BinariesError;
use crate::user::{ServerUser, process_uid};

/// The cache folder, created if need be, and reachable for the server's user.
///
/// `THREADLINE_CACHE_DIR` is taken at its word. Otherwise the first that works of
/// `XDG_CACHE_HOME/threadline`, `HOME/.cache/threadline`, for root `/var/cache/threadline`
/// (root's home is commonly closed to the user as whom the server runs), and a folder in the
/// system's temporary folder.
pub(crate) fn folder(user: ServerUser) -> Result<PathBuf, BinariesError> {
    if let Some(wanted) = variable("THREADLINE_CACHE_DIR") {
        return prepare(&wanted, user);
    }
    let mut outcome = Err(BinariesError::io("finding", "a cache folder")(
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

/// The folder in which clusters get their own folder: the system's temporary folder, or the
/// usual ones if that is closed to the server's user.
pub(crate) fn temporary_folder(user: ServerUser) -> Result<PathBuf, BinariesError> {
    let first = env::temp_dir();
    let obstacle = user.obstacle(&first);
    let Some(obstacle) = obstacle else {
        return Ok(first);
    };
    ["/tmp", "/var/tmp"]
        .into_iter()
        .map(PathBuf::from)
        .find(|folder| folder.is_dir() && user.obstacle(folder).is_none())
        .ok_or(BinariesError::OutOfReach {
            folder: first,
            obstacle,
        })
}

/// Takes the lock of a name in the cache, waiting for other processes, and keeps it until the
/// file is dropped. The operating system gives it back if the process dies.
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

/// A variable's value as an absolute path, if it is set and not empty.
pub(crate) fn variable(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name).filter(|value| !value.is_empty())?;
    std::path::absolute(value).ok()
}

fn candidates(user: ServerUser) -> Vec<PathBuf> {
    let of_user = variable("XDG_CACHE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("threadline"));
    let of_system = match user {
        ServerUser::Same => None,
        ServerUser::Unprivileged => Some(PathBuf::from("/var/cache/threadline")),
    };
    // Every user has a folder of their own, since what others could write must not be run.
    let temporary = process_uid()
        .ok()
        .map(|uid| env::temp_dir().join(format!("threadline-cache-{uid}")));
    [of_user, of_system, temporary]
        .into_iter()
        .flatten()
        .collect()
}

fn prepare(folder: &Path, user: ServerUser) -> Result<PathBuf, BinariesError> {
    let out_of_reach = |obstacle| BinariesError::OutOfReach {
        folder: folder.to_owned(),
        obstacle,
    };
    if let Some(obstacle) = user.obstacle(folder) {
        return Err(out_of_reach(obstacle));
    }
    let failed = |source| BinariesError::io("creating", folder)(source);
    if !folder.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .map_err(failed)?;
        // The process' umask may have taken away what the server's user needs.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    if let Some(obstacle) = user.obstacle(folder) {
        return Err(out_of_reach(obstacle));
    }
    must_be_ours(folder).map_err(|source| BinariesError::io("trusting", folder)(source))?;
    Ok(folder.to_owned())
}

/// Programs are run from the cache, so nobody else may be able to put any there.
fn must_be_ours(folder: &Path) -> io::Result<()> {
    let found = fs::metadata(folder)?;
    if found.uid() == process_uid()? && found.mode() & 0o022 == 0 {
        // Shows whether the file system can be written to, before anything depends on it.
        tempfile::tempfile_in(folder).map(drop)
    } else {
        Err(io::Error::other(
            "the folder belongs to, or can be written by, another user",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_that_others_can_write_to_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let shared = parent.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();

        let error = prepare(&shared, ServerUser::Same).unwrap_err();

        assert!(error.to_string().contains("shared"), "{error}");
    }

    #[test]
    fn a_cache_the_servers_user_cannot_reach_is_refused_before_it_is_made() {
        let closed = tempfile::tempdir().unwrap();
        fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let inside = closed.path().join("cache");

        let error = prepare(&inside, ServerUser::Unprivileged).unwrap_err();

        assert!(matches!(error, BinariesError::OutOfReach { .. }), "{error}");
        assert!(!inside.exists());
    }

    #[test]
    fn a_lock_excludes_the_next_until_it_is_dropped() {
        let cache = tempfile::tempdir().unwrap();
        let first = lock(cache.path(), "x").unwrap();
        let second = File::open(cache.path().join("x.lock")).unwrap();

        assert!(second.try_lock().is_err());
        drop(first);
        assert!(second.try_lock().is_ok());
    }
}
