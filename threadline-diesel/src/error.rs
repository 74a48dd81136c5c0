//! What can go wrong when the trail is read.

use chrono::{DateTime, Utc};
use threadline_core::action::InvalidActionName;

use crate::page::InvalidCursor;
use crate::scope::ScopeError;
use crate::terms::InvalidTerm;

/// A question that cannot be put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidQuestion {
    /// The cursor is no cursor of this question.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    /// The window ends before it begins.
    #[error("a window from {from} to {to} holds nothing: it ends before it begins")]
    EmptyWindow {
        /// Its beginning.
        from: DateTime<Utc>,
        /// Its end.
        to: DateTime<Utc>,
    },
    /// No action can have this name.
    #[error(transparent)]
    ActionName(#[from] InvalidActionName),
    /// Something cannot be searched for.
    #[error(transparent)]
    Term(#[from] InvalidTerm),
    /// What may be seen cannot be told for this question.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

/// A question could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The cursor is no cursor of this question.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    /// The question cannot be put.
    #[error(transparent)]
    Question(InvalidQuestion),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

impl From<InvalidQuestion> for ReadError {
    fn from(wrong: InvalidQuestion) -> Self {
        match wrong {
            InvalidQuestion::Cursor(cursor) => Self::Cursor(cursor),
            other => Self::Question(other),
        }
    }
}
