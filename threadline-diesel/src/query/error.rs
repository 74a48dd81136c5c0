//! Errors of queries.

use chrono::{DateTime, Utc};
use threadline_core::action::InvalidActionName;
use threadline_core::row_key::InvalidRowKey;
use threadline_core::table::InvalidTable;

use super::filter_values::InvalidFilterValue;

/// A query that cannot be executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidQuery {
    /// The cursor is malformed or belongs to another query.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    /// The window ends before it begins.
    #[error("the window from {from} to {to} is empty: it ends before it begins")]
    EmptyWindow {
        /// The start of the window.
        from: DateTime<Utc>,
        /// The end of the window.
        to: DateTime<Utc>,
    },
    /// The filter by action has a name that no action can have.
    #[error(transparent)]
    ActionName(#[from] InvalidActionName),
    /// A filter has a value that nothing stored can match.
    #[error(transparent)]
    FilterValue(#[from] InvalidFilterValue),
    /// The scope cannot be applied to this query.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

/// A query that could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The cursor is malformed or belongs to another query.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    /// The query is invalid.
    #[error(transparent)]
    Query(InvalidQuery),
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

impl From<InvalidQuery> for ReadError {
    fn from(invalid: InvalidQuery) -> Self {
        match invalid {
            InvalidQuery::Cursor(cursor) => Self::Cursor(cursor),
            other => Self::Query(other),
        }
    }
}

/// A text that is not a cursor, or a cursor of another query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCursor {
    /// The text was not created by this library, or was truncated.
    #[error("`{0}` is not a cursor: pass a cursor unchanged, or start without one")]
    Malformed(String),
    /// The cursor belongs to a query with other filters.
    #[error("this cursor belongs to another query: keep the filters, or start without a cursor")]
    OtherQuery,
}

/// A scope that cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// The scope has no restriction.
    #[error("this scope has no restriction: add one, or pass no scope to read the whole trail")]
    Unrestricted,
    /// The query is for actions, and the scope restricts only changes or transactions.
    #[error(
        "this scope does not define which actions are visible: add Scope::actions(condition), or \
         Scope::actions_with_visible_changes()"
    )]
    ActionsUnspecified,
    /// The query is for records about tables, and the scope restricts more than tables.
    #[error(
        "records about tables belong to no change, so this scope cannot be applied: pass a scope with \
         Scope::tables(...) alone"
    )]
    NotTables,
}

/// A row that cannot be named: its model's declaration or its key is wrong.
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
