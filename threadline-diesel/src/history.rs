//! What happened to one row.

#[cfg(feature = "async")]
pub(crate) mod notes;

use std::marker::PhantomData;

use threadline_core::Audited;
use threadline_core::row_key::{InvalidRowKey, KeyParts, RowKeyText};
use threadline_core::table::{InvalidTable, TableName};

#[cfg(feature = "async")]
pub use self::notes::{EarlierHolder, HistoryNotes, RowMove, TruncatedWith};
use crate::page::{Cursor, PageSize};
use crate::scope::Scope;
use crate::timeline::Timeline;

/// A question for the history of a row cannot be put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHistory {
    /// The model's declaration is wrong.
    #[error(transparent)]
    Table(#[from] InvalidTable),
    /// The key does not fit the table.
    #[error(transparent)]
    Key(#[from] InvalidRowKey),
}

/// The changes of one row, newest first, a page at a time; changes that gave it another key, and moves
/// between partitions, included.
///
/// ```no_run
/// # #[derive(Debug)] struct Invoice;
/// # impl threadline_core::Audited for Invoice {
/// #     fn audited_table() -> Result<threadline_core::table::AuditedTable, threadline_core::table::InvalidTable> {
/// #         unimplemented!()
/// #     }
/// # }
/// use threadline_diesel::history::history;
///
/// let question = history::<Invoice>(42_i64)?;
/// # let _ = question;
/// # Ok::<(), threadline_diesel::history::InvalidHistory>(())
/// ```
///
/// # Errors
/// [`InvalidHistory`] when the key has not the number of columns that the model's table has.
#[expect(
    clippy::needless_pass_by_value,
    reason = "keys are small, and `history::<M>(42)` reads well"
)]
pub fn history<M: Audited>(key: impl KeyParts) -> Result<History<M>, InvalidHistory> {
    let table = M::audited_table()?;
    let key = RowKeyText::of(&table, &key)?;
    Ok(History {
        timeline: row_timeline(table.name().clone(), &key),
        model: PhantomData,
    })
}

/// The same for a table without a model.
#[must_use]
pub fn row_timeline(table: TableName, key: &RowKeyText) -> Timeline {
    Timeline::new().row(table, key)
}

/// The history of a row of a model's table.
#[derive(Debug, Clone)]
pub struct History<M> {
    timeline: Timeline,
    model: PhantomData<fn() -> M>,
}

impl<M> History<M> {
    /// How many changes a page has; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.timeline = self.timeline.page_size(size);
        self
    }

    /// The page after a cursor of the same question: older changes.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.timeline = self.timeline.after(cursor);
        self
    }

    /// The page before a cursor of the same question: newer changes.
    #[must_use]
    pub fn before(mut self, cursor: Cursor) -> Self {
        self.timeline = self.timeline.before(cursor);
        self
    }

    /// Only what a caller may see.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.timeline = self.timeline.scope(scope);
        self
    }

    /// The question as a timeline, to put more filters on.
    #[must_use]
    pub fn into_timeline(self) -> Timeline {
        self.timeline
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.timeline
    }
}
