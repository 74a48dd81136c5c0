//! Why a screen has no answer.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use threadline_diesel::query::{InvalidFilters, InvalidPageSize, InvalidQuery, ScopeError};
use threadline_diesel::saved_views::SavedViewError;
use threadline_diesel::{AsOfError, ReadError};

use crate::access::Capability;
use crate::question::FieldError;

/// Why a screen has no answer. The pages are in `view::states`.
#[derive(Debug)]
pub(crate) enum PageError {
    /// Parameters are invalid (422).
    Invalid(Vec<FieldError>),
    /// Nothing has this address, or the scope hides it (404). Both have the same bytes.
    NotFound,
    /// The grant lacks a capability (403).
    Forbidden(Capability),
    /// The scope cannot restrict this question (403).
    Unscoped,
    /// The cursor belongs to another question (400).
    ForeignCursor,
    /// PostgreSQL cancelled the statement after the statement timeout (422).
    TooBroad,
    /// The answer is larger than the limit (422); the command that has no limit.
    TooLarge(String),
    /// The request cannot be met in the present state, for example a file that has expired.
    Refused {
        status: axum::http::StatusCode,
        title: &'static str,
        advice: String,
    },
    /// The body or the address is too long (413, 414).
    TooLong(axum::http::StatusCode),
    /// As many downloads as allowed are running (429).
    Busy,
    /// The actor sent more requests than allowed (429); the seconds until the next is answered.
    TooManyRequests { seconds: u64 },
    /// The pool or the database does not answer (503).
    Unavailable(&'static str),
    /// A defect (500).
    Internal(&'static str),
}

impl PageError {
    /// A refusal with a status and what to do.
    pub(crate) fn refused(
        status: axum::http::StatusCode,
        title: &'static str,
        advice: impl std::fmt::Display,
    ) -> Self {
        Self::Refused {
            status,
            title,
            advice: advice.to_string(),
        }
    }
}

impl From<DieselError> for PageError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _) => {
                Self::Unavailable("connection closed")
            }
            // On a standby: the primary removed rows that the page was reading.
            DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => {
                Self::Unavailable("conflict with recovery")
            }
            DieselError::DatabaseError(_, details) if is_statement_timeout(details.message()) => {
                Self::TooBroad
            }
            DieselError::DatabaseError(..) => Self::Internal("database"),
            DieselError::BrokenTransactionManager => Self::Unavailable("connection broken"),
            _ => Self::Internal("query"),
        }
    }
}

/// Whether a message is that of SQLSTATE 57014 for `statement_timeout`, which Diesel does not pass on. The gate
/// also treats an error after the timeout as this one, for servers with messages in another language.
fn is_statement_timeout(message: &str) -> bool {
    message.contains("statement timeout")
}

impl From<ReadError> for PageError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Cursor(_) => Self::ForeignCursor,
            ReadError::Query(InvalidQuery::Scope(
                ScopeError::Unrestricted | ScopeError::ActionsUnspecified,
            )) => Self::Unscoped,
            ReadError::Query(invalid) => Self::Invalid(vec![FieldError::of_page(invalid)]),
            ReadError::Database(error) => error.into(),
            _ => Self::Internal("query"),
        }
    }
}

impl From<AsOfError> for PageError {
    fn from(error: AsOfError) -> Self {
        match error {
            AsOfError::Query(invalid) => ReadError::Query(invalid).into(),
            AsOfError::Database(error) => error.into(),
            _ => Self::Internal("as of"),
        }
    }
}

impl From<InvalidFilters> for PageError {
    fn from(InvalidFilters(errors): InvalidFilters) -> Self {
        let errors = errors.into_iter().map(|error| FieldError {
            field: error.name,
            value: error.value,
            message: error.reason,
        });
        Self::Invalid(errors.collect())
    }
}

impl From<SavedViewError> for PageError {
    fn from(error: SavedViewError) -> Self {
        match error {
            SavedViewError::Database(error) => error.into(),
            SavedViewError::Filters(invalid) => invalid.into(),
            other => Self::Invalid(vec![FieldError::of_page(other)]),
        }
    }
}

impl From<InvalidPageSize> for PageError {
    fn from(_: InvalidPageSize) -> Self {
        Self::Internal("page size")
    }
}
