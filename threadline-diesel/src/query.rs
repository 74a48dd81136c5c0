//! Queries on the trail: values that are validated when they are built, take the host's own Diesel
//! filters, and are read a page at a time.

pub(crate) mod actions;
pub(crate) mod as_of;
pub(crate) mod change_by_id;
pub(crate) mod correlation;
#[cfg(feature = "async")]
pub(crate) mod count;
pub(crate) mod definition_changes;
pub mod diff;
#[cfg(feature = "async")]
pub(crate) mod empty;
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
#[cfg(feature = "async")]
pub(crate) mod names;
#[cfg(feature = "async")]
pub(crate) mod nearest;
pub(crate) mod page_reader;
pub(crate) mod pagination;
#[cfg(feature = "async")]
pub(crate) mod read;
#[cfg(feature = "async")]
pub(crate) mod records;
pub(crate) mod scope;
pub(crate) mod sql_fragment;
#[cfg(feature = "async")]
pub(crate) mod summaries;
#[cfg(feature = "async")]
pub(crate) mod table_completeness;
#[cfg(feature = "async")]
pub(crate) mod table_query;
pub(crate) mod timeline;
#[cfg(feature = "async")]
pub(crate) mod timeline_filters;
pub(crate) mod transactions;
#[cfg(feature = "async")]
pub(crate) mod typed_text;
#[cfg(feature = "async")]
pub(crate) mod volume;
#[cfg(feature = "async")]
pub(crate) mod volume_grid;
#[cfg(feature = "async")]
pub(crate) mod volume_groups;

pub use self::actions::{Actions, ActionsQuery};
pub use self::as_of::{
    AbsentRow, AsOf, AsOfError, ChangeRef, DocumentAsOf, Horizon, IncompatibleValue, KnownRow,
    RecordedState, RowAsOf, SelectImage, UncertainRow, UnknownColumn, UnknownReason,
};
pub use self::change_by_id::ChangeById;
pub use self::correlation::{Correlation, CorrelationBundle};
#[cfg(feature = "async")]
pub use self::count::ChangeCount;
pub use self::definition_changes::DefinitionChange;
#[cfg(feature = "async")]
pub use self::empty::{ContextIdKind, EmptyQuery, EmptyReason};
pub use self::error::{InvalidCursor, InvalidHistory, InvalidQuery, ReadError, ScopeError};
pub use self::field_history::FieldHistory;
pub use self::filter_values::{
    ColumnName, FieldValue, InvalidFilterValue, MAX_SEARCH_BYTES, MetaPattern, SearchText,
};
pub(crate) use self::gaps::removed_sql;
pub use self::gaps::{CaptureGap, GapKind};
pub use self::history::History;
#[cfg(feature = "async")]
pub use self::history_notes::{EarlierHolder, HistoryNotes, RowMove, RowQuery, TableTruncate};
pub use self::incident::{
    Incident, IncidentBundle, MAX_INCIDENT_ACTIONS, MAX_INCIDENT_CHANGES, TransactionChanges,
};
pub use self::key_columns::{InvalidColumnValue, KeyError, ValueError};
#[cfg(feature = "async")]
pub use self::names::MAX_NAMES;
#[cfg(feature = "async")]
pub use self::nearest::{Nearest, NearestChanges};
pub use self::pagination::{
    Cursor, DEFAULT_PAGE_SIZE, InvalidPageSize, MAX_PAGE_SIZE, Order, Page, PageSize,
};
#[cfg(feature = "async")]
pub use self::records::{Enrolment, Removal, RemovalTarget, Suspension, TableCutoff, TrailRecords};
pub use self::scope::Scope;
#[cfg(feature = "async")]
pub use self::summaries::{
    MAX_SUMMARIZED_CHANGES, OpCount, TransactionSummaries, TransactionSummary,
};
#[cfg(feature = "async")]
pub use self::table_completeness::TableCompleteness;
#[cfg(feature = "async")]
pub use self::table_query::TableQuery;
#[cfg(feature = "async")]
pub use self::timeline::HistoryWithChildren;
pub use self::timeline::{Attribution, ChangesQuery, Timeline, actor_window};
#[cfg(feature = "async")]
pub use self::timeline_filters::{InvalidFilter, InvalidFilters, TimelineFilters};
pub use self::transactions::{Transactions, TransactionsQuery, actor_history};
#[cfg(feature = "async")]
pub use self::volume::{MAX_VOLUME_BUCKETS, Precision, VolumeBucket};
#[cfg(feature = "async")]
pub use self::volume_grid::{MAX_VOLUME_ROWS, VolumeGrid, VolumeRow};
#[cfg(feature = "async")]
pub use self::volume_groups::{
    GroupedVolume, MAX_VOLUME_GROUPS, VolumeColumn, VolumeGroup, VolumeKey,
};
