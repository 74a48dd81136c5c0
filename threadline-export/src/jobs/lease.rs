//! Leases of jobs, and how attempts end.

use std::borrow::Cow;
use std::fmt;

use diesel::result::{DatabaseErrorKind, Error};
use threadline_diesel::feed::LeaseTime;
use uuid::Uuid;

use super::job::Job;

/// A job that a worker claimed, with its lease.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ClaimedJob {
    /// The job.
    pub job: Job,
    /// The lease.
    pub lease: JobLease,
}

/// The lease of a job: the right to run it until the lease expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLease {
    pub(crate) job: Uuid,
    pub(crate) token: Uuid,
    pub(crate) time: LeaseTime,
}

impl JobLease {
    /// The id of the job.
    #[must_use]
    pub fn job(&self) -> Uuid {
        self.job
    }

    /// How long the lease lasts after it was claimed or renewed.
    #[must_use]
    pub fn time(&self) -> LeaseTime {
        self.time
    }
}

/// The answer to a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Renewal {
    /// The lease is renewed.
    Go,
    /// The lease is renewed, and the job was asked to stop: end it with [`fail`](super::fail).
    Cancel,
    /// The lease is lost: stop, and write nothing more.
    Lost,
}

/// Whether a failed attempt is followed by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After 30 seconds, then two minutes, eight minutes, and so on up to an hour, each ±20 %.
    Later,
    /// The job ends: another attempt would fail as well.
    Never,
}

/// The kind of an error: a word that the documentation lists. Never a message, which could have row values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorCode(Cow<'static, str>);

impl ErrorCode {
    /// A code of the library or the host.
    #[must_use]
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// The code of an error of Diesel. Diesel does not pass on the SQLSTATE, so this is its own kind.
    #[must_use]
    pub fn of_database(error: &Error) -> Self {
        let Error::DatabaseError(kind, _) = error else {
            return Self::new("database");
        };
        Self::new(match kind {
            DatabaseErrorKind::SerializationFailure => "serialization_failure",
            DatabaseErrorKind::ReadOnlyTransaction => "read_only_transaction",
            DatabaseErrorKind::ClosedConnection => "closed_connection",
            DatabaseErrorKind::UnableToSendCommand => "unable_to_send_command",
            DatabaseErrorKind::UniqueViolation => "unique_violation",
            DatabaseErrorKind::NotNullViolation => "not_null_violation",
            DatabaseErrorKind::CheckViolation => "check_violation",
            _ => "database",
        })
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an attempt failed.
///
/// ```
/// use threadline_export::jobs::{ErrorCode, JobFailure, Retry};
///
/// let failure = JobFailure::new(ErrorCode::new("storage_unreachable"), "upload", Retry::Later);
/// assert_eq!(failure.code.as_str(), "storage_unreachable");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} in {place}")]
#[non_exhaustive]
pub struct JobFailure {
    /// The kind of the error.
    pub code: ErrorCode,
    /// The step in which it occurred.
    pub place: &'static str,
    /// Whether the job is tried again.
    pub retry: Retry,
}

impl JobFailure {
    /// A failure of a step.
    #[must_use]
    pub const fn new(code: ErrorCode, place: &'static str, retry: Retry) -> Self {
        Self { code, place, retry }
    }

    /// A failure of a query, which is tried again.
    #[must_use]
    pub fn of_database(error: &Error, place: &'static str) -> Self {
        Self::new(ErrorCode::of_database(error), place, Retry::Later)
    }
}
