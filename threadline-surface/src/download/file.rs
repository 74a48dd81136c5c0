//! Formats and names of files.

use chrono::{DateTime, Utc};
use threadline_export::{CsvOptions, Format};

use crate::question::ChangeFilters;

/// The longest part of a file name that a table gives.
const MAX_TABLE_CHARS: usize = 60;

/// The content type of a file that is compressed with gzip.
pub(crate) const GZIP: &str = "application/gzip";

/// The format of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFormat {
    Csv,
    Json,
    Ndjson,
    #[cfg(feature = "parquet")]
    Parquet,
}

impl FileFormat {
    pub(crate) const ALL: &[Self] = &[
        Self::Csv,
        Self::Json,
        Self::Ndjson,
        #[cfg(feature = "parquet")]
        Self::Parquet,
    ];

    /// The name in addresses and on the command line, which is also the extension.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            #[cfg(feature = "parquet")]
            Self::Parquet => "parquet",
        }
    }

    /// The path of its route.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Csv => "/download/changes.csv",
            Self::Json => "/download/changes.json",
            Self::Ndjson => "/download/changes.ndjson",
            #[cfg(feature = "parquet")]
            Self::Parquet => "/download/changes.parquet",
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            #[cfg(feature = "parquet")]
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The format of the export. Text that a spreadsheet would run as a formula is escaped in CSV.
    pub(crate) fn export_format(self) -> Format {
        match self {
            Self::Csv => Format::Csv(CsvOptions::new()),
            Self::Json => Format::Json,
            Self::Ndjson => Format::Ndjson,
            #[cfg(feature = "parquet")]
            Self::Parquet => Format::Parquet,
        }
    }
}

/// The name of a file with the time of the request and its extension.
pub(crate) fn file_name(
    filters: &ChangeFilters,
    format: FileFormat,
    is_gzipped: bool,
    now: DateTime<Utc>,
) -> String {
    let gzip = if is_gzipped { ".gz" } else { "" };
    format!(
        "{}-at-{}.{}{gzip}",
        file_stem(filters),
        stamp(now),
        format.as_str()
    )
}

/// The start of the name of a file: its table or schema, and its window. It has no character that a header or a file
/// system reads in another way.
pub(crate) fn file_stem(filters: &ChangeFilters) -> String {
    let table = filters
        .fields
        .table
        .as_ref()
        .map(|table| match table.schema() {
            "public" => table.name().to_owned(),
            _ => table.to_string(),
        });
    let of: String = table
        .or_else(|| filters.fields.schema.clone())
        .unwrap_or_else(|| "changes".to_owned())
        .chars()
        .map(|one| {
            if one.is_ascii_alphanumeric() {
                one
            } else {
                '_'
            }
        })
        .take(MAX_TABLE_CHARS)
        .collect();
    let mut name = of;
    for (word, instant) in [("from", &filters.from), ("to", &filters.to)] {
        if let Some(given) = instant {
            name = format!("{name}-{word}-{}", stamp(given.instant));
        }
    }
    name
}

fn stamp(instant: DateTime<Utc>) -> String {
    instant.format("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use threadline_core::table::TableName;

    use super::*;

    #[test]
    fn file_names_have_table_window_and_time_and_no_hostile_character() {
        let now = "2026-11-21T17:44:50Z".parse().unwrap();
        let from = crate::question::GivenInstant::parse("-1h", now, chrono_tz::Tz::UTC).unwrap();
        let mut filters = ChangeFilters {
            from: Some(from),
            ..ChangeFilters::default()
        };
        filters.fields.table = Some(TableName::new("odd", "../\"a\r\nb\u{202e}"));
        let name = file_name(&filters, FileFormat::Csv, true, now);
        assert!(name.ends_with("-from-20261121T164450Z-at-20261121T174450Z.csv.gz"));
        let is_plain = |one: char| one.is_ascii_alphanumeric() || "-_.".contains(one);
        assert!(name.chars().all(is_plain), "{name}");
        assert!(!name.contains(".."), "{name}");
    }
}
