//! A purge and its steps, as they are recorded.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::json::StoredJson;

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunState {
    /// It is at work, or died and its lease has not run out.
    Running,
    /// Nothing that was expired when it began is left, but for partitions that it postponed.
    Completed,
    /// It was asked to stop; the next one goes on.
    Stopped,
    /// It failed; the next one goes on.
    Failed,
    /// It died; the next one found that.
    Abandoned,
}

/// A state this release does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no state of a retention run that this release knows")]
pub struct UnknownRunState(pub String);

impl RunState {
    /// Its name, as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

impl FromStr for RunState {
    type Err = UnknownRunState;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all = [
            Self::Running,
            Self::Completed,
            Self::Stopped,
            Self::Failed,
            Self::Abandoned,
        ];
        all.into_iter()
            .find(|state| state.as_str() == name)
            .ok_or_else(|| UnknownRunState(name.to_owned()))
    }
}

/// A purge, as it is recorded in `audit_retention_runs`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RetentionRun {
    /// Its number.
    pub id: i64,
    /// How it stands.
    pub state: RunState,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The database role that ran it.
    pub started_by: String,
    /// The policy it ran under.
    pub policy: StoredJson,
    /// How many steps it took.
    pub steps: i64,
    /// How many changes it removed.
    pub changes: i64,
    /// How many transactions it removed.
    pub transactions: i64,
    /// How many actions it removed.
    pub actions: i64,
    /// How many last images it kept, as new baselines.
    pub baselines: i64,
    /// How many partitions it dropped.
    pub partitions: i64,
    /// Expired partitions that were in use for too long and are left to the next run.
    pub postponed: Vec<String>,
    /// What it did when it failed.
    pub failure: Option<String>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepKind {
    /// Removed rows.
    Removed,
    /// Dropped a partition.
    Dropped,
    /// Found a partition in use; tries again.
    Locked,
    /// Found a partition in use too often; leaves it to the next run.
    Postponed,
}

impl StepKind {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Dropped => "dropped",
            Self::Locked => "locked",
            Self::Postponed => "postponed",
        }
    }
}

/// A step of a purge.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PurgeStep {
    /// The run.
    pub run: i64,
    /// What it did.
    pub kind: StepKind,
    /// The partition, if it was about one.
    pub partition: Option<String>,
    /// How many changes it removed.
    pub changes: i64,
    /// How many transactions it removed.
    pub transactions: i64,
    /// How many actions it removed.
    pub actions: i64,
}

/// What was done to the partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Maintenance {
    /// How many partitions were made ahead.
    pub created: i64,
    /// How many rows were moved out of default partitions.
    pub moved: i64,
    /// Whether something is left to do: a table was in use all the time, or a default partition has more
    /// rows of a period than are moved at once.
    pub unfinished: bool,
}
