//! Names and start positions of consumers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The maximum length of a consumer name, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// The name of a consumer: a lower-case letter or a digit, then those, `_`, `-` and `.`, at most 63
/// of them.
///
/// ```
/// use threadline_diesel::feed::ConsumerName;
///
/// let search: ConsumerName = "search-index".parse()?;
/// assert_eq!(search.as_str(), "search-index");
/// assert!("Search Index".parse::<ConsumerName>().is_err());
/// # Ok::<(), threadline_diesel::feed::InvalidConsumerName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConsumerName(String);

/// A text that is not a consumer name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a consumer name: use lower-case letters, digits, `_`, `-` and `.`, at most \
     {MAX_NAME_BYTES}, beginning with a letter or a digit"
)]
pub struct InvalidConsumerName(pub String);

impl ConsumerName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConsumerName {
    type Err = InvalidConsumerName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let begins = text.bytes().next().is_some_and(plain);
        let goes_on = text
            .bytes()
            .all(|byte| plain(byte) || matches!(byte, b'_' | b'-' | b'.'));
        if begins && goes_on && text.len() <= MAX_NAME_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidConsumerName(text.chars().take(100).collect()))
        }
    }
}

impl TryFrom<String> for ConsumerName {
    type Error = InvalidConsumerName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ConsumerName> for String {
    fn from(name: ConsumerName) -> Self {
        name.0
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The start position of a new consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// The oldest change or action in the trail.
    Beginning,
    /// Changes and actions that are captured from now on. Changes captured earlier by a transaction that has
    /// not committed yet are not included.
    Now,
    /// After the change or action with this id.
    After(i64),
}

impl Start {
    /// The id to begin after; none for the last assigned id.
    pub(crate) fn after_id(self) -> Option<i64> {
        match self {
            Self::Beginning => Some(0),
            Self::Now => None,
            Self::After(id) => Some(id),
        }
    }
}

/// A text that is not a start position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a start position: use `beginning`, `now`, or the id of the change to continue after"
)]
pub struct InvalidStart(pub String);

impl FromStr for Start {
    type Err = InvalidStart;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "now" => Ok(Self::Now),
            id => id
                .parse()
                .map(Self::After)
                .map_err(|_| InvalidStart(text.chars().take(100).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumer_names_with_other_characters_are_rejected() {
        for good in ["a", "0", "search-index", "a.b_c", &"x".repeat(63)] {
            assert_eq!(good.parse::<ConsumerName>().unwrap().as_str(), good);
        }
        for bad in ["", "A", "-a", ".a", "a b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<ConsumerName>().is_err(), "{bad}");
            assert!(serde_json::from_value::<ConsumerName>(bad.into()).is_err());
        }
    }

    #[test]
    fn a_start_position_parses_from_a_word_or_an_id() {
        assert_eq!("beginning".parse(), Ok(Start::Beginning));
        assert_eq!("now".parse(), Ok(Start::Now));
        assert_eq!("12".parse(), Ok(Start::After(12)));
        assert!("soon".parse::<Start>().is_err());
    }
}
