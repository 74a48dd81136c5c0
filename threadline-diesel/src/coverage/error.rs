//! Why a question about what is deployed could not be answered.

use threadline_core::storage::STORAGE_SCHEMA;

/// Coverage, or another question about what is deployed, could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoverageError {
    /// There is no trail in this database.
    #[error(
        "there is no trail in this database (schema {STORAGE_SCHEMA}): run `install` and apply the \
         migration it writes"
    )]
    NotInstalled,
    /// A schema that was asked about does not exist.
    #[error("there is no schema `{0}` in this database")]
    NoSuchSchema(String),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
