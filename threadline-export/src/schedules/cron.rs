//! Cron expressions.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SubsecRound, Utc};
use croner::parser::{CronParser, Seconds, Year};
use threadline_core::instant::Tz;

/// The names of the fields, in order.
const FIELDS: [&str; 5] = ["minute", "hour", "day of month", "month", "day of week"];

/// The maximum length of an expression in bytes.
const MAX_BYTES: usize = 200;

/// A cron expression with five fields: minute, hour, day of month, month, day of week.
///
/// `L` is the last day of the month, `#2` the second such weekday, `@daily` and the like are accepted. If day of
/// month and day of week are given, a day that matches one of them is due.
///
/// ```
/// use threadline_export::schedules::Cron;
///
/// let every_monday: Cron = "0 6 * * MON".parse()?;
/// assert_eq!(every_monday.as_str(), "0 6 * * MON");
/// let wrong = "0 25 * * *".parse::<Cron>().unwrap_err();
/// assert!(wrong.to_string().contains("hour `25`"));
/// # Ok::<(), threadline_export::schedules::InvalidCron>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    parsed: croner::Cron,
}

/// The error for a text that is not a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCron {
    /// The number of fields is not five.
    #[error(
        "`{text}` has {fields} fields; write five: minute, hour, day of month, month, day of week"
    )]
    Fields {
        /// The text.
        text: String,
        /// The number of its fields.
        fields: usize,
    },
    /// A field is malformed.
    #[error("{field} `{value}` is not valid in a cron expression")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// Its text.
        value: String,
    },
    /// The expression matches no time.
    #[error("`{0}` is never due")]
    NeverDue(String),
}

impl Cron {
    /// The expression as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after an instant at which the expression is due in a time zone.
    ///
    /// # Errors
    /// [`InvalidCron::NeverDue`].
    pub fn next_after(
        &self,
        instant: DateTime<Utc>,
        zone: Tz,
    ) -> Result<DateTime<Utc>, InvalidCron> {
        let local = instant.with_timezone(&zone);
        let next = self.parsed.find_next_occurrence(&local, false);
        next.map(|next| next.to_utc()).map_err(|_| self.never_due())
    }

    /// The last time before an instant at which the expression was due in a time zone.
    ///
    /// # Errors
    /// [`InvalidCron::NeverDue`].
    pub fn last_before(
        &self,
        instant: DateTime<Utc>,
        zone: Tz,
    ) -> Result<DateTime<Utc>, InvalidCron> {
        let local = instant.trunc_subsecs(0).with_timezone(&zone);
        let last = self.parsed.find_previous_occurrence(&local, false);
        last.map(|last| last.to_utc()).map_err(|_| self.never_due())
    }

    fn never_due(&self) -> InvalidCron {
        InvalidCron::NeverDue(self.text.clone())
    }
}

fn parse(text: &str) -> Option<croner::Cron> {
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    parser.parse(text).ok()
}

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let fields: Vec<_> = text.split_whitespace().collect();
        let is_nickname = text.starts_with('@') && fields.len() == 1;
        if text.len() > MAX_BYTES || (fields.len() != FIELDS.len() && !is_nickname) {
            return Err(InvalidCron::Fields {
                text: text.chars().take(100).collect(),
                fields: fields.len(),
            });
        }
        if let Some(parsed) = parse(text) {
            return Ok(Self {
                text: text.to_owned(),
                parsed,
            });
        }
        let alone = |index: usize, field: &str| {
            let mut fields = ["*"; FIELDS.len()];
            fields[index] = field;
            fields.join(" ")
        };
        let mut named = FIELDS.into_iter().zip(fields).enumerate();
        let wrong = named.find(|(index, (_, field))| parse(&alone(*index, field)).is_none());
        let (field, value) = wrong.map_or(("expression", text), |(_, named)| named);
        Err(InvalidCron::Field {
            field,
            value: value.to_owned(),
        })
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(text: &str) -> Cron {
        text.parse().unwrap()
    }

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_malformed_expression_is_rejected_with_its_field() {
        for (text, expected) in [
            ("", "has 0 fields"),
            ("0 0 * *", "has 4 fields"),
            ("0 0 0 * * *", "has 6 fields"),
            ("60 0 * * *", "minute `60`"),
            ("0 0 32 * *", "day of month `32`"),
            ("0 0 * FOO *", "month `FOO`"),
            ("0 0 * * 9", "day of week `9`"),
            ("@sometimes", "`@sometimes`"),
        ] {
            let error = text.parse::<Cron>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let never = cron("0 0 30 2 *").next_after(DateTime::UNIX_EPOCH, Tz::UTC);
        assert!(matches!(never, Err(InvalidCron::NeverDue(_))));
    }

    #[test]
    fn a_day_of_a_change_of_the_clock_has_23_or_25_hours() {
        let midnight = cron("0 0 * * *");
        let berlin = Tz::Europe__Berlin;
        for (start, end) in [
            ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ] {
            assert_eq!(
                midnight.next_after(instant(start), berlin),
                Ok(instant(end))
            );
            assert_eq!(
                midnight.last_before(instant(end), berlin),
                Ok(instant(start))
            );
        }
    }

    #[test]
    fn a_time_that_a_change_of_the_clock_skips_or_repeats_is_due_once() {
        let berlin = Tz::Europe__Berlin;
        for text in ["30 2 * * *", "0 2 * * *", "0 3 * * *", "59 1 * * *"] {
            let cron = cron(text);
            let mut ticks = Vec::new();
            let mut at = instant("2026-01-01T12:00:00Z");
            while at < instant("2027-01-01T12:00:00Z") {
                at = cron.next_after(at, berlin).unwrap();
                ticks.push(at);
            }
            assert_eq!(ticks.len(), 366, "{text}");
            for pair in ticks.windows(2) {
                assert_eq!(cron.last_before(pair[1], berlin), Ok(pair[0]), "{text}");
            }
        }
    }

    #[test]
    fn an_hourly_expression_is_due_in_every_hour_of_the_year() {
        let cron = cron("0 * * * *");
        let berlin = Tz::Europe__Berlin;
        let mut at = instant("2026-01-01T00:00:00Z");
        for _ in 0..365 * 24 {
            let next = cron.next_after(at, berlin).unwrap();
            assert_eq!(next - at, chrono::TimeDelta::hours(1), "after {at}");
            assert_eq!(cron.last_before(next, berlin), Ok(at));
            at = next;
        }
    }
}
