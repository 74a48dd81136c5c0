//! What can go wrong, in three families: SQL, server binaries, and the cluster itself.
//!
//! Every message starts with what to do, then says what happened and with which value.

mod binaries;
mod sql;

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

pub use binaries::BinariesError;
pub use sql::SqlError;

/// A cluster or database that could not be started, made, stopped or dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No usable server binaries.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// A statement did not run.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A URL that cannot be used.
    #[error("write the URL as postgres://user:password@host:port/database: {what} in `{variable}`")]
    Url {
        /// Where the URL came from: a variable's name, or `url`. The URL itself may hold a
        /// password and is not repeated.
        variable: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A setting that cannot be written to `postgresql.conf`.
    #[error("correct the server setting `{name}` = `{value}`: {what}")]
    Setting {
        /// The setting's name.
        name: String,
        /// The value given.
        value: String,
        /// What is wrong.
        what: &'static str,
    },
    /// `initdb` failed.
    #[error("see what initdb says and repair that: {output}")]
    Initdb {
        /// The end of its output.
        output: String,
    },
    /// The server ended instead of starting.
    #[error("see what the server says and repair that: it ended ({status}) with\n{log}")]
    Start {
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// The server took longer than allowed to come up.
    #[error(
        "raise ClusterBuilder::start_timeout if this machine is merely slow: the server was not \
         ready after {seconds} s; its log ends with\n{log}"
    )]
    StartTimeout {
        /// The time allowed.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// The server did not stop in time. It may be stopped with `Cluster::kill`.
    #[error("call Cluster::kill: the server (process {pid}) was still running after {seconds} s")]
    StopTimeout {
        /// The postmaster's process id.
        pid: u32,
        /// The time allowed.
        seconds: u64,
    },
    /// The server is stopped, and what was asked needs it running.
    #[error("call Cluster::restart first: the server is stopped")]
    NotRunning,
    /// The server belongs to somebody else and is not ours to stop.
    #[error(
        "start a cluster of your own with Cluster::start for this test: the server at {address} \
         was found through the environment and is not stopped, killed or restarted"
    )]
    NotOurs {
        /// Socket path, or host and port.
        address: String,
    },
    /// The path of the socket would be longer than the operating system allows.
    #[error("set TMPDIR to a shorter folder, such as /tmp: the socket path {} is too long", .path.display())]
    SocketPath {
        /// The path.
        path: PathBuf,
    },
    /// The closure that was to prepare a template failed.
    #[error("repair the preparation of the template `{name}`: {source}")]
    Template {
        /// The template's name.
        name: String,
        /// What the closure returned.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A file, folder or helper process could not be worked with.
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

impl Error {
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
