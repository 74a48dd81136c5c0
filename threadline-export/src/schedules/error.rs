//! Errors of schedules.

use threadline_diesel::query::InvalidFilters;

use super::cron::InvalidCron;
use super::schedule::ScheduleName;
use crate::jobs::JobError;

/// The error of a function on schedules.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A schedule of this name exists.
    #[error("schedule `{0}` exists: remove it first, or use another name")]
    Exists(ScheduleName),
    /// There is no schedule of this name.
    #[error("there is no schedule `{0}`")]
    NotFound(ScheduleName),
    /// The cron expression is never due.
    #[error(transparent)]
    Cron(#[from] InvalidCron),
    /// The request of an export is malformed.
    #[error("the request is not that of an export")]
    InvalidExport(#[source] serde_json::Error),
    /// The filters of a scheduled export contradict each other.
    #[error(transparent)]
    Filters(#[from] InvalidFilters),
    /// The filters of a scheduled export have a window.
    #[error("the window of a scheduled export is set by its schedule: remove `from` and `to`")]
    HasWindow,
    /// The request is malformed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The database reported an error.
    #[error("cannot read or write the schedules")]
    Database(#[from] diesel::result::Error),
}

impl From<ScheduleError> for JobError {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::Job(error) => error,
            ScheduleError::Database(error) => Self::Database(error),
            other => Self::Database(diesel::result::Error::QueryBuilderError(other.into())),
        }
    }
}
