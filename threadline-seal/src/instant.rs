//! Instants as text, in microseconds since 1970-01-01 UTC.

use chrono::{DateTime, SecondsFormat};

/// Parses an instant in the form of a sealed field (`2026-11-21T09:30:00.000001Z`) or of PostgreSQL's jsonb
/// in UTC (`2026-11-21T09:30:00+00:00`). `infinity` is the greatest value.
///
/// ```
/// use threadline_seal::instant::parse_micros;
///
/// assert_eq!(parse_micros("1970-01-02T00:00:00.000001Z"), Some(86_400_000_001));
/// assert_eq!(parse_micros("1970-01-01T00:00:01.5+00:00"), Some(1_500_000));
/// assert_eq!(parse_micros("yesterday"), None);
/// ```
#[must_use]
pub fn parse_micros(text: &str) -> Option<i64> {
    match text {
        "infinity" => Some(i64::MAX),
        "-infinity" => Some(i64::MIN),
        _ => Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros()),
    }
}

/// Writes an instant in the form of a sealed field. An instant beyond the calendar is its number of
/// microseconds.
///
/// ```
/// use threadline_seal::instant::format_micros;
///
/// assert_eq!(format_micros(-1), "1969-12-31T23:59:59.999999Z");
/// ```
#[must_use]
pub fn format_micros(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).map_or_else(
        || micros.to_string(),
        |instant| instant.to_rfc3339_opts(SecondsFormat::Micros, true),
    )
}
