//! Errors of SQL, server binaries and clusters.
//!
//! Each message starts with the remedy, followed by the failure and the value that caused it.

mod binaries;
mod sql;

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

pub use binaries::BinariesError;
pub use sql::SqlError;

/// An error of starting or stopping a cluster, or of creating, using or dropping a database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No usable server binaries were found.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// A connection or statement failed.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The URL of an existing server is invalid.
    #[error("write the URL as postgres://user:password@host:port/database: {what} in `{variable}`")]
    Url {
        /// The environment variable or parameter of the URL. The URL itself may contain a password.
        variable: &'static str,
        /// The reason.
        what: String,
    },
    /// The name or value of a setting is invalid.
    #[error("correct the server setting `{name}` = `{value}`: {what}")]
    Setting {
        /// The setting's name.
        name: String,
        /// The setting's value.
        value: String,
        /// The reason.
        what: &'static str,
    },
    /// `initdb` failed.
    #[error("resolve the failure that initdb reports: {output}")]
    Initdb {
        /// The end of its output.
        output: String,
    },
    /// The server exited during its start.
    #[error("resolve the failure in the server's log: it exited ({status}) with\n{log}")]
    Start {
        /// The exit status.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// The server did not start within the timeout.
    #[error(
        "increase ClusterBuilder::start_timeout if this machine is slow: the server was not \
         ready after {seconds} s; its log ends with\n{log}"
    )]
    StartTimeout {
        /// The timeout.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// The server did not stop within the timeout.
    #[error("call Cluster::kill: the server (process {pid}) was still running after {seconds} s")]
    StopTimeout {
        /// The postmaster's process id.
        pid: u32,
        /// The timeout.
        seconds: u64,
    },
    /// The server is stopped.
    #[error("call Cluster::restart first: the server is stopped")]
    NotRunning,
    /// The operation needs a server that this crate started.
    #[error(
        "use Cluster::start for this test: the server at {address} is an existing one, which this \
         crate does not stop, kill or restart"
    )]
    ExistingServer {
        /// Socket path, or host and port.
        address: String,
    },
    /// The path of the socket is longer than the operating system allows.
    #[error("set TMPDIR to a shorter path, such as /tmp: the socket path {} is too long", .path.display())]
    SocketPath {
        /// The path.
        path: PathBuf,
    },
    /// The closure that prepares a template failed.
    #[error("correct the preparation of the template `{name}`: {source}")]
    Template {
        /// The template's name.
        name: String,
        /// The error of the closure.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// An operation on a file, directory or helper process failed.
    #[error("check permissions and free space: {doing} {} failed", .path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file, directory or program.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Error {
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
