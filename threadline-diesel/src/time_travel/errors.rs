//! Errors of queries as of an instant.

use chrono::{DateTime, Utc};
use threadline_core::table::TableName;

use crate::query::as_of::UnknownColumn;

/// A query could not be answered as of an instant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimeTravelError {
    /// There is no such table in the database.
    #[error("table {0} does not exist, so its columns are not known")]
    NoSuchTable(TableName),
    /// The instant is before the audit horizon of a table.
    #[error(
        "no changes of table {table} are recorded as of {instant}: {}",
        .horizon.map_or_else(
            || "it was never captured".to_owned(),
            |horizon| format!("its trail begins at {horizon}"),
        )
    )]
    BeforeHorizon {
        /// The table.
        table: TableName,
        /// The instant.
        instant: DateTime<Utc>,
        /// The audit horizon of the table.
        horizon: Option<DateTime<Utc>>,
    },
    /// The trail does not determine the rows exactly.
    #[error("the rows of table {table} are not known exactly: {detail}")]
    Inexact {
        /// The table.
        table: TableName,
        /// The reason.
        detail: String,
    },
    /// The trail may not have every row or change of a table as of the instant.
    #[error(
        "the trail does not have all of table {table} as of the instant: {reason}; record a baseline, or \
         `.allow_incomplete()`"
    )]
    Incomplete {
        /// The table.
        table: TableName,
        /// The reason.
        reason: String,
    },
    /// The query read present rows.
    #[error(
        "the query read {} as they are now, by a name with a schema, a view or a function; name audited \
         tables with `.table::<Model>()` or `.tables([…])`, and without their schema in the query",
        .0.join(", ")
    )]
    PresentDay(Vec<String>),
    /// Two tables have the same name in different schemas; the query can name only one of them.
    #[error("tables {0} and {1} have the same name; query one of them at a time")]
    SameName(TableName, TableName),
    /// The query read a value that the trail does not have.
    #[error(
        "column {} of table {table} is not known of every row as of the instant: {}; leave it out of the \
         query, or `.allow_unknown_columns()`",
        .column.column,
        .column.reason
    )]
    UnknownColumn {
        /// The table.
        table: TableName,
        /// The column whose value is not known.
        column: UnknownColumn,
    },
    /// The query read a value that is not a value of the present type of its column: an enum label was
    /// renamed, a composite type was changed, or the column has another type.
    #[error(
        "column {column} of table {table} has a value as of the instant that is not a value of its present \
         type {type_name}: {source}; leave the column out of the query, or read the rows with \
         `document_as_of`"
    )]
    IncompatibleColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// The present type of the column; of a domain, its base type.
        type_name: String,
        /// The error of PostgreSQL, with the stored value.
        source: Box<diesel::result::Error>,
    },
    /// The connection is inside a transaction.
    #[error(
        "a query as of an instant needs a transaction of its own, and the connection is inside one"
    )]
    InsideTransaction,
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
