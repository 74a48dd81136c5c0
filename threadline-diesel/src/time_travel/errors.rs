//! Why a query cannot be answered as of an instant.

use chrono::{DateTime, Utc};
use threadline_core::table::TableName;

use crate::as_of::UnknownColumn;

/// A query could not be answered as of an instant. Nothing was read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimeTravelError {
    /// There is no such table in the database.
    #[error("table {0} does not exist, so there are no columns to see it by")]
    NoSuchTable(TableName),
    /// The instant lies before what is known of a table.
    #[error(
        "nothing is known of table {table} as of {instant}: {}",
        .horizon.map_or_else(
            || "no change of it was ever captured".to_owned(),
            |horizon| format!("its trail begins at {horizon}"),
        )
    )]
    BeforeHorizon {
        /// The table.
        table: TableName,
        /// The instant that was asked for.
        instant: DateTime<Utc>,
        /// Where its trail begins.
        horizon: Option<DateTime<Utc>>,
    },
    /// The trail does not tell exactly what rows there were.
    #[error("the rows of table {table} cannot be told exactly: {detail}")]
    Inexact {
        /// The table.
        table: TableName,
        /// Why.
        detail: String,
    },
    /// The query reads tables that were not named, which it would see as they are now.
    #[error(
        "the query would see {} as they are now; name them with `.table::<Model>()` or \
         `.tables([…])`, by the schema they are in, or leave them out",
        .0.join(", ")
    )]
    PresentDay(Vec<String>),
    /// The query calls functions that may read tables, which they would see as they are now.
    #[error(
        "the query calls {}, which may read tables as they are now; declare them IMMUTABLE if they \
         do not, or leave them out",
        .0.join(", ")
    )]
    Functions(Vec<String>),
    /// The query reads columns whose values were not captured.
    #[error(
        "these columns of table {table} were not captured: {}; leave them out of the selection, or \
         `.allow_unknown_columns()`",
        shown(.columns)
    )]
    UnknownColumns {
        /// The table.
        table: TableName,
        /// Its columns that the query names.
        columns: Vec<UnknownColumn>,
    },
    /// The query names a table by its schema and holds the mark of a comment.
    #[error(
        "the query names a table by its schema and holds `/*` or `*/` in a text, so the table's \
         name cannot be replaced; bind the text instead"
    )]
    Comment,
    /// The database said no.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

fn shown(columns: &[UnknownColumn]) -> String {
    columns
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
