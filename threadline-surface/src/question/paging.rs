//! The page of a list: `limit`, `after`, `before`.

use threadline_diesel::query::DEFAULT_PAGE_SIZE;
use threadline_diesel::{Cursor, PageSize};

use super::parameters::Parameters;
use crate::href::Href;

/// The largest number of entries of a page.
pub(crate) const MAX_ENTRIES: u32 = 200;

/// The page of a list in an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Paging {
    limit: Option<u32>,
    size: PageSize,
    after: Option<Cursor>,
    before: Option<Cursor>,
}

impl Paging {
    /// Takes the page out of parameters. Errors are kept in the parameters.
    pub(crate) fn take(parameters: &mut Parameters) -> Self {
        let limit = parameters.parsed("limit", |text| {
            let entries = text.parse::<u32>().unwrap_or_default();
            match PageSize::new(entries) {
                Ok(size) if entries <= MAX_ENTRIES => Ok((entries, size)),
                _ => Err(format!(
                    "write a number from 1 to {MAX_ENTRIES}; without it a page has {DEFAULT_PAGE_SIZE} entries"
                )),
            }
        });
        let after = parameters.text("after");
        let before = parameters.text("before");
        if let (Some(_), Some(before)) = (&after, &before) {
            parameters.reject("before", before, "give after or before, not both");
        }
        Self {
            limit: limit.map(|(entries, _)| entries),
            size: limit.map(|(_, size)| size).unwrap_or_default(),
            after: after.map(Cursor::from_text),
            before: before.map(Cursor::from_text),
        }
    }

    /// The first page with a number of entries.
    pub(crate) fn of_size(size: PageSize) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    /// The number of entries.
    pub(crate) fn size(&self) -> PageSize {
        self.size
    }

    /// Sets the size of a page for addresses without a limit.
    pub(crate) fn default_size(self, size: PageSize) -> Self {
        let size = if self.limit.is_some() {
            self.size
        } else {
            size
        };
        Self { size, ..self }
    }

    /// Whether the page is not the first: its instants must be fixed.
    pub(crate) fn has_cursor(&self) -> bool {
        self.after.is_some() || self.before.is_some()
    }

    /// Adds the size of the page to the address of a list.
    pub(crate) fn add_limit(&self, list: Href) -> Href {
        match self.limit {
            Some(limit) => list.with("limit", limit),
            None => list,
        }
    }

    /// The page of a question, by its methods: `apply(timeline, Timeline::page_size, Timeline::after,
    /// Timeline::before)`.
    pub(crate) fn apply<Q>(
        &self,
        question: Q,
        page_size: fn(Q, PageSize) -> Q,
        after: fn(Q, Cursor) -> Q,
        before: fn(Q, Cursor) -> Q,
    ) -> Q {
        let question = page_size(question, self.size);
        match (&self.after, &self.before) {
            (Some(cursor), _) => after(question, cursor.clone()),
            (None, Some(cursor)) => before(question, cursor.clone()),
            (None, None) => question,
        }
    }
}
