//! Errors of a restore.

use chrono::NaiveDate;

use super::{RestorePeriod, show_days};
use crate::archive::ArchiveError;
use crate::seal::SealError;

/// A period was not restored. The trail is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is no reason.
    #[error("a restore has a reason: name a ticket")]
    NoReason,
    /// The time for which the period is kept is out of range.
    #[error("a restored period is kept at most 30 days")]
    Keep,
    /// A month was named, but the partitions of the trail are shorter.
    #[error("a partition of the trail is a {width}: name a day of the one to restore")]
    NotByMonth {
        /// The width of a partition.
        width: String,
    },
    /// The role does not own the trail.
    #[error("role {role} cannot create partitions of the trail: connect as its owner, {owner}")]
    NotOwner {
        /// The role of the connection.
        role: String,
        /// The owner of the trail.
        owner: String,
    },
    /// Another restore is at work.
    #[error("another restore is at work on this database: wait until it has ended")]
    AtWork,
    /// The trail has changes, or a partition, of the period.
    #[error(
        "the trail has a partition or changes of the period of {0}: only a period that is purged as a whole can be \
         restored; `archive fetch` shows the archived changes of a row"
    )]
    StillInTrail(RestorePeriod),
    /// Sealed changes of the period are not in the archive.
    #[error("the archive does not have all sealed changes of these days: {}", show_days(.0))]
    NotArchived(
        /// The days.
        Vec<NaiveDate>,
    ),
    /// No change of the period is sealed, or none was captured.
    #[error("the log of seals has no changes of the period")]
    NothingArchived,
    /// The tables of the trail were in use.
    #[error("the partitions could not be attached, because the trail was in use: try again")]
    Locked,
    /// The archive cannot be read, or is not what was archived.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The database reported an error.
    #[error("the trail cannot be read or written")]
    Database(#[from] diesel::result::Error),
}

impl From<SealError> for RestoreError {
    fn from(error: SealError) -> Self {
        Self::Archive(error.into())
    }
}
