//! Errors of reading a row as of an instant.

use threadline_core::table::TableName;

use super::answer::UnknownColumn;
use crate::query::error::{InvalidQuery, ReadError};

/// A row that could not be read as of an instant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AsOfError {
    /// Columns of the struct are not known, or hold values that the present types reject, and its fields
    /// cannot be NULL.
    #[error(
        "values of the row of {table} are not known: {}; make these fields `Option`, or load a \
         struct without them ({source})",
        list_columns(.unknown)
    )]
    Unloadable {
        /// The table.
        table: TableName,
        /// The columns of the struct that are not known.
        unknown: Vec<UnknownColumn>,
        /// The error of Diesel.
        source: diesel::result::Error,
    },
    /// The struct selects expressions with bound values, from a table of another schema than `public`.
    #[error(
        "the selection of {0} has values to bind, which cannot be read from an image: load another struct"
    )]
    Selection(TableName),
    /// The scope cannot be applied.
    #[error(transparent)]
    Query(InvalidQuery),
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

impl From<ReadError> for AsOfError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Cursor(cursor) => Self::Query(cursor.into()),
            ReadError::Query(query) => Self::Query(query),
            ReadError::Database(error) => Self::Database(error),
        }
    }
}

impl From<InvalidQuery> for AsOfError {
    fn from(invalid: InvalidQuery) -> Self {
        Self::Query(invalid)
    }
}

fn list_columns(unknown: &[UnknownColumn]) -> String {
    unknown
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
