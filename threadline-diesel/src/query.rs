//! Queries on the trail: values that are validated when they are built, take the host's own Diesel
//! filters, and are read a page at a time.

pub(crate) mod actions;
pub(crate) mod as_of;
pub(crate) mod correlation;
pub mod diff;
pub(crate) mod error;
pub(crate) mod field_history;
pub(crate) mod filter_values;
pub(crate) mod filters;
pub(crate) mod gaps;
pub(crate) mod history;
#[cfg(feature = "async")]
pub(crate) mod history_notes;
pub(crate) mod incident;
pub(crate) mod key_columns;
pub(crate) mod page_reader;
pub(crate) mod pagination;
#[cfg(feature = "async")]
pub(crate) mod read;
pub(crate) mod scope;
pub(crate) mod sql_fragment;
pub(crate) mod timeline;
pub(crate) mod transactions;
#[cfg(feature = "async")]
pub(crate) mod typed_text;

pub use self::actions::{Actions, ActionsQuery};
pub use self::as_of::{
    AbsentRow, AsOf, AsOfError, ChangeRef, DocumentAsOf, Horizon, KnownRow, RecordedState, RowAsOf,
    SelectImage, UncertainRow, UnknownColumn, UnknownReason,
};
pub use self::correlation::{Correlation, CorrelationBundle};
pub use self::error::{InvalidCursor, InvalidHistory, InvalidQuery, ReadError, ScopeError};
pub use self::field_history::FieldHistory;
pub use self::filter_values::{
    ColumnName, FieldValue, InvalidFilterValue, MAX_SEARCH_BYTES, MetaPattern, SearchText,
};
pub use self::gaps::{CaptureGap, GapKind};
pub use self::history::History;
#[cfg(feature = "async")]
pub use self::history_notes::{EarlierHolder, HistoryNotes, RowMove, TableTruncate};
pub use self::incident::{
    Incident, IncidentBundle, MAX_INCIDENT_ACTIONS, MAX_INCIDENT_CHANGES, TransactionChanges,
};
pub use self::key_columns::{InvalidColumnValue, KeyError, ValueError};
pub use self::pagination::{
    Cursor, DEFAULT_PAGE_SIZE, InvalidPageSize, MAX_PAGE_SIZE, Order, Page, PageSize,
};
pub use self::scope::Scope;
#[cfg(feature = "async")]
pub use self::timeline::HistoryWithChildren;
pub use self::timeline::{Attribution, ChangesQuery, Timeline, actor_window};
pub use self::transactions::{Transactions, TransactionsQuery, actor_history};
