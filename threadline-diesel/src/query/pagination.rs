//! Pages and cursors.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::InvalidCursor;
use super::scope::Scope;

/// The default number of entries of a page.
pub const DEFAULT_PAGE_SIZE: u32 = 50;

/// The largest number of entries of a page.
pub const MAX_PAGE_SIZE: u32 = 10_000;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Page<T> {
    /// The entries, in the order of the query.
    pub entries: Vec<T>,
    /// The cursor of the next page, for `after`; none if this is the last page.
    pub next: Option<Cursor>,
    /// The cursor of the previous page, for `before`; none if this is the first page.
    pub previous: Option<Cursor>,
}

impl<T> Page<T> {
    /// Whether there are entries after this page. Exact: one entry more than the page has is read.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.next.is_some()
    }

    /// Whether there are entries before this page. Exact for pages that this library reads; a page
    /// that the host cuts itself (`Timeline::page` and the like) assumes that the entry of the
    /// cursor still exists.
    #[must_use]
    pub fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// The page with each entry converted.
    #[must_use]
    pub fn map<U>(self, entry: impl FnMut(T) -> U) -> Page<U> {
        Page {
            entries: self.entries.into_iter().map(entry).collect(),
            next: self.next,
            previous: self.previous,
        }
    }
}

/// A page size out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a page has 1 to {MAX_PAGE_SIZE} entries, not {0}")]
pub struct InvalidPageSize(pub u32);

/// The number of entries of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// One entry.
    pub const ONE: Self = Self(1);

    /// [`MAX_PAGE_SIZE`] entries.
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

    /// A limit that is not the size of a page.
    #[cfg(feature = "async")]
    pub(crate) fn cap(entries: u32) -> Self {
        Self(entries)
    }

    /// The number of entries.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number of rows to read: one more than the page, which shows whether there is a next page.
    pub(crate) fn limit(self) -> i64 {
        i64::from(self.0) + 1
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(DEFAULT_PAGE_SIZE)
    }
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Newest first.
    #[default]
    NewestFirst,
    /// Oldest first.
    OldestFirst,
}

/// Which page of a list to read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Paging {
    pub(crate) size: PageSize,
    pub(crate) start: Start,
}

/// Where the page lies relative to a cursor.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Start {
    #[default]
    Beginning,
    After(Cursor),
    Before(Cursor),
}

impl Paging {
    /// Whether rows are read from the cursor against the order of the list.
    pub(crate) fn reads_backward(&self) -> bool {
        matches!(self.start, Start::Before(_))
    }

    /// Whether rows are read newest first.
    pub(crate) fn reads_descending(&self, order: Order) -> bool {
        (order == Order::NewestFirst) != self.reads_backward()
    }

    /// The position of the cursor, and how the rows of the page compare to it.
    pub(crate) fn position<Id: FromStr>(
        &self,
        query: &str,
        order: Order,
    ) -> Result<Option<(&'static str, Position<Id>)>, InvalidCursor> {
        let (Start::After(cursor) | Start::Before(cursor)) = &self.start else {
            return Ok(None);
        };
        let position = cursor.position(query)?;
        let comparison = match (self.reads_descending(order), position.included) {
            (true, false) => "<",
            (true, true) => "<=",
            (false, false) => ">",
            (false, true) => ">=",
        };
        Ok(Some((comparison, position)))
    }

    /// Cuts the page out of the rows that were read: one more than its size, in the order of reading.
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
                first.or_else(|| from.including_entry()),
            ),
            Start::Before(from) => (
                last.or_else(|| from.including_entry()),
                first.filter(|_| more),
            ),
        };
        Page {
            entries: rows,
            next,
            previous,
        }
    }

    /// The paging that reads one entry on the side of the cursor that the page was reached from; none
    /// for a first page.
    pub(crate) fn opposite<T>(&self, page: &Page<T>) -> Option<Self> {
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

    /// Removes the cursor to the side that the page was reached from: nothing is left there.
    pub(crate) fn clear_opposite_cursor<T>(&self, page: &mut Page<T>) {
        match self.start {
            Start::Beginning => {}
            Start::After(_) => page.previous = None,
            Start::Before(_) => page.next = None,
        }
    }
}

/// The start of a page: opaque, serializable, safe in URLs.
///
/// A cursor contains a digest of its query and is rejected by any other query. It names an entry, not
/// an offset, so new entries do not shift pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

/// The digest of a query in its cursors: of its filters, scope and order.
pub(crate) fn digest<Filters: Serialize>(
    kind: &str,
    filters: &Filters,
    scope: Option<&Scope>,
    order: Order,
) -> String {
    URL_SAFE_NO_PAD.encode(&sha256(kind, filters, scope, order)[..6])
}

/// The SHA-256 of the filters, scope and order of a query.
pub(crate) fn sha256<Filters: Serialize>(
    kind: &str,
    filters: &Filters,
    scope: Option<&Scope>,
    order: Order,
) -> [u8; 32] {
    let query = (kind, filters, scope.map(Scope::fingerprint), order);
    let query = serde_json::to_vec(&query).unwrap_or_default();
    Sha256::digest(query).into()
}

/// The position of a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position<Id> {
    pub(crate) at: DateTime<Utc>,
    pub(crate) id: Id,
    /// Whether the entry at the position is part of the page.
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
    /// Reads a cursor back from text. It is validated when it is used.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The cursor as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The cursor at an entry.
    pub(crate) fn at<Id: ToString>(query: &str, at: DateTime<Utc>, id: &Id) -> Self {
        Self::from_token(&Token {
            q: query.to_owned(),
            at: at.timestamp_micros(),
            id: id.to_string(),
            included: false,
        })
    }

    fn from_token(token: &Token) -> Self {
        Self(URL_SAFE_NO_PAD.encode(serde_json::to_vec(token).unwrap_or_default()))
    }

    fn token(&self) -> Option<Token> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.0).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The same position for the opposite direction: the entry itself is part of the page.
    pub(crate) fn including_entry(&self) -> Option<Self> {
        let token = self.token()?;
        Some(Self::from_token(&Token {
            included: !token.included,
            ..token
        }))
    }

    pub(crate) fn position<Id: FromStr>(&self, query: &str) -> Result<Position<Id>, InvalidCursor> {
        let malformed = || InvalidCursor::Malformed(self.0.chars().take(100).collect());
        let token = self.token().ok_or_else(malformed)?;
        if token.q != query {
            return Err(InvalidCursor::OtherQuery);
        }
        Ok(Position {
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
    fn a_cursor_is_rejected_by_another_query() {
        let at = instant(1_700_000_000_000_001);
        let cursor = Cursor::at("q", at, &42_i64);
        let position = cursor.position::<i64>("q").unwrap();
        assert_eq!(
            (position.at, position.id, position.included),
            (at, 42, false)
        );
        assert_eq!(cursor.position::<i64>("r"), Err(InvalidCursor::OtherQuery));
        assert!(Cursor::from_text("?").position::<i64>("q").is_err());
        let cut = Cursor::from_text(&cursor.as_str()[..8]);
        assert!(cut.position::<i64>("q").is_err());
        let from_there = cursor.including_entry().unwrap();
        assert!(from_there.position::<i64>("q").unwrap().included);
    }

    #[test]
    fn cursors_contain_only_url_safe_characters() {
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
    fn a_page_has_a_next_cursor_only_if_more_rows_were_read() {
        let cursor = |n: &i64| Cursor::at("q", instant(0), n);
        let first = paging(Start::Beginning);
        assert!(!first.page(vec![4, 3], cursor).has_more());
        let page = first.page(vec![4, 3, 2], cursor);
        assert_eq!(
            (page.entries.as_slice(), page.has_more()),
            (&[4, 3][..], true)
        );
        assert!(!page.has_previous());
        assert!(first.opposite(&page).is_none());
        assert!(PageSize::new(0).is_err());
    }

    #[test]
    fn a_page_read_backward_is_in_the_order_of_the_list() {
        let cursor = |n: &i64| Cursor::at("q", instant(0), n);
        let backward = paging(Start::Before(cursor(&5)));
        let page = backward.page(vec![6, 7, 8], cursor);
        assert_eq!(page.entries, [7, 6]);
        assert_eq!(page.previous, Some(cursor(&7)));
        assert_eq!(page.next, Some(cursor(&6)));
        let empty = backward.page(Vec::new(), cursor);
        let back = empty.next.unwrap().position::<i64>("q").unwrap();
        assert_eq!((back.id, back.included), (5, true));
    }
}
