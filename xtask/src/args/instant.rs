//! Instants on the command line.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

/// Parses an instant in the formats of RFC 3339, PostgreSQL and this program, with or without seconds. An
/// instant without a time zone is an error.
pub(crate) fn parse_instant(text: &str) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    spellings(text)
        .iter()
        .find_map(|spelling| spelling.parse().ok())
        .ok_or_else(|| match parse_local(text) {
            Some(local) => format!(
                "it has no time zone: write {0}Z for UTC, or an offset: {0}+02:00; all times are shown in UTC",
                local.format("%Y-%m-%dT%H:%M:%S%.f")
            ),
            None => "write 2026-01-31T12:00:00Z, or with an offset 2026-01-31T14:00:00+02:00".to_owned(),
        })
}

/// The text, and the text with minutes added to the offset and seconds to the time.
fn spellings(text: &str) -> Vec<String> {
    let (local, zone) = split_zone(text);
    let zone = match zone.len() {
        3 => format!("{zone}:00"),
        _ => zone.to_owned(),
    };
    vec![
        text.to_owned(),
        format!("{local}{zone}"),
        format!("{local}:00{zone}"),
    ]
}

/// Splits date and time from the time zone, which may be empty.
fn split_zone(text: &str) -> (&str, &str) {
    let bare = text
        .trim_end_matches(['Z', 'z'])
        .trim_end_matches("UTC")
        .trim_end();
    if bare.len() < text.len() {
        return (bare, "Z");
    }
    // The sign of the offset is after the first colon; the hyphens of the date are before it.
    let time = text.find(':').unwrap_or(text.len());
    match text[time..].find(['+', '-']) {
        Some(sign) => (text[..time + sign].trim_end(), &text[time + sign..]),
        None => (text, ""),
    }
}

/// Parses a date, or a date and time without a time zone.
fn parse_local(text: &str) -> Option<NaiveDateTime> {
    let local = text.replacen(' ', "T", 1);
    ["", ":00"]
        .iter()
        .find_map(|seconds| format!("{local}{seconds}").parse().ok())
        .or_else(|| text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_instants_parse() {
        let half_past = "2026-11-21T02:30:00Z".parse::<DateTime<Utc>>().unwrap();
        for text in [
            "2026-11-21T02:30:00Z",
            "2026-11-21 02:30:00 UTC",
            "2026-11-21 02:30:00.000000 UTC",
            "2026-11-21 02:30:00+00",
            "2026-11-21 04:30:00+02",
            "2026-11-21T04:30:00+02:00",
            "2026-11-20 21:00-05:30",
            "2026-11-21T02:30Z",
            "2026-11-21 02:30 UTC",
            " 2026-11-21 02:30z",
        ] {
            assert_eq!(parse_instant(text), Ok(half_past), "{text}");
        }
    }

    #[test]
    fn an_instant_without_a_zone_is_an_error_that_shows_both_spellings() {
        for text in ["2026-11-21 02:30", "2026-11-21T02:30:00"] {
            let wrong = parse_instant(text).unwrap_err();
            assert!(wrong.contains("no time zone"), "{wrong}");
            assert!(wrong.contains("2026-11-21T02:30:00Z"), "{wrong}");
        }
        let day = parse_instant("2026-11-21").unwrap_err();
        assert!(day.contains("2026-11-21T00:00:00Z"), "{day}");
        for text in ["yesterday", "", "12:00", "2026-13-01T00:00:00Z", "ü"] {
            let wrong = parse_instant(text).unwrap_err();
            assert!(wrong.contains("2026-01-31T12:00:00Z"), "{text}: {wrong}");
        }
    }
}
