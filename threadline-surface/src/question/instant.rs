//! Instants as operators write them.

use chrono::{DateTime, Duration, LocalResult, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;

/// An instant of an address: the text as given, which may be relative, and its meaning now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenInstant {
    pub(crate) text: String,
    pub(crate) instant: DateTime<Utc>,
}

impl GivenInstant {
    /// Parses a text.
    pub(crate) fn parse(text: &str, now: DateTime<Utc>, zone: Tz) -> Result<Self, String> {
        let instant = parse_instant(text, now, zone)?;
        Ok(Self {
            text: text.to_owned(),
            instant,
        })
    }

    /// The instant as RFC 3339, independent of the time of the request.
    pub(crate) fn fixed(&self) -> Self {
        Self {
            text: self
                .instant
                .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            instant: self.instant,
        }
    }
}

/// Parses RFC 3339, a local time of a zone, `now`, `yesterday`, or a time ago: `-15m`, `-24h`, `7d`.
pub(crate) fn parse_instant(
    text: &str,
    now: DateTime<Utc>,
    zone: Tz,
) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    match text {
        "now" => return Ok(now),
        "yesterday" => {
            let today = now.with_timezone(&zone).date_naive();
            return local_instant(
                (today - Duration::days(1)).and_time(chrono::NaiveTime::MIN),
                zone,
            );
        }
        _ => {}
    }
    if let Some(ago) = duration_ago(text) {
        return now
            .checked_sub_signed(ago)
            .ok_or_else(|| format!("`{text}` is too long ago"));
    }
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.to_utc());
    }
    parse_local(text).map_or_else(
        || Err("write 2026-01-31T12:00:00Z, 2026-01-31 12:00, now, -15m, -24h or -7d".to_owned()),
        |local| local_instant(local, zone),
    )
}

fn duration_ago(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = number.parse::<u32>().ok()?.into();
    match unit {
        "s" => Duration::try_seconds(number),
        "m" => Duration::try_minutes(number),
        "h" => Duration::try_hours(number),
        "d" => Duration::try_days(number),
        "w" => Duration::try_weeks(number),
        _ => None,
    }
}

fn parse_local(text: &str) -> Option<NaiveDateTime> {
    let text = text.replacen(' ', "T", 1);
    ["", ":00"]
        .iter()
        .find_map(|seconds| format!("{text}{seconds}").parse().ok())
        .or_else(|| {
            Some(
                text.parse::<NaiveDate>()
                    .ok()?
                    .and_time(chrono::NaiveTime::MIN),
            )
        })
}

/// The instant of a local time; a time that a zone skips or has twice is an error with both readings.
fn local_instant(local: NaiveDateTime, zone: Tz) -> Result<DateTime<Utc>, String> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) => Ok(instant.to_utc()),
        LocalResult::Ambiguous(first, second) => Err(format!(
            "{local} occurs twice in {zone}: write {} or {}",
            first.to_rfc3339(),
            second.to_rfc3339()
        )),
        LocalResult::None => Err(format!(
            "{local} does not exist in {zone}: clocks are set forward over it"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_in_the_zone_of_the_operator() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let berlin = Tz::Europe__Berlin;
        for (text, expected) in [
            ("2026-11-21T02:30:00+02:00", "2026-11-21T00:30:00Z"),
            ("2026-11-21 02:30", "2026-11-21T01:30:00Z"),
            ("2026-11-21", "2026-11-20T23:00:00Z"),
            ("now", "2026-11-21T12:00:00Z"),
            ("-15m", "2026-11-21T11:45:00Z"),
            ("24h", "2026-11-20T12:00:00Z"),
            ("yesterday", "2026-11-19T23:00:00Z"),
        ] {
            let expected: DateTime<Utc> = expected.parse().unwrap();
            assert_eq!(parse_instant(text, now, berlin), Ok(expected), "{text}");
        }
        for text in [
            "2026-10-25 02:30",
            "2026-03-29 02:30",
            "soon",
            "-",
            "",
            "-5y",
            "ü",
        ] {
            assert!(parse_instant(text, now, berlin).is_err(), "{text}");
        }
    }
}
