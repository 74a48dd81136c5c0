#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "archive")]
#[cfg_attr(docsrs, doc(cfg(feature = "archive")))]
pub mod archive;
mod buffer;
mod change_cursor;
pub mod connections;
mod count;
#[cfg(feature = "http")]
pub mod delivery;
mod encode;
pub mod error;
pub mod export;
mod field_record;
mod file;
pub mod format;
#[cfg(feature = "jobs")]
pub mod jobs;
pub mod manifest;
mod notify;
mod output;
mod record;
#[cfg(feature = "jobs")]
pub mod schedules;
#[cfg(feature = "seal")]
#[cfg_attr(docsrs, doc(cfg(feature = "seal")))]
pub mod seal;
mod snapshot;
#[cfg(feature = "jobs")]
pub mod storage;
#[cfg(feature = "http")]
pub mod webhook;
#[cfg(feature = "jobs")]
pub mod worker;

pub use count::count;
pub use error::ExportError;
pub use export::{Export, Progress};
pub use field_record::FIELD_COLUMNS;
pub use file::manifest_path;
pub use format::{ActionColumns, Compression, CsvOptions, Format, FormulaGuard, Layout, Order};
pub use manifest::{Manifest, Summary};
pub use notify::{Notification, Notifier, NotifyError};
pub use record::{ACTION_COLUMNS, COLUMNS};
#[cfg(feature = "jobs")]
pub use worker::Worker;
