//! The request and the result of an export job.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use threadline_core::instant::Tz;
use threadline_diesel::query::{InvalidFilters, TimelineFilters};

use super::job::JobKind;
use super::new_job::{KeepDays, NewJob};
use crate::format::{ActionColumns, Compression, Format, Layout, Order};
use crate::storage::Storages;

/// The maximum length of a file name in bytes.
const MAX_FILE_NAME_BYTES: usize = 200;

/// The request of an export job: what is exported, in which form, and where the file is stored.
///
/// ```
/// use chrono::Utc;
/// use threadline_core::instant::Tz;
/// use threadline_diesel::query::TimelineFilters;
/// use threadline_export::jobs::ExportRequest;
///
/// let filters = TimelineFilters::from_pairs([("table", "orders"), ("from", "-24h")])?;
/// let job = ExportRequest::new(filters).new_job(Utc::now(), Tz::UTC)?;
/// # let _ = job;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ExportRequest {
    /// The filters.
    #[serde(default)]
    pub filters: TimelineFilters,
    /// The format.
    #[serde(default = "ndjson")]
    pub format: Format,
    /// The compression.
    #[serde(default)]
    pub compression: Compression,
    /// What a record is.
    #[serde(default)]
    pub layout: Layout,
    /// Whether the columns of the action in force are exported.
    #[serde(default = "without_actions")]
    pub action_columns: ActionColumns,
    /// The order.
    #[serde(default)]
    pub order: Order,
    /// The name of the storage.
    #[serde(default = "local_storage")]
    pub storage: String,
    /// The name of the file; `changes` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<FileName>,
    /// How long the file is kept.
    #[serde(default)]
    pub keep_days: KeepDays,
    /// For schedules: the part of the trail that each file has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
}

fn ndjson() -> Format {
    Format::Ndjson
}

fn without_actions() -> ActionColumns {
    ActionColumns::Without
}

fn local_storage() -> String {
    Storages::LOCAL.to_owned()
}

impl ExportRequest {
    /// A request for NDJSON in the storage `local`, kept for 7 days.
    #[must_use]
    pub fn new(filters: TimelineFilters) -> Self {
        Self {
            filters,
            format: ndjson(),
            compression: Compression::default(),
            layout: Layout::default(),
            action_columns: ActionColumns::default(),
            order: Order::default(),
            storage: local_storage(),
            file_name: None,
            keep_days: KeepDays::default(),
            span: None,
        }
    }

    /// The job of this request. Relative instants of the window become absolute.
    ///
    /// # Errors
    /// [`InvalidFilters`] if the filters contradict each other or the window is empty.
    pub fn new_job(&self, now: DateTime<Utc>, zone: Tz) -> Result<NewJob, InvalidFilters> {
        self.filters.validate()?;
        let fixed = Self {
            filters: self.filters.fixed(now, zone)?,
            ..self.clone()
        };
        Ok(NewJob::new(JobKind::Export, fixed.to_value()))
    }

    /// The request as it is stored.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The name of the file, with the extensions of format and compression.
    pub(crate) fn file_name(&self) -> String {
        let format = match self.format {
            Format::Csv(_) => "csv",
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            #[cfg(feature = "parquet")]
            Format::Parquet => "parquet",
        };
        let compression = match self.compression {
            Compression::None => "",
            #[cfg(feature = "gzip")]
            Compression::Gzip => ".gz",
        };
        let name = self.file_name.as_ref().map_or("changes", FileName::as_str);
        format!("{name}.{format}{compression}")
    }
}

/// The part of the trail that each file of a scheduled export has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Span {
    /// Changes captured from the previous time of the schedule up to this one. A transaction that commits after
    /// the file was written is not in any file.
    #[default]
    PreviousPeriod,
    /// Changes that earlier files do not have. A change of a transaction that commits late is in the next file,
    /// so that files neither overlap nor miss a change. The first file has all changes of the trail.
    SinceLast,
}

/// The name of a file without its extension: letters, digits, `_`, `-` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

/// The error for a text that is not the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a file name: use letters, digits, `_`, `-` and `.`, at most {MAX_FILE_NAME_BYTES}, \
     beginning with a letter or a digit"
)]
pub struct InvalidFileName(pub String);

impl FileName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for FileName {
    type Err = InvalidFileName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.chars().all(is_plain) && text.len() <= MAX_FILE_NAME_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidFileName(text.chars().take(100).collect()))
        }
    }
}

impl TryFrom<String> for FileName {
    type Error = InvalidFileName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0
    }
}

/// The result of an export job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportResult {
    /// The name of the storage.
    pub storage: String,
    /// The key of the file.
    pub object: String,
    /// The key of the manifest.
    pub manifest: String,
    /// The number of changes.
    pub rows: u64,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// With [`Span::SinceLast`]: the id after which the file begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_id: Option<i64>,
    /// With [`Span::SinceLast`]: the last id that the file can have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_id: Option<i64>,
}
