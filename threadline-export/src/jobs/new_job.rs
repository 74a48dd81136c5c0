//! Requests for jobs.

use std::num::NonZeroU16;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use threadline_core::actor::ActorRef;
use threadline_core::context::ContextId;

use super::error::JobError;
use super::job::JobKind;

/// The maximum size of a request as JSON.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// The maximum length of the key of a scope in bytes.
const MAX_SCOPE_KEY_BYTES: usize = 256;

/// The maximum number of queued and running jobs of an actor. Jobs of schedules do not count.
pub const MAX_OPEN_JOBS: u32 = 5;

/// The maximum number of days that results are kept.
pub const MAX_KEEP_DAYS: u16 = 3_660;

/// A job to enqueue.
///
/// ```
/// use serde_json::json;
/// use threadline_export::jobs::{JobKind, NewJob};
///
/// let job = NewJob::new(JobKind::Check, json!({ "check": "coverage" }))
///     .actor("admin:rita".parse()?)
///     .idempotency_key("check-2026-01-12".parse()?);
/// # let _ = job;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    pub(crate) kind: JobKind,
    pub(crate) request: Value,
    pub(crate) actor: Option<ActorRef>,
    pub(crate) scope_key: Option<String>,
    pub(crate) idempotency_key: Option<ContextId>,
    pub(crate) run_at: Option<DateTime<Utc>>,
    pub(crate) max_attempts: NonZeroU16,
}

const MAX_ATTEMPTS: NonZeroU16 = NonZeroU16::MIN.saturating_add(4);

impl NewJob {
    /// A job that runs as soon as a worker is free, with at most 5 attempts.
    #[must_use]
    pub fn new(kind: JobKind, request: Value) -> Self {
        Self {
            kind,
            request,
            actor: None,
            scope_key: None,
            idempotency_key: None,
            run_at: None,
            max_attempts: MAX_ATTEMPTS,
        }
    }

    /// The actor that requests the job, and alone can download its result.
    #[must_use]
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.actor = Some(actor);
        self
    }

    /// The key of the scope of the actor, from which the host resolves the scope when the job runs.
    #[must_use]
    pub fn scope_key(mut self, key: impl Into<String>) -> Self {
        self.scope_key = Some(key.into());
        self
    }

    /// A key that makes the request repeatable: a second request with the same key enqueues nothing.
    #[must_use]
    pub fn idempotency_key(mut self, key: ContextId) -> Self {
        self.idempotency_key = Some(key);
        self
    }

    /// The earliest instant at which the job runs.
    #[must_use]
    pub fn run_at(mut self, instant: DateTime<Utc>) -> Self {
        self.run_at = Some(instant);
        self
    }

    /// The maximum number of attempts.
    #[must_use]
    pub fn max_attempts(mut self, attempts: NonZeroU16) -> Self {
        self.max_attempts = attempts;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), JobError> {
        validate_request(&self.request)?;
        self.scope_key.as_deref().map_or(Ok(()), validate_scope_key)
    }
}

pub(crate) fn validate_request(request: &Value) -> Result<(), JobError> {
    if !request.is_object() {
        return Err(JobError::RequestNotAnObject);
    }
    let text = request.to_string();
    if text.len() > MAX_REQUEST_BYTES || text.contains("\\u0000") {
        return Err(JobError::InvalidRequest(text.len()));
    }
    Ok(())
}

pub(crate) fn validate_scope_key(key: &str) -> Result<(), JobError> {
    if key.is_empty() || key.len() > MAX_SCOPE_KEY_BYTES || key.contains('\0') {
        return Err(JobError::InvalidScopeKey(key.len()));
    }
    Ok(())
}

/// How long the result of a job is kept, in days; 7 unless set.
///
/// ```
/// use threadline_export::jobs::KeepDays;
///
/// assert_eq!(KeepDays::default(), KeepDays::new(7)?);
/// assert!(KeepDays::new(0).is_err());
/// # Ok::<(), threadline_export::jobs::InvalidKeepDays>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct KeepDays(u16);

/// The error for a number of days out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("results are kept for 1 to {MAX_KEEP_DAYS} days, not {0}")]
pub struct InvalidKeepDays(pub u16);

impl KeepDays {
    /// A number of days, from 1 to [`MAX_KEEP_DAYS`].
    ///
    /// # Errors
    /// [`InvalidKeepDays`] otherwise.
    pub fn new(days: u16) -> Result<Self, InvalidKeepDays> {
        if (1..=MAX_KEEP_DAYS).contains(&days) {
            Ok(Self(days))
        } else {
            Err(InvalidKeepDays(days))
        }
    }

    /// The number of days.
    #[must_use]
    pub const fn days(self) -> u16 {
        self.0
    }
}

impl Default for KeepDays {
    fn default() -> Self {
        Self(7)
    }
}

impl TryFrom<u16> for KeepDays {
    type Error = InvalidKeepDays;

    fn try_from(days: u16) -> Result<Self, Self::Error> {
        Self::new(days)
    }
}

impl From<KeepDays> for u16 {
    fn from(keep: KeepDays) -> Self {
        keep.0
    }
}
