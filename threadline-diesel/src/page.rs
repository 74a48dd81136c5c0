//! Pages of anything that can be large, and the cursors between them.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::scope::Scope;

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
    /// Where the next page begins, for `after`; none when this page is the last.
    pub next: Option<Cursor>,
    /// Where the page before ends, for `before`; none when this page is the first.
    pub previous: Option<Cursor>,
}

impl<T> Page<T> {
    /// Whether there is more after this page. Exact: one entry more than the page holds is read.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.next.is_some()
    }

    /// Whether there is more before this page. Exact in the answers of this library; a page that a
    /// host cuts itself takes it for granted that the place it came from is still there.
    #[must_use]
    pub fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// The same page with other entries.
    #[must_use]
    pub fn map<U>(self, entry: impl FnMut(T) -> U) -> Page<U> {
        Page {
            entries: self.entries.into_iter().map(entry).collect(),
            next: self.next,
            previous: self.previous,
        }
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
    /// One entry.
    pub const ONE: Self = Self(1);

    /// As many entries as a page can have.
    pub const MAX: Self = Self(MAX_PAGE_SIZE);

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
}

impl Default for PageSize {
    fn default() -> Self {
        Self(DEFAULT_PAGE_SIZE)
    }
}

/// In which order a list is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// Which page of a list is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Paging {
    pub(crate) size: PageSize,
    pub(crate) start: Start,
}

/// Where a page is, seen from a cursor.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Start {
    #[default]
    Beginning,
    After(Cursor),
    Before(Cursor),
}

impl Paging {
    /// Whether the rows are read against the list's order, from the cursor on.
    pub(crate) fn reads_backward(&self) -> bool {
        matches!(self.start, Start::Before(_))
    }

    /// Whether the rows are read from the newest to the oldest.
    pub(crate) fn reads_descending(&self, order: Order) -> bool {
        (order == Order::NewestFirst) != self.reads_backward()
    }

    /// Where reading begins, and how the rows of the page compare to it.
    pub(crate) fn place<Id: FromStr>(
        &self,
        question: &str,
        order: Order,
    ) -> Result<Option<(&'static str, Place<Id>)>, InvalidCursor> {
        let (Start::After(cursor) | Start::Before(cursor)) = &self.start else {
            return Ok(None);
        };
        let place = cursor.place(question)?;
        let comparison = match (self.reads_descending(order), place.included) {
            (true, false) => "<",
            (true, true) => "<=",
            (false, false) => ">",
            (false, true) => ">=",
        };
        Ok(Some((comparison, place)))
    }

    /// The page in what was read: its size and one more, in the order of reading.
    pub(crate) fn page<T>(&self, mut rows: Vec<T>, cursor_at: impl Fn(&T) -> Cursor) -> Page<T> {
        let size = usize::try_from(self.size.0).unwrap_or(usize::MAX);
        let more = rows.len() > size;
        rows.truncate(size);
        if self.reads_backward() {
            rows.reverse();
        }
        let (first, last) = (rows.first().map(&cursor_at), rows.last().map(&cursor_at));
        let (next, previous) = match &self.start {
            Start::Beginning => (last.filter(|_| more), None),
            Start::After(from) => (
                last.filter(|_| more),
                first.or_else(|| from.including_its_place()),
            ),
            Start::Before(from) => (
                last.or_else(|| from.including_its_place()),
                first.filter(|_| more),
            ),
        };
        Page {
            entries: rows,
            next,
            previous,
        }
    }

    /// How to ask whether there is anything on the side that a page came from.
    pub(crate) fn behind<T>(&self, page: &Page<T>) -> Option<Self> {
        let start = match self.start {
            Start::Beginning => return None,
            Start::After(_) => Start::Before(page.previous.clone()?),
            Start::Before(_) => Start::After(page.next.clone()?),
        };
        Some(Self {
            size: PageSize::ONE,
            start,
        })
    }

    /// The page without the side that it came from, where nothing is left.
    pub(crate) fn nothing_behind<T>(&self, page: &mut Page<T>) {
        match self.start {
            Start::Beginning => {}
            Start::After(_) => page.previous = None,
            Start::Before(_) => page.next = None,
        }
    }
}

/// Where a page begins: opaque, serializable, safe in URLs.
///
/// It carries a digest of the question it belongs to, and is refused with any other. New data does
/// not disturb it: a page begins after an entry, not at a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

/// What a cursor remembers a question by: a digest of what it asks for, of whom it shows what, and
/// of its order.
pub(crate) fn digest<Filters: Serialize>(
    kind: &str,
    filters: &Filters,
    scope: Option<&Scope>,
    order: Order,
) -> String {
    let question = (kind, filters, scope.map(Scope::fingerprint), order);
    let question = serde_json::to_vec(&question).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(&Sha256::digest(question)[..6])
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
    /// Whether what is at the place belongs to the page.
    pub(crate) included: bool,
}

#[derive(Serialize, Deserialize)]
struct Token {
    q: String,
    at: i64,
    id: String,
    #[serde(default, rename = "in", skip_serializing_if = "std::ops::Not::not")]
    included: bool,
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

    /// The cursor of an entry.
    pub(crate) fn at<Id: ToString>(question: &str, at: DateTime<Utc>, id: &Id) -> Self {
        Self::of(&Token {
            q: question.to_owned(),
            at: at.timestamp_micros(),
            id: id.to_string(),
            included: false,
        })
    }

    fn of(token: &Token) -> Self {
        Self(URL_SAFE_NO_PAD.encode(serde_json::to_vec(token).unwrap_or_default()))
    }

    fn token(&self) -> Option<Token> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.0).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The same place, from the other side: what is there belongs to the page.
    fn including_its_place(&self) -> Option<Self> {
        let token = self.token()?;
        Some(Self::of(&Token {
            included: !token.included,
            ..token
        }))
    }

    pub(crate) fn place<Id: FromStr>(&self, question: &str) -> Result<Place<Id>, InvalidCursor> {
        let malformed = || InvalidCursor::Malformed(self.0.chars().take(100).collect());
        let token = self.token().ok_or_else(malformed)?;
        if token.q != question {
            return Err(InvalidCursor::OtherQuestion);
        }
        Ok(Place {
            at: DateTime::from_timestamp_micros(token.at).ok_or_else(malformed)?,
            id: token.id.parse().map_err(|_| malformed())?,
            included: token.included,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(micros).unwrap()
    }

    #[test]
    fn a_cursor_comes_back_only_to_its_question() {
        let at = instant(1_700_000_000_000_001);
        let cursor = Cursor::at("q", at, &42_i64);
        let place = cursor.place::<i64>("q").unwrap();
        assert_eq!((place.at, place.id, place.included), (at, 42, false));
        assert_eq!(cursor.place::<i64>("r"), Err(InvalidCursor::OtherQuestion));
        assert!(Cursor::from_text("?").place::<i64>("q").is_err());
        let cut = Cursor::from_text(&cursor.as_str()[..8]);
        assert!(cut.place::<i64>("q").is_err());
        let from_there = cursor.including_its_place().unwrap();
        assert!(from_there.place::<i64>("q").unwrap().included);
    }

    #[test]
    fn a_cursor_is_safe_in_an_address() {
        for id in 0..200_i64 {
            let cursor = Cursor::at("q", instant(id * 7_919), &id);
            let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            assert!(cursor.as_str().chars().all(safe), "{}", cursor.as_str());
        }
    }

    fn paging(start: Start) -> Paging {
        Paging {
            size: PageSize::new(2).unwrap(),
            start,
        }
    }

    #[test]
    fn a_page_knows_exactly_whether_there_is_more() {
        let cursor = |n: &i64| Cursor::at("q", instant(0), n);
        let first = paging(Start::Beginning);
        assert!(!first.page(vec![4, 3], cursor).has_more());
        let page = first.page(vec![4, 3, 2], cursor);
        assert_eq!(
            (page.entries.as_slice(), page.has_more()),
            (&[4, 3][..], true)
        );
        assert!(!page.has_previous());
        assert!(first.behind(&page).is_none());
        assert!(PageSize::new(0).is_err());
    }

    #[test]
    fn a_page_read_backward_is_in_the_lists_order() {
        let cursor = |n: &i64| Cursor::at("q", instant(0), n);
        let backward = paging(Start::Before(cursor(&5)));
        let page = backward.page(vec![6, 7, 8], cursor);
        assert_eq!(page.entries, [7, 6]);
        assert_eq!(page.previous, Some(cursor(&7)));
        assert_eq!(page.next, Some(cursor(&6)));
        let empty = backward.page(Vec::new(), cursor);
        let back = empty.next.unwrap().place::<i64>("q").unwrap();
        assert_eq!((back.id, back.included), (5, true));
    }
}
