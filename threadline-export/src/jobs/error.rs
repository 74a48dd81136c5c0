//! Errors of the functions on jobs.

use uuid::Uuid;

use super::job::JobState;
use super::new_job::{MAX_OPEN_JOBS, MAX_REQUEST_BYTES};

/// The error of a function on jobs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// There is no job with this id.
    #[error("there is no job {0}")]
    NotFound(Uuid),
    /// The actor has as many queued and running jobs as it may have.
    #[error(
        "the actor has {MAX_OPEN_JOBS} queued or running jobs: wait until one ends, or cancel one"
    )]
    TooManyOpen,
    /// Another job has the idempotency key.
    #[error("job {0} has this idempotency key and another request: use another key")]
    IdempotencyKeyTaken(Uuid),
    /// The request is not a JSON object.
    #[error("a request is a JSON object")]
    RequestNotAnObject,
    /// The request has this many bytes, or has the character U+0000.
    #[error(
        "a request has at most {MAX_REQUEST_BYTES} bytes and no character U+0000; this one has {0} bytes"
    )]
    InvalidRequest(usize),
    /// The key of the scope has this many bytes, or has the character U+0000.
    #[error(
        "the key of a scope has 1 to 256 bytes and no character U+0000; this one has {0} bytes"
    )]
    InvalidScopeKey(usize),
    /// The worker does not hold the lease any more: it expired, or another worker claimed the job.
    #[error("the lease of job {0} is lost")]
    LeaseLost(Uuid),
    /// The job has ended.
    #[error("job {id} has ended: it is {state}")]
    HasEnded {
        /// The job.
        id: Uuid,
        /// Its state.
        state: JobState,
    },
    /// Only failed and cancelled jobs are tried again.
    #[error("job {id} is {state}: only failed and cancelled jobs are tried again")]
    NotFailed {
        /// The job.
        id: Uuid,
        /// Its state.
        state: JobState,
    },
    /// The database reported an error.
    #[error("cannot read or write the jobs")]
    Database(#[from] diesel::result::Error),
}
