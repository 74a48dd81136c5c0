//! Jobs as they are read.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use threadline_core::actor::ActorRef;
use uuid::Uuid;

/// A background job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Job {
    /// The id; ids are ordered by the time of the request.
    pub id: Uuid,
    /// What the job does.
    pub kind: JobKind,
    /// The state.
    pub state: JobState,
    /// The request: a JSON object whose fields depend on the kind.
    pub request: serde_json::Value,
    /// The actor that requested the job; none if it belongs to the system.
    pub actor: Option<ActorRef>,
    /// The key of the scope, which the host resolves when the job runs; none for the whole trail.
    pub scope_key: Option<String>,
    /// The schedule that enqueued the job.
    pub schedule: Option<String>,
    /// When the schedule was due.
    pub due_at: Option<DateTime<Utc>>,
    /// When the job can be claimed: later than `created_at` after a failed attempt.
    pub run_at: DateTime<Utc>,
    /// The number of the latest attempt; 0 before the first.
    pub attempt: i32,
    /// The attempt after which a failed job is not tried again.
    pub max_attempts: i32,
    /// When the lease of the worker expires.
    pub leased_until: Option<DateTime<Utc>>,
    /// The progress that the worker reported last.
    pub progress: Option<JobProgress>,
    /// When the job was asked to stop.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// The result of a completed job.
    pub result: Option<serde_json::Value>,
    /// The kind of the last error. The message is in the log of the worker only.
    pub error_code: Option<String>,
    /// The step in which the last error occurred.
    pub error_place: Option<String>,
    /// When the job was requested.
    pub created_at: DateTime<Utc>,
    /// The database role that requested it.
    pub created_by: String,
    /// When the first attempt started.
    pub started_at: Option<DateTime<Utc>>,
    /// When the job ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// When its stored objects expire.
    pub expires_at: Option<DateTime<Utc>>,
    /// When its stored objects were deleted.
    pub object_gone_at: Option<DateTime<Utc>>,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
#[non_exhaustive]
pub enum JobKind {
    /// Writes an export to a storage.
    Export,
    /// Runs a check and records its evidence.
    Check,
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum JobState {
    /// Waits for a worker.
    Queued,
    /// A worker holds the lease, or held it and was killed.
    Running,
    /// Ended with a result.
    Completed,
    /// Completed, and its stored objects are no longer kept.
    Expired,
    /// Ended with an error.
    Failed,
    /// Ended by request.
    Cancelled,
}

/// The error for a text that is not a kind or a state of jobs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {subject} of jobs: use one of {known}")]
pub struct UnknownName {
    subject: &'static str,
    text: String,
    known: String,
}

impl UnknownName {
    fn new(subject: &'static str, text: &str, known: &[&str]) -> Self {
        Self {
            subject,
            text: text.chars().take(100).collect(),
            known: known.join(", "),
        }
    }
}

impl JobKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Export, Self::Check];

    /// The name used in SQL, JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Check => "check",
        }
    }
}

impl JobState {
    /// All states, in the order in which a job has them.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Completed,
        Self::Expired,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name used in SQL, JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job is queued or running.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

impl FromStr for JobKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownName::new("kind", text, &Self::ALL.map(Self::as_str)))
    }
}

impl FromStr for JobState {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownName::new("state", text, &Self::ALL.map(Self::as_str)))
    }
}

impl TryFrom<String> for JobKind {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for JobState {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<JobKind> for &'static str {
    fn from(kind: JobKind) -> Self {
        kind.as_str()
    }
}

impl From<JobState> for &'static str {
    fn from(state: JobState) -> Self {
        state.as_str()
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a running job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobProgress {
    /// The number of processed records.
    pub rows: u64,
    /// The number of written bytes; 0 if the job writes none.
    pub bytes: u64,
}
