//! Pages of anything that can be large, and the cursors between them.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many entries a page has unless something else is asked for.
pub const DEFAULT_PAGE_SIZE: u32 = 50;

/// The most entries a page can have.
pub const MAX_PAGE_SIZE: u32 = 10_000;

/// A page of answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Page<T> {
    /// The entries, in the question's order.
    pub entries: Vec<T>,
    /// Where the next page begins; none when this page is the last.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Whether there is more after this page. Exact: one entry more than the page holds is read.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.next.is_some()
    }
}

/// A size a page cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a page has 1 to {MAX_PAGE_SIZE} entries, not {0}")]
pub struct InvalidPageSize(pub u32);

/// How many entries a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// A size from 1 to [`MAX_PAGE_SIZE`].
    ///
    /// # Errors
    /// [`InvalidPageSize`] outside of that.
    pub fn new(entries: u32) -> Result<Self, InvalidPageSize> {
        if (1..=MAX_PAGE_SIZE).contains(&entries) {
            Ok(Self(entries))
        } else {
            Err(InvalidPageSize(entries))
        }
    }

    /// The rows to read: the page's and one more, which tells whether there is more.
    pub(crate) fn limit(self) -> i64 {
        i64::from(self.0) + 1
    }

    /// Cuts what was read to the page.
    pub(crate) fn cut<T>(
        self,
        mut rows: Vec<T>,
        cursor_after: impl FnOnce(&T) -> Cursor,
    ) -> Page<T> {
        let size = usize::try_from(self.0).unwrap_or(usize::MAX);
        let next = if rows.len() > size {
            rows.truncate(size);
            rows.last().map(cursor_after)
        } else {
            None
        };
        Page {
            entries: rows,
            next,
        }
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(DEFAULT_PAGE_SIZE)
    }
}

/// Where a page begins: opaque, serializable, safe in URLs.
///
/// It carries a digest of the question it belongs to, and is refused with any other. New data does
/// not disturb it: a page begins after an entry, not at a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

/// What a cursor remembers a question by: a digest of its filters.
pub(crate) fn digest<Filters: Serialize>(filters: &Filters) -> String {
    let filters = serde_json::to_vec(filters).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(&Sha256::digest(filters)[..6])
}

/// A text that is no cursor, or belongs to another question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCursor {
    /// It was not made by this library, or was cut.
    #[error("`{0}` is no cursor: pass one back as it was given, or start without one")]
    Malformed(String),
    /// It belongs to a question with other filters.
    #[error("this cursor belongs to another question: keep the filters, or start without one")]
    OtherQuestion,
}

/// The place a cursor marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place<Id> {
    pub(crate) at: DateTime<Utc>,
    pub(crate) id: Id,
}

#[derive(Serialize, Deserialize)]
struct Token {
    q: String,
    at: i64,
    id: String,
}

impl Cursor {
    /// A cursor read back from text; checked when it is used.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text to pass on.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn after<Id: ToString>(question: &str, place: &Place<Id>) -> Self {
        let token = Token {
            q: question.to_owned(),
            at: place.at.timestamp_micros(),
            id: place.id.to_string(),
        };
        Self(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default()))
    }

    pub(crate) fn place<Id: FromStr>(&self, question: &str) -> Result<Place<Id>, InvalidCursor> {
        let malformed = || InvalidCursor::Malformed(self.0.chars().take(100).collect());
        let bytes = URL_SAFE_NO_PAD.decode(&self.0).map_err(|_| malformed())?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
        if token.q != question {
            return Err(InvalidCursor::OtherQuestion);
        }
        Ok(Place {
            at: DateTime::from_timestamp_micros(token.at).ok_or_else(malformed)?,
            id: token.id.parse().map_err(|_| malformed())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_only_to_its_question() {
        let place = Place {
            at: DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap(),
            id: 42_i64,
        };
        let cursor = Cursor::after("q", &place);
        assert_eq!(cursor.place("q"), Ok(place));
        assert_eq!(cursor.place::<i64>("r"), Err(InvalidCursor::OtherQuestion));
        assert!(Cursor::from_text("?").place::<i64>("q").is_err());
        assert!(
            Cursor::from_text(&cursor.as_str()[..8])
                .place::<i64>("q")
                .is_err()
        );
    }

    #[test]
    fn a_page_knows_exactly_whether_there_is_more() {
        let size = PageSize::new(2).unwrap();
        let cursor = |_: &i32| Cursor::from_text("c");
        assert!(!size.cut(vec![1, 2], cursor).has_more());
        let page = size.cut(vec![1, 2, 3], cursor);
        assert_eq!(
            (page.entries.as_slice(), page.has_more()),
            (&[1, 2][..], true)
        );
        assert!(PageSize::new(0).is_err());
    }
}
