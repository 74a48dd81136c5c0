#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

#[cfg(not(unix))]
compile_error!("threadline-testdb needs a Unix system: on Windows, run the tests inside WSL");

mod address;
mod binaries;
mod builder;
mod cache;
mod cluster;
mod database;
mod digest;
mod download;
mod error;
mod files;
mod lock_file;
mod process;
mod quote;
mod search;
mod seed;
mod server;
mod session;
mod settings;
mod shared;
mod template;
mod user;
mod version;
mod watchdog;
mod wire;

pub use binaries::ServerBinaries;
pub use builder::{ClusterBuilder, Listen, OnDrop};
pub use cluster::Cluster;
pub use database::Database;
pub use download::progress::{Progress, ProgressEvent, Quiet, TerminalProgress};
pub use error::{BinariesError, Error, SqlError};
pub use template::Template;
pub use version::MajorVersion;
