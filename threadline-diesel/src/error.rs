//! What can go wrong when the trail is read.

use crate::page::InvalidCursor;

/// A question could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The cursor is no cursor of this question.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
