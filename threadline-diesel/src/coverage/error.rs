//! Errors of coverage.

use threadline_core::storage::STORAGE_SCHEMA;

/// Coverage could not be checked, or deployed policies could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoverageError {
    /// There is no trail in this database.
    #[error(
        "there is no trail in this database (schema {STORAGE_SCHEMA}): run `install` and apply the \
         migration it writes"
    )]
    NotInstalled,
    /// A schema does not exist.
    #[error("there is no schema `{0}` in this database")]
    NoSuchSchema(String),
    /// A role does not exist.
    #[error("there is no role `{0}` in this database")]
    NoSuchRole(String),
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
