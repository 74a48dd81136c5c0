//! Retention: what is expired under a policy, removing it, and keeping the partitions in order.
//!
//! The calls are [`plan_retention`](crate::blocking::plan_retention),
//! [`purge`](crate::blocking::purge), [`maintain_partitions`](crate::blocking::maintain_partitions),
//! [`retention_runs`](crate::blocking::retention_runs) and
//! [`audit_horizon`](crate::blocking::audit_horizon), in `blocking` and in `nonblocking`.
//!
//! A purge works in steps, each a transaction of its own that takes about 50 ms at most. It can be
//! killed at any point: what was removed is recorded with it, and the next purge goes on. One at a
//! time is at work; that is settled by a lease in the database, so it holds for many instances, and
//! through PgBouncer.

pub(crate) mod calls;
mod options;
mod plan;
pub(crate) mod rows;
mod run;
#[cfg(feature = "async")]
mod worker;

use chrono::{DateTime, Utc};

pub use options::{
    BatchSize, FeedConsumers, InvalidBatchSize, MAX_BATCH_SIZE, PurgeOptions, StopSignal,
};
pub use plan::{Expired, ExpiredPart, Notice, RetentionPlan};
pub use run::{Maintenance, PurgeStep, RetentionRun, RunState, StepKind, UnknownRunState};
#[cfg(feature = "async")]
pub use worker::{RetentionWorker, RunningWorker};

/// Why nothing was purged, or not everything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetentionError {
    /// The policy does not allow it.
    #[error("retention is not enabled: say enabled() in the policy")]
    Disabled,
    /// Somebody else's purge is at work.
    #[error("another purge is at work{}", shown_holder(*.run, *.until))]
    AtWork {
        /// The run that is at work, where that is known.
        run: Option<i64>,
        /// When its lease ends unless it goes on.
        until: Option<DateTime<Utc>>,
    },
    /// Consumers of the change feed have not seen everything that is expired.
    #[error(
        "consumers of the change feed have not seen everything that is expired: let them catch up, \
         or say FeedConsumers::Overtaken"
    )]
    FeedBehind,
    /// The connection is inside a transaction, where steps could not be committed.
    #[error("a purge commits after every step, so it cannot run inside a transaction")]
    InTransaction,
    /// A step failed; the run is recorded as failed, and the next one goes on.
    #[error("retention run {run} failed: {failure}")]
    Failed {
        /// The run.
        run: i64,
        /// The SQLSTATE, and where it happened.
        failure: String,
    },
    /// Another purge took this one for dead, because its lease had run out.
    #[error("retention run {run} was taken for dead by another: give it a longer lease")]
    Lost {
        /// The run.
        run: i64,
    },
    /// The database holds something this release does not know.
    #[error(transparent)]
    Unknown(#[from] UnknownRunState),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

fn shown_holder(run: Option<i64>, until: Option<DateTime<Utc>>) -> String {
    match (run, until) {
        (Some(run), Some(until)) => format!(": run {run} has the lease until {until}"),
        _ => String::new(),
    }
}

impl RetentionError {
    /// Whether something went wrong. That others are at work, or that a caller may not purge, is no
    /// failure of retention.
    pub(crate) const fn is_worth_an_event(&self) -> bool {
        !matches!(
            self,
            Self::Disabled | Self::AtWork { .. } | Self::InTransaction
        )
    }

    /// A word for what went wrong, for telemetry.
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

/// What a purge did.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct PurgeOutcome {
    /// The partitions that were put in order before.
    pub maintenance: Maintenance,
    /// The run as it is recorded.
    pub run: RetentionRun,
}
