//! Recorded runs of purges, and their steps.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::json::StoredJson;

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunState {
    /// Running, or its process died and its lease has not expired.
    Running,
    /// All records that were expired at its start were removed, except postponed partitions.
    Completed,
    /// Stopped by a signal or a limit; the next run continues.
    Stopped,
    /// Failed; the next run continues.
    Failed,
    /// Its process died; a later run marked it as abandoned.
    Abandoned,
}

/// A state this release does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a state of a retention run that this release knows")]
pub struct UnknownRunState(pub String);

impl RunState {
    /// The name, as it is stored.
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
    /// The id of the run.
    pub id: i64,
    /// The state of the run.
    pub state: RunState,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The database role that ran it.
    pub started_by: String,
    /// The policy it ran under.
    pub policy: StoredJson,
    /// The number of steps.
    pub steps: i64,
    /// The number of removed changes.
    pub changes: i64,
    /// The number of removed transactions.
    pub transactions: i64,
    /// The number of removed actions.
    pub actions: i64,
    /// The number of last images that were kept as new baselines.
    pub baselines: i64,
    /// The number of dropped partitions.
    pub partitions: i64,
    /// Expired partitions that could not be locked and are left to the next run.
    pub postponed: Vec<String>,
    /// The step that failed.
    pub failure: Option<String>,
}

/// The kind of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepKind {
    /// Deleted rows.
    Removed,
    /// Dropped a partition.
    Dropped,
    /// Could not lock a partition; tries again.
    Locked,
    /// Could not lock a partition too often; leaves it to the next run.
    Postponed,
}

impl StepKind {
    /// The name of the kind.
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
    /// The kind of step.
    pub kind: StepKind,
    /// The partition, if the step is about one.
    pub partition: Option<String>,
    /// The number of removed changes.
    pub changes: i64,
    /// The number of removed transactions.
    pub transactions: i64,
    /// The number of removed actions.
    pub actions: i64,
}

/// The outcome of maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Maintenance {
    /// The number of created partitions.
    pub created: i64,
    /// The number of rows that were moved out of default partitions.
    pub moved: i64,
    /// Whether work is left: a table could not be locked, or a default partition has more rows of a period than are
    /// moved at once.
    pub unfinished: bool,
}
