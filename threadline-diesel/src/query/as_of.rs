//! A row as of an instant.
//!
//! The last record at or before the instant, in the order of capture, has the row. Without one, the first
//! record after it shows the row before it: the old values of an update, the last image of a delete, a
//! baseline. PostgreSQL converts the stored image to the table's row type, and Diesel loads the host's
//! struct from that.

mod answer;
mod error;
mod statements;

use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::prelude::Selectable;
use diesel::query_builder::{BoxedSqlQuery, QueryFragment, SqlQuery};
use diesel::result::Error::DeserializationError;
use threadline_core::Audited;
use threadline_core::row_key::{KeyParts, RowKeyText};
use threadline_core::table::{AuditedTable, TableName};

pub(crate) use self::answer::StoredAnswer;
pub use self::answer::{
    AbsentRow, AsOf, ChangeRef, Horizon, IncompatibleValue, KnownRow, RecordedState, UncertainRow,
    UnknownColumn, UnknownReason,
};
pub use self::error::AsOfError;
pub use self::statements::SelectImage;
use self::statements::{CallRowAsOf, columns_to_null, selected_columns};
use super::change_by_id::ChangeById;
use super::error::InvalidHistory;
use super::gaps::{CaptureGap, GapsRow, select_gaps};
use super::pagination::Order;
use super::scope::Scope;
use super::timeline::Timeline;
use crate::json::StoredJson;

/// A query for a model's row as of an instant, read by [`as_of`](crate::as_of()).
///
/// The key is the one that the row has now or had last, as in [`History`](crate::History): earlier keys
/// are followed.
///
/// ```no_run
/// # #[derive(Debug)] struct Invoice;
/// # impl threadline_core::Audited for Invoice {
/// #     fn audited_table() -> Result<threadline_core::table::AuditedTable, threadline_core::table::InvalidTable> {
/// #         unimplemented!()
/// #     }
/// # }
/// use threadline_diesel::RowAsOf;
///
/// let query = RowAsOf::<Invoice>::new(42_i64, "2026-03-01T12:00:00Z".parse()?)?;
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct RowAsOf<M> {
    document: DocumentAsOf,
    table: AuditedTable,
    model: PhantomData<fn() -> M>,
}

impl<M: Audited> RowAsOf<M> {
    /// The row with this key, as of an instant.
    ///
    /// # Errors
    /// [`InvalidHistory`] when the key does not have as many columns as the key of the model's table.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "keys are small, and `RowAsOf::<M>::new(42, instant)` reads well"
    )]
    pub fn new(key: impl KeyParts, instant: DateTime<Utc>) -> Result<Self, InvalidHistory> {
        let table = M::audited_table()?;
        let key = RowKeyText::new(&table, &key)?;
        Ok(Self {
            document: DocumentAsOf::new(table.name().clone(), &key, instant),
            table,
            model: PhantomData,
        })
    }
}

impl<M> RowAsOf<M> {
    /// Restricts the query to a scope, as [`DocumentAsOf::scope`].
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.document = self.document.scope(scope);
        self
    }

    /// The query for the same row in its stored form.
    #[must_use]
    pub fn into_document(self) -> DocumentAsOf {
        self.document
    }

    pub(crate) fn document(&self) -> &DocumentAsOf {
        &self.document
    }
}

impl<M: Selectable<Pg>> RowAsOf<M>
where
    M::SelectExpression: QueryFragment<Pg>,
{
    /// The statement that loads the model from a stored row, and the columns of the model that are not
    /// known.
    pub(crate) fn select_image(
        &self,
        row: &StoredJson,
        unknown: Vec<UnknownColumn>,
    ) -> Result<(SelectImage<M::SelectExpression>, Vec<UnknownColumn>), AsOfError> {
        let nulled = columns_to_null(&self.table, &unknown);
        let selection = M::construct_selection();
        let unknown = selected_columns(&self.table, &selection, unknown)?;
        let select = SelectImage::new(&self.table, selection, row, nulled)?;
        Ok((select, unknown))
    }

    /// The answer, once the model is loaded.
    pub(crate) fn answer(
        &self,
        loaded: QueryResult<M>,
        stored: KnownRow<StoredJson>,
        unknown: Vec<UnknownColumn>,
        gaps: Vec<CaptureGap>,
    ) -> Result<AsOf<M>, AsOfError> {
        match loaded {
            Ok(row) => {
                let known = KnownRow {
                    row,
                    unknown,
                    change: stored.change,
                    later: stored.later,
                    definition_changes: stored.definition_changes,
                };
                Ok(if gaps.is_empty() {
                    AsOf::Row(known)
                } else {
                    AsOf::Uncertain(UncertainRow {
                        recorded: RecordedState::Row(known),
                        gaps,
                    })
                })
            }
            Err(source @ DeserializationError(_)) if !unknown.is_empty() => {
                Err(AsOfError::Unloadable {
                    table: self.table.name().clone(),
                    unknown,
                    source,
                })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A query for a row as of an instant in its stored form, read by
/// [`document_as_of`](crate::document_as_of()): for tables without a model.
///
/// ```
/// use threadline_core::row_key::RowKeyText;
/// use threadline_diesel::DocumentAsOf;
///
/// let key = RowKeyText::from_values(vec!["42".to_owned()]);
/// let query = DocumentAsOf::new("invoices".parse()?, &key, "2026-03-01T12:00:00Z".parse()?);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentAsOf {
    table: TableName,
    key: String,
    instant: DateTime<Utc>,
    scope: Option<Scope>,
}

impl DocumentAsOf {
    /// The row of a table with this key, as of an instant.
    #[must_use]
    pub fn new(table: TableName, key: &RowKeyText, instant: DateTime<Utc>) -> Self {
        Self::with_stored_key(table, key.as_str(), instant)
    }

    pub(crate) fn with_stored_key(table: TableName, key: &str, instant: DateTime<Utc>) -> Self {
        Self {
            table,
            key: key.to_owned(),
            instant,
            scope: None,
        }
    }

    /// Restricts the query to a scope. The row is known only if the record that shows it is visible;
    /// otherwise the answer is that of a row without changes. An earlier visible change is no answer: the
    /// row has changed since.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    /// The last visible change of the row, without which the row is not known; none without a scope.
    pub(crate) fn visible_changes(&self) -> Option<Timeline> {
        let key = RowKeyText::from_stored(self.key.clone());
        let row = Timeline::new().row(self.table.clone(), &key);
        let row = row.scope(self.scope.as_ref()?);
        Some(row.one_entry(Order::NewestFirst))
    }

    /// The query within the scope for the record that shows the row; none without a scope or a record.
    pub(crate) fn visible_record(&self, stored: &StoredAnswer) -> Option<ChangeById> {
        let id = stored.1?;
        Some(ChangeById::new(id).scope(self.scope.as_ref()?))
    }

    pub(crate) fn statement(&self) -> CallRowAsOf<'_> {
        CallRowAsOf {
            schema: self.table.schema(),
            table: self.table.name(),
            key: &self.key,
            instant: self.instant,
        }
    }

    /// The statement that reads the gaps of the table, if the stored answer says that it may have some.
    pub(crate) fn gaps_statement(
        &self,
        stored: &StoredAnswer,
    ) -> Option<BoxedSqlQuery<'static, Pg, SqlQuery>> {
        let may_have_gaps = stored.9;
        may_have_gaps.then(|| select_gaps(&self.table, None))
    }

    /// The answer from the stored answer and the gaps of the table.
    pub(crate) fn answer(
        &self,
        stored: StoredAnswer,
        gaps: Option<GapsRow>,
    ) -> QueryResult<AsOf<StoredJson>> {
        let answer = AsOf::from(stored);
        Ok(match gaps {
            None => answer,
            Some(gaps) => {
                let mut gaps = gaps.read()?;
                if self.scope.is_some() {
                    // The reason of a suspension can be about other rows of the table.
                    for gap in &mut gaps {
                        gap.reason = None;
                    }
                }
                answer.with_gaps(gaps, self.instant)
            }
        })
    }
}
