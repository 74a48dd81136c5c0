//! What one row was as of an instant.
//!
//! The last record at or before the instant tells, in the order of capture. Where there is none, the
//! first record after it tells what it found: the old values of an update, the last image of a delete,
//! a baseline. PostgreSQL turns the stored image back into the table's row, and Diesel loads the host's
//! own struct from it.

mod answer;
mod statements;

use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use threadline_core::Audited;
use threadline_core::row_key::{KeyParts, RowKeyText};
use threadline_core::table::{AuditedTable, TableName};

pub use self::answer::{AsOf, ChangeRef, Horizon, KnownRow, UnknownColumn, UnknownReason};
pub(crate) use self::answer::{RowAnswer, StoredAnswer};
pub use self::statements::SelectImage;
pub(crate) use self::statements::{RowAsOf, rendered, selected, unloadable};
use crate::history::InvalidHistory;

/// What the row of a model was as of an instant; the answer is an [`AsOf`].
///
/// The key names the row that has it now or had it last, as in
/// [`history`](crate::history::history): it is followed back through the keys it had.
///
/// ```no_run
/// # #[derive(Debug)] struct Invoice;
/// # impl threadline_core::Audited for Invoice {
/// #     fn audited_table() -> Result<threadline_core::table::AuditedTable, threadline_core::table::InvalidTable> {
/// #         unimplemented!()
/// #     }
/// # }
/// use threadline_diesel::as_of::as_of;
///
/// let question = as_of::<Invoice>(42_i64, "2026-03-01T12:00:00Z".parse()?)?;
/// # let _ = question;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`InvalidHistory`] when the key has not the number of columns that the model's table has.
#[expect(
    clippy::needless_pass_by_value,
    reason = "keys are small, and `as_of::<M>(42, instant)` reads well"
)]
pub fn as_of<M: Audited>(
    key: impl KeyParts,
    instant: DateTime<Utc>,
) -> Result<ModelAsOf<M>, InvalidHistory> {
    let table = M::audited_table()?;
    let key = RowKeyText::of(&table, &key)?;
    Ok(ModelAsOf {
        document: document_as_of(table.name().clone(), &key, instant),
        table,
        model: PhantomData,
    })
}

/// The same for a table without a model: the row as the trail stores it.
///
/// ```
/// use threadline_core::row_key::RowKeyText;
/// use threadline_diesel::as_of::document_as_of;
///
/// let key = RowKeyText::from_values(vec!["42".to_owned()]);
/// let question = document_as_of("invoices".parse()?, &key, "2026-03-01T12:00:00Z".parse()?);
/// # let _ = question;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn document_as_of(table: TableName, key: &RowKeyText, instant: DateTime<Utc>) -> DocumentAsOf {
    DocumentAsOf {
        table,
        key: key.as_str().to_owned(),
        instant,
    }
}

/// The question what the row of a model was as of an instant.
#[derive(Debug, Clone)]
pub struct ModelAsOf<M> {
    document: DocumentAsOf,
    table: AuditedTable,
    model: PhantomData<fn() -> M>,
}

impl<M> ModelAsOf<M> {
    /// The same question for the row as the trail stores it.
    #[must_use]
    pub fn into_document(self) -> DocumentAsOf {
        self.document
    }

    pub(crate) fn document(&self) -> &DocumentAsOf {
        &self.document
    }

    pub(crate) fn table(&self) -> &AuditedTable {
        &self.table
    }
}

/// The question what a row was as of an instant, as the trail stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentAsOf {
    table: TableName,
    key: String,
    instant: DateTime<Utc>,
}

impl DocumentAsOf {
    pub(crate) fn statement(&self) -> RowAsOf<'_> {
        RowAsOf {
            schema: self.table.schema(),
            table: self.table.name(),
            key: &self.key,
            instant: self.instant,
        }
    }
}

/// The question could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AsOfError {
    /// The struct has no room for what is not known.
    #[error(
        "the row of {table} is known, but not all of it: {}; make these fields `Option`, or load a \
         struct without them ({source})",
        shown(.unknown)
    )]
    Unloadable {
        /// The table.
        table: TableName,
        /// The columns of the struct that are not known.
        unknown: Vec<UnknownColumn>,
        /// What Diesel says.
        source: diesel::result::Error,
    },
    /// The struct selects expressions with values to bind, from a table of another schema than `public`.
    #[error(
        "the selection of {0} has values to bind, which cannot be read from an image: load another struct"
    )]
    Selection(TableName),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

fn shown(unknown: &[UnknownColumn]) -> String {
    unknown
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
