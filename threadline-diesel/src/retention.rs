//! Retention: planning and removing expired records, and maintaining partitions.
//!
//! The functions are [`plan_retention`], [`plan_archived_retention`], [`purge`], [`maintain_partitions`],
//! [`retention_runs`] and [`audit_horizon`].
//!
//! A purge runs in steps, each a transaction of its own that takes about 50 ms. It can be killed at any point:
//! each step records what it removes, and the next purge continues. A lease in the database lets one purge run
//! at a time, also with many instances and through `PgBouncer`.

mod cutoffs;
pub(crate) mod execute;
mod options;
mod partition;
mod plan;
mod planning;
mod purge;
mod run;
mod statements;
mod steps;
mod walk;
mod worker;

use chrono::{DateTime, Utc};

pub use options::{
    BatchSize, FeedConsumers, InvalidBatchSize, MAX_BATCH_SIZE, PurgeOptions, StopSignal,
};
pub use plan::{Expired, ExpiredPart, Notice, RetentionPlan};
pub(crate) use planning::expired_before;
pub use planning::{plan_archived_retention, plan_retention};
pub use purge::{
    audit_horizon, maintain_partitions, purge, purge_with_progress, retention_run, retention_runs,
};
pub use run::{Maintenance, PurgeStep, RetentionRun, RunState, StepKind, UnknownRunState};
pub use worker::{RetentionWorker, RunningWorker};

/// A purge that did not start or did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetentionError {
    /// The policy is not enabled.
    #[error("retention is not enabled: call enabled() on the policy")]
    Disabled,
    /// Another purge is running.
    #[error("another purge is running{}", describe_holder(*.run, *.until))]
    AtWork {
        /// The other run, if known.
        run: Option<i64>,
        /// When its lease expires unless it is renewed.
        until: Option<DateTime<Utc>>,
    },
    /// Consumers of the feed have not acknowledged all expired items.
    #[error(
        "consumers of the feed have not acknowledged all expired items: wait until they have, \
         or set FeedConsumers::Ignore"
    )]
    FeedBehind,
    /// The connection is inside a transaction, where steps could not be committed.
    #[error("a purge commits after every step, so it cannot run inside a transaction")]
    InTransaction,
    /// A step failed. The run is recorded as failed, and the next one continues.
    #[error("retention run {run} failed while {place}")]
    Failed {
        /// The run.
        run: i64,
        /// The step, as it is recorded. The error is not recorded, because it may contain row values.
        place: String,
        /// The error of the database.
        #[source]
        error: diesel::result::Error,
    },
    /// The lease expired, and another purge marked this run as abandoned.
    #[error("retention run {run} was marked as abandoned by another run: set a longer lease")]
    Lost {
        /// The run.
        run: i64,
    },
    /// The run has a state that this release does not know.
    #[error(transparent)]
    Unknown(#[from] UnknownRunState),
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

fn describe_holder(run: Option<i64>, until: Option<DateTime<Utc>>) -> String {
    match (run, until) {
        (Some(run), Some(until)) => format!(": run {run} has the lease until {until}"),
        _ => String::new(),
    }
}

impl RetentionError {
    /// Whether retention failed. That another purge runs, or that the policy is not enabled, is not a failure.
    pub(crate) const fn is_failure(&self) -> bool {
        !matches!(
            self,
            Self::Disabled | Self::AtWork { .. } | Self::InTransaction
        )
    }

    /// The step, for the record of the run.
    fn place(&self) -> String {
        match self {
            Self::Failed { place, .. } => place.clone(),
            other => other.kind().to_owned(),
        }
    }

    /// The kind of error, for telemetry.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::AtWork { .. } => "at_work",
            Self::FeedBehind => "feed_behind",
            Self::InTransaction => "in_transaction",
            Self::Failed { .. } => "step",
            Self::Lost { .. } => "lost",
            Self::Unknown(_) => "unknown",
            Self::Database(_) => "database",
        }
    }
}

/// The outcome of a purge.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct PurgeOutcome {
    /// The maintenance of partitions before the purge.
    pub maintenance: Maintenance,
    /// The run, as it is recorded.
    pub run: RetentionRun,
}
