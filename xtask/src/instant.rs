//! Instants as people type and paste them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

/// Reads an instant: as RFC 3339 has it, without seconds, and as this program and PostgreSQL print
/// it. One without a zone is refused: at a night shift's end nobody knows which was meant.
pub(crate) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    candidates(text)
        .iter()
        .find_map(|candidate| candidate.parse().ok())
        .ok_or_else(|| match without_zone(text) {
            Some(local) => format!(
                "it has no time zone: write {0}Z for UTC, which is what all times are shown in, or an \
                 offset: {0}+02:00",
                local.format("%Y-%m-%dT%H:%M:%S%.f")
            ),
            None => "write 2026-01-31T12:00:00Z, or with an offset 2026-01-31T14:00:00+02:00".to_owned(),
        })
}

/// The text, and what it may be short for: an offset of hours, a time without seconds.
fn candidates(text: &str) -> Vec<String> {
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

/// The date and time, and the zone, of which there may be none.
fn split_zone(text: &str) -> (&str, &str) {
    let bare = text
        .trim_end_matches(['Z', 'z'])
        .trim_end_matches("UTC")
        .trim_end();
    if bare.len() < text.len() {
        return (bare, "Z");
    }
    // What follows the time of day; the hyphens of the date stand before it.
    let time = text.find(':').unwrap_or(text.len());
    match text[time..].find(['+', '-']) {
        Some(place) => (text[..time + place].trim_end(), &text[time + place..]),
        None => (text, ""),
    }
}

fn without_zone(text: &str) -> Option<NaiveDateTime> {
    let moment = text.replacen(' ', "T", 1);
    ["", ":00"]
        .iter()
        .find_map(|rest| format!("{moment}{rest}").parse().ok())
        .or_else(|| text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_pasted() {
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
            assert_eq!(instant(text), Ok(half_past), "{text}");
        }
    }

    #[test]
    fn an_instant_without_a_zone_is_refused_with_both_ways_to_write_it() {
        for text in ["2026-11-21 02:30", "2026-11-21T02:30:00"] {
            let wrong = instant(text).unwrap_err();
            assert!(wrong.contains("no time zone"), "{wrong}");
            assert!(wrong.contains("2026-11-21T02:30:00Z"), "{wrong}");
        }
        let day = instant("2026-11-21").unwrap_err();
        assert!(day.contains("2026-11-21T00:00:00Z"), "{day}");
        for text in ["yesterday", "", "12:00", "2026-13-01T00:00:00Z", "ü"] {
            let wrong = instant(text).unwrap_err();
            assert!(wrong.contains("2026-01-31T12:00:00Z"), "{text}: {wrong}");
        }
    }
}
