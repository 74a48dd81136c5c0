//! Instants of addresses.

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use chrono_tz::Tz;
use threadline_core::instant::InstantInput;

/// An instant of an address: the text as given, which may be relative, and its meaning now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenInstant {
    pub(crate) text: String,
    pub(crate) instant: DateTime<Utc>,
    /// Whether the text means another instant later.
    pub(crate) is_relative: bool,
}

impl GivenInstant {
    /// Parses a text.
    pub(crate) fn parse(text: &str, now: DateTime<Utc>, zone: Tz) -> Result<Self, String> {
        let input: InstantInput = text.parse().map_err(|error| format!("{error}"))?;
        let instant = input.resolve(now, zone);
        Ok(Self {
            text: text.to_owned(),
            instant: instant.map_err(|error| error.to_string())?,
            is_relative: input.is_relative(),
        })
    }

    /// An instant that does not depend on the time of the request.
    pub(crate) fn at(instant: DateTime<Utc>) -> Self {
        Self {
            text: instant_text(instant),
            instant,
            is_relative: false,
        }
    }

    /// A relative instant without the fraction of its second, which makes a window no smaller if it is its start.
    pub(crate) fn whole_seconds(self) -> Self {
        let instant = if self.is_relative {
            self.instant.trunc_subsecs(0)
        } else {
            self.instant
        };
        Self { instant, ..self }
    }

    /// The same instant, independent of the time of the request and the time zone of the operator.
    pub(crate) fn fixed(&self) -> Self {
        Self::at(self.instant)
    }
}

/// An instant as addresses write it.
pub(crate) fn instant_text(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
