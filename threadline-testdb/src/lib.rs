#![doc = include_str!("../README.md")]

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

pub use binaries::ServerBinaries;
pub use builder::{ClusterBuilder, Listen, OnDrop};
pub use cluster::Cluster;
pub use database::Database;
pub use download::progress::Progress;
pub use error::{BinariesError, Error, SqlError};
pub use template::Template;
pub use version::MajorVersion;
