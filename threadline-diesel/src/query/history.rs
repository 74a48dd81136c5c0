//! The changes of one row.

use std::marker::PhantomData;

use threadline_core::Audited;
use threadline_core::row_key::{KeyParts, RowKeyText};

use super::error::InvalidHistory;
use super::field_history::FieldHistory;
use super::filter_values::ColumnName;
use super::pagination::{Cursor, PageSize};
use super::scope::Scope;
use super::timeline::Timeline;

/// A query for the changes of a model's row, newest first, read a page at a time by
/// [`history`](crate::history()). Changes of the row's key and moves between partitions are followed.
///
/// For a table without a model, [`Timeline::row`] is the same query.
///
/// ```no_run
/// # #[derive(Debug)] struct Invoice;
/// # impl threadline_core::Audited for Invoice {
/// #     fn audited_table() -> Result<threadline_core::table::AuditedTable, threadline_core::table::InvalidTable> {
/// #         unimplemented!()
/// #     }
/// # }
/// use threadline_diesel::History;
///
/// let query = History::<Invoice>::new(42_i64)?;
/// # let _ = query;
/// # Ok::<(), threadline_diesel::query::InvalidHistory>(())
/// ```
#[derive(Debug, Clone)]
pub struct History<M> {
    timeline: Timeline,
    model: PhantomData<fn() -> M>,
}

impl<M: Audited> History<M> {
    /// The history of the row that has this key now, or had it last.
    ///
    /// # Errors
    /// [`InvalidHistory`] when the key does not have as many columns as the key of the model's table.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "keys are small, and `History::<M>::new(42)` reads well"
    )]
    pub fn new(key: impl KeyParts) -> Result<Self, InvalidHistory> {
        let table = M::audited_table()?;
        let key = RowKeyText::new(&table, &key)?;
        Ok(Self {
            timeline: Timeline::new().row(table.name().clone(), &key),
            model: PhantomData,
        })
    }
}

impl<M> History<M> {
    /// The number of changes of a page; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.timeline = self.timeline.page_size(size);
        self
    }

    /// The page after a cursor of the same query: older changes.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.timeline = self.timeline.after(cursor);
        self
    }

    /// The page before a cursor of the same query: newer changes.
    #[must_use]
    pub fn before(mut self, cursor: Cursor) -> Self {
        self.timeline = self.timeline.before(cursor);
        self
    }

    /// Restricts the history to a scope.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.timeline = self.timeline.scope(scope);
        self
    }

    /// The history of one field of the row.
    #[must_use]
    pub fn field(self, field: ColumnName) -> FieldHistory {
        FieldHistory::new(self, field)
    }

    /// The query as a timeline, which takes more filters.
    #[must_use]
    pub fn into_timeline(self) -> Timeline {
        self.timeline
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.timeline
    }
}

impl<M> From<History<M>> for Timeline {
    fn from(history: History<M>) -> Self {
        history.timeline
    }
}

impl<M> From<&History<M>> for Timeline {
    fn from(history: &History<M>) -> Self {
        history.timeline.clone()
    }
}
