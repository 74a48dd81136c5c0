//! Instants as people write them: `2026-11-20 03:00` in a time zone, `2h`, `yesterday`.
//!
//! Parsing does no I/O: the caller gives the current time and the time zone.

mod zone;

use std::str::FromStr;

use chrono::{
    DateTime, Datelike, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime,
    SecondsFormat, TimeDelta, TimeZone, Utc,
};
use chrono_tz::GapInfo;
pub use chrono_tz::Tz;

pub use self::zone::{UnknownTimeZone, parse_zone, zone_from_env};

/// An instant as typed, before the current time and the time zone are applied.
///
/// | text | instant |
/// |---|---|
/// | `2026-11-20T03:00:00Z`, `2026-11-20 03:00+01` | this instant; the offset can have minutes |
/// | `2026-11-20 03:00`, `2026-11-20T03:00:00` | this local time |
/// | `2026-11-20` | the start of this day |
/// | `now` | the current time |
/// | `today`, `yesterday` | the start of this day |
/// | `90s`, `15m`, `2h`, `7d`, `3w`, also `-15m` | this long before the current time; a day has 24 hours |
///
/// ```
/// use threadline_core::instant::{InstantInput, parse_zone};
///
/// let now = "2026-11-21T12:00:00Z".parse()?;
/// let berlin = parse_zone("Europe/Berlin")?;
/// let resolve = |text: &str| Ok::<_, Box<dyn std::error::Error>>(
///     text.parse::<InstantInput>()?.resolve(now, berlin)?.to_rfc3339(),
/// );
/// assert_eq!(resolve("2026-11-20 03:00")?, "2026-11-20T02:00:00+00:00");
/// assert_eq!(resolve("2h")?, "2026-11-21T10:00:00+00:00");
/// assert_eq!(resolve("yesterday")?, "2026-11-19T23:00:00+00:00");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstantInput {
    text: String,
    form: Form,
}

/// The forms in which an instant can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A time with an offset from UTC.
    Exact(DateTime<Utc>),
    /// A time in the time zone.
    Local(NaiveDateTime),
    /// The start of a day in the time zone.
    Date(NaiveDate),
    /// The start of the day this number of days ago, in the time zone.
    DaysAgo(u64),
    /// A time before the current one.
    Ago(TimeDelta),
}

/// A text is not an instant, or not exactly one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInstant {
    /// The text has none of the forms of an instant.
    #[error(
        "`{0}` is not an instant; write 2026-01-31T12:00:00Z, 2026-01-31 12:00 or 2026-01-31 in the time \
         zone, now, today, yesterday, or a time ago: 15m, 2h, 7d, 3w"
    )]
    Malformed(String),
    /// The clocks of the time zone show this time twice, because they were set back.
    #[error(
        "`{local}` occurs twice in {zone}; write {} or {}",
        rfc3339(first),
        rfc3339(second)
    )]
    Ambiguous {
        /// The local time.
        local: NaiveDateTime,
        /// The time zone.
        zone: Tz,
        /// The first instant at which clocks show it.
        first: DateTime<FixedOffset>,
        /// The second one.
        second: DateTime<FixedOffset>,
    },
    /// The clocks of the time zone never show this time, because they were set forward.
    #[error(
        "`{local}` does not exist in {zone}: clocks were set forward from {} to {}",
        rfc3339(before),
        rfc3339(after)
    )]
    Skipped {
        /// The local time.
        local: NaiveDateTime,
        /// The time zone.
        zone: Tz,
        /// The instant of the change, as clocks showed it before.
        before: DateTime<FixedOffset>,
        /// The same instant, as clocks showed it afterwards.
        after: DateTime<FixedOffset>,
    },
    /// The instant is not in the years 1 to 9999.
    #[error("`{0}` is not in the years 1 to 9999")]
    OutOfRange(String),
}

fn rfc3339(instant: &DateTime<FixedOffset>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

impl FromStr for InstantInput {
    type Err = InvalidInstant;

    fn from_str(text: &str) -> Result<Self, InvalidInstant> {
        let text = text.trim();
        let form = parse_word(text)
            .or_else(|| parse_exact(text).map(Form::Exact))
            .or_else(|| parse_local(text));
        let form = match form {
            Some(form) => form,
            None => parse_ago(text)?,
        };
        Ok(Self {
            text: text.to_owned(),
            form,
        })
    }
}

impl From<DateTime<Utc>> for InstantInput {
    fn from(instant: DateTime<Utc>) -> Self {
        Self {
            text: instant.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            form: Form::Exact(instant),
        }
    }
}

impl InstantInput {
    /// The text as typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The instant, given the current time and the time zone of local times.
    ///
    /// # Errors
    /// [`InvalidInstant`] if a local time occurs twice or never in the time zone, or if the year has more than
    /// four digits. The start of a day is its first instant, which is not an error.
    pub fn resolve(&self, now: DateTime<Utc>, zone: Tz) -> Result<DateTime<Utc>, InvalidInstant> {
        let out_of_range = || InvalidInstant::OutOfRange(self.text.clone());
        let instant = match self.form {
            Form::Exact(instant) => instant,
            Form::Local(local) => resolve_local(local, zone)?,
            Form::Date(date) => start_of_day(date, zone).ok_or_else(out_of_range)?,
            Form::DaysAgo(days) => {
                let today = now.with_timezone(&zone).date_naive();
                let date = today.checked_sub_days(chrono::Days::new(days));
                date.and_then(|date| start_of_day(date, zone))
                    .ok_or_else(out_of_range)?
            }
            Form::Ago(time) => now.checked_sub_signed(time).ok_or_else(out_of_range)?,
        };
        if (1..=9999).contains(&instant.year()) {
            Ok(instant)
        } else {
            Err(out_of_range())
        }
    }

    /// Whether the instant depends on the current time.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        matches!(self.form, Form::DaysAgo(_) | Form::Ago(_))
    }
}

fn parse_word(text: &str) -> Option<Form> {
    match text.to_ascii_lowercase().as_str() {
        "now" => Some(Form::Ago(TimeDelta::zero())),
        "today" => Some(Form::DaysAgo(0)),
        "yesterday" => Some(Form::DaysAgo(1)),
        _ => None,
    }
}

/// Parses a number and a unit.
fn parse_ago(text: &str) -> Result<Form, InvalidInstant> {
    let malformed = || InvalidInstant::Malformed(text.to_owned());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let unit = unsigned.chars().last().ok_or_else(malformed)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(malformed()),
    };
    let number = &unsigned[..unsigned.len() - unit.len_utf8()];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let number = number.parse::<i64>().ok();
    number
        .and_then(|number| TimeDelta::try_seconds(number.checked_mul(seconds)?))
        .map(Form::Ago)
        .ok_or_else(|| InvalidInstant::OutOfRange(text.to_owned()))
}

/// Parses a time with an offset, as RFC 3339, PostgreSQL and this program write it, with or without seconds.
fn parse_exact(text: &str) -> Option<DateTime<Utc>> {
    let (local, offset) = split_offset(text);
    let offset = match offset.len() {
        0 => return None,
        3 => format!("{offset}:00"),
        _ => offset.to_owned(),
    };
    ["", ":00"]
        .iter()
        .find_map(|seconds| format!("{local}{seconds}{offset}").parse().ok())
}

/// Splits date and time from the offset, which may be empty.
fn split_offset(text: &str) -> (&str, &str) {
    let bare = text
        .strip_suffix("UTC")
        .or_else(|| text.strip_suffix(['Z', 'z']));
    if let Some(bare) = bare {
        return (bare.trim_end(), "Z");
    }
    // The sign of the offset is after the first colon; the hyphens of the date are before it.
    let time = text.find(':').unwrap_or(text.len());
    match text[time..].find(['+', '-']) {
        Some(sign) => (text[..time + sign].trim_end(), &text[time + sign..]),
        None => (text, ""),
    }
}

/// Parses a date, or a date and a time without an offset.
fn parse_local(text: &str) -> Option<Form> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(Form::Date(date));
    }
    let local = text.replacen(' ', "T", 1);
    ["", ":00"]
        .iter()
        .find_map(|seconds| format!("{local}{seconds}").parse().ok())
        .map(Form::Local)
}

fn resolve_local(local: NaiveDateTime, zone: Tz) -> Result<DateTime<Utc>, InvalidInstant> {
    let out_of_range = || InvalidInstant::OutOfRange(local.to_string());
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(instant) => Ok(instant.to_utc()),
        MappedLocalTime::Ambiguous(first, second) => Err(InvalidInstant::Ambiguous {
            local,
            zone,
            first: first.fixed_offset(),
            second: second.fixed_offset(),
        }),
        MappedLocalTime::None => {
            let gap = GapInfo::new(&local, &zone).ok_or_else(out_of_range)?;
            let after = gap.end.ok_or_else(out_of_range)?.fixed_offset();
            let (start, _) = gap.begin.ok_or_else(out_of_range)?;
            let offset = FixedOffset::east_opt(
                i32::try_from((start - after.naive_utc()).num_seconds())
                    .map_err(|_| out_of_range())?,
            );
            Err(InvalidInstant::Skipped {
                local,
                zone,
                before: after.with_timezone(&offset.ok_or_else(out_of_range)?),
                after,
            })
        }
    }
}

/// The first instant of a day; that after the gap if clocks were set forward at midnight.
fn start_of_day(date: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    let midnight = date.and_time(NaiveTime::MIN);
    match zone.from_local_datetime(&midnight) {
        MappedLocalTime::Single(instant) | MappedLocalTime::Ambiguous(instant, _) => {
            Some(instant.to_utc())
        }
        MappedLocalTime::None => Some(GapInfo::new(&midnight, &zone)?.end?.to_utc()),
    }
}

#[cfg(test)]
mod tests;
