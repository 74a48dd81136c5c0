//! Formats and other options of exports.

use serde::{Deserialize, Serialize};

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// Comma-separated values as in RFC 4180: a header, then one record per change.
    ///
    /// Documents (keys, images, actors, `meta`) and lists are JSON text, as stored. NULL is an empty
    /// field and the empty string is `""`: `COPY … FROM … CSV` distinguishes them, but readers that
    /// remove the quotes (spreadsheets, Python) do not.
    Csv(CsvOptions),
    /// One JSON document: `format_version`, `changes` and, at the end, `manifest`. An incomplete
    /// document is not valid JSON.
    Json,
    /// One JSON object per line, without header or trailer.
    Ndjson,
    /// Parquet with zstd compression. Numbers, instants and lists are typed; documents and UUIDs are
    /// text.
    #[cfg(feature = "parquet")]
    Parquet,
}

/// Options of CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CsvOptions {
    /// Whether formulas are escaped.
    pub formula_guard: FormulaGuard,
}

impl CsvOptions {
    /// Creates options with the formula guard on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the formula guard.
    #[must_use]
    pub fn formula_guard(mut self, guard: FormulaGuard) -> Self {
        self.formula_guard = guard;
        self
    }
}

/// Whether text that a spreadsheet would evaluate as a formula is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormulaGuard {
    /// Adds an apostrophe in front of a text whose first character after white space is one of
    /// `= + - @` or their full-width forms, or that begins with a tab, a line break or an apostrophe.
    /// Removing one leading apostrophe from every field restores the exact values.
    #[default]
    On,
    /// Writes text unchanged, for programs.
    Off,
}

/// The compression of the whole export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// gzip.
    #[cfg(feature = "gzip")]
    Gzip,
}

/// The order of changes, by `captured_at` and `id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The oldest change first.
    #[default]
    OldestFirst,
    /// The newest change first, as in a timeline.
    NewestFirst,
}

/// What a record of an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Layout {
    /// One record for each change, with its images, for programs; see [`COLUMNS`](crate::COLUMNS).
    #[default]
    Changes,
    /// One record for each field that a change set, for people; see
    /// [`FIELD_COLUMNS`](crate::FIELD_COLUMNS). For CSV, JSON and NDJSON.
    Fields,
}

/// Whether the columns of the action in force are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionColumns {
    /// Without these columns.
    #[default]
    Without,
    /// Adds `action_id`, `action_name`, `action_status`, `verb`, `category`, `reason` and `comment`
    /// after the other columns.
    With,
}
