//! When something came to be as it is, and who made it so.

use threadline_core::Audited;
use threadline_core::row_key::{KeyParts, RowKeyText};
use threadline_core::table::TableName;

use crate::history::{InvalidHistory, history};
use crate::page::{Order, PageSize};
use crate::scope::Scope;
use crate::terms::{ColumnName, FieldValue};
use crate::timeline::{FieldSet, Timeline};

/// A moment in the life of a row, or of one of its fields: asked for first or last.
///
/// Of a row, every change counts. Of a field, those that gave it its value: the insert, and the
/// updates that changed it. Of a field and a value, those that gave it this one. What was there
/// before capture began is not known, so the first that is seen may be late.
///
/// ```no_run
/// # #[derive(Debug)] struct Invoice;
/// # impl threadline_core::Audited for Invoice {
/// #     fn audited_table() -> Result<threadline_core::table::AuditedTable, threadline_core::table::InvalidTable> {
/// #         unimplemented!()
/// #     }
/// # }
/// use threadline_diesel::moments::moment;
///
/// // When did invoice 1 come to 108000, and who did it?
/// let question = moment::<Invoice>(1_i64)?
///     .field("total_cents".parse()?)
///     .became(108_000_i64);
/// # let _ = question;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    row: Timeline,
}

/// A moment of a field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldMoment {
    row: Timeline,
    field: ColumnName,
    value: Option<FieldValue>,
}

/// A moment of a row of a model's table.
///
/// # Errors
/// [`InvalidHistory`] when the key has not the number of columns that the model's table has.
pub fn moment<M: Audited>(key: impl KeyParts) -> Result<Moment, InvalidHistory> {
    Ok(Moment {
        row: history::<M>(key)?.into_timeline(),
    })
}

/// The same for a table without a model.
#[must_use]
pub fn row_moment(table: TableName, key: &RowKeyText) -> Moment {
    Moment {
        row: Timeline::new().row(table, key),
    }
}

impl Moment {
    /// Of one field.
    #[must_use]
    pub fn field(self, field: ColumnName) -> FieldMoment {
        FieldMoment {
            row: self.row,
            field,
            value: None,
        }
    }

    /// Only what a caller may see.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.row = self.row.scope(scope);
        self
    }
}

impl FieldMoment {
    /// When it came to a value.
    #[must_use]
    pub fn became(mut self, value: impl Into<FieldValue>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Only what a caller may see.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.row = self.row.scope(scope);
        self
    }
}

/// What has a first and a last time: a [`Moment`] or a [`FieldMoment`].
pub trait HasMoments {
    /// Every such change, newest first, for more filters and for pages.
    fn timeline(&self) -> Timeline;

    /// The question for the first of them.
    #[doc(hidden)]
    fn first(&self) -> Timeline {
        self.last().order(Order::OldestFirst)
    }

    /// The question for the last of them.
    #[doc(hidden)]
    fn last(&self) -> Timeline {
        self.timeline().page_size(PageSize::ONE)
    }
}

impl HasMoments for Moment {
    fn timeline(&self) -> Timeline {
        self.row.clone()
    }
}

impl HasMoments for FieldMoment {
    fn timeline(&self) -> Timeline {
        self.row.clone().field_set(FieldSet {
            field: self.field.clone(),
            value: self.value.clone(),
        })
    }
}
