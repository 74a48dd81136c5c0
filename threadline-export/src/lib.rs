#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod buffer;
mod change_cursor;
mod count;
mod encode;
pub mod error;
pub mod export;
mod field_record;
mod file;
pub mod format;
pub mod manifest;
mod output;
mod record;
mod snapshot;

pub use count::count;
pub use error::ExportError;
pub use export::{Export, Progress};
pub use field_record::FIELD_COLUMNS;
pub use file::manifest_path;
pub use format::{ActionColumns, Compression, CsvOptions, Format, FormulaGuard, Layout, Order};
pub use manifest::{Manifest, Summary};
pub use record::{ACTION_COLUMNS, COLUMNS};
