//! The changes that set one field of a row.

use super::filter_values::{ColumnName, FieldValue};
use super::scope::Scope;
use super::timeline::{FieldSet, Timeline};

/// A query for the changes that set a field of a row: the insert, and the updates that changed the
/// field. [`first_change`](crate::first_change()) and [`last_change`](crate::last_change()) read one of
/// them.
///
/// Changes before capture began are not recorded, so the first recorded change may not be the first one.
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
/// // When was the total of invoice 1 set to 108000, and by whom?
/// let total = History::<Invoice>::new(1_i64)?
///     .field("total_cents".parse()?)
///     .set_to(108_000_i64);
/// # let _ = total;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FieldHistory {
    row: Timeline,
    field: ColumnName,
    value: Option<FieldValue>,
}

impl FieldHistory {
    /// The history of a field of a row: of a [`History`](crate::History), or of a
    /// [`Timeline::row`] for a table without a model.
    #[must_use]
    pub fn new(row: impl Into<Timeline>, field: ColumnName) -> Self {
        Self {
            row: row.into(),
            field,
            value: None,
        }
    }

    /// Only changes that set the field to this value.
    #[must_use]
    pub fn set_to(mut self, value: impl Into<FieldValue>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Restricts the history to a scope.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.row = self.row.scope(scope);
        self
    }

    /// The query as a timeline, for more filters and for pages.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.row.clone().field_set(FieldSet {
            field: self.field.clone(),
            value: self.value.clone(),
        })
    }
}

impl From<FieldHistory> for Timeline {
    fn from(history: FieldHistory) -> Self {
        history.timeline()
    }
}

impl From<&FieldHistory> for Timeline {
    fn from(history: &FieldHistory) -> Self {
        history.timeline()
    }
}
