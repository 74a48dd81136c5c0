//! What an export looks like.

use serde::Serialize;

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// Comma-separated values as in RFC 4180: a header, then a record a change.
    ///
    /// Documents (keys, images, actors, `meta`) and lists are JSON text, as they are stored. NULL
    /// is an empty field, the empty string is `""`: `COPY … FROM … CSV` tells the two apart, readers
    /// that drop the quotes (spreadsheets, Python) do not.
    Csv(CsvOptions),
    /// One JSON document: `format_version`, `changes`, and at the end `manifest`. A document that
    /// was cut off on the way does not parse.
    Json,
    /// A JSON object a line, and nothing else.
    Ndjson,
    /// Parquet: numbers, instants and lists typed, documents and ids as text, zstd inside.
    #[cfg(feature = "parquet")]
    Parquet,
}

/// How CSV is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct CsvOptions {
    /// Whether formulas are disarmed.
    pub formula_guard: FormulaGuard,
}

impl CsvOptions {
    /// With the formula guard on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns the formula guard on or off.
    #[must_use]
    pub fn formula_guard(mut self, guard: FormulaGuard) -> Self {
        self.formula_guard = guard;
        self
    }
}

/// Whether text that a spreadsheet would run as a formula is disarmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FormulaGuard {
    /// A text whose first character after white space is one of `= + - @` or their full-width
    /// forms, or that begins with a tab, a line break or an apostrophe, gets an apostrophe in
    /// front. Exact values come back by taking one leading apostrophe off every field.
    #[default]
    On,
    /// Text is written as it is, for programs.
    Off,
}

/// How an export is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// As gzip does.
    #[cfg(feature = "gzip")]
    Gzip,
}

/// In which order changes are exported: by `captured_at` and `id`, forwards or backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As things happened.
    #[default]
    OldestFirst,
    /// The newest change first, as in a timeline.
    NewestFirst,
}

/// Whether the columns of the action in force are exported too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ActionColumns {
    /// They are left out.
    #[default]
    Without,
    /// `action_id`, `action_name`, `action_status`, `verb`, `category`, `reason` and `comment`
    /// follow the others.
    With,
}
