//! Retention: what has expired under a policy, removing it, and keeping the partitions in order.
//!
//! The calls are [`plan_retention`], [`purge`], [`maintain_partitions`], [`retention_runs`] and
//! [`audit_horizon`].
//!
//! A purge works in steps, each a transaction of its own that takes about 50 ms. It can be killed at any
//! point: what was removed is recorded with it, and the next purge goes on. One at a time is at work;
//! that is settled by a lease in the database, so it holds for many instances, and through `PgBouncer`.

mod cutoffs;
mod options;
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
pub use planning::plan_retention;
pub use purge::{audit_horizon, maintain_partitions, purge, purge_with_progress, retention_runs};
pub use run::{Maintenance, PurgeStep, RetentionRun, RunState, StepKind, UnknownRunState};
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
    /// Consumers of the feed have not acknowledged everything that has expired.
    #[error(
        "consumers of the feed have not acknowledged everything that has expired: let them catch up, \
         or say FeedConsumers::Ignore"
    )]
    FeedBehind,
    /// The connection is inside a transaction, where steps could not be committed.
    #[error("a purge commits after every step, so it cannot run inside a transaction")]
    InTransaction,
    /// A step failed; the run is recorded as failed, and the next one goes on.
    #[error("retention run {run} failed while {place}")]
    Failed {
        /// The run.
        run: i64,
        /// What it did, as it is recorded. The error is not recorded, because it can hold row values.
        place: String,
        /// What went wrong.
        #[source]
        error: diesel::result::Error,
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

    /// Where it happened, for the run's record.
    fn place(&self) -> String {
        match self {
            Self::Failed { place, .. } => place.clone(),
            other => other.kind().to_owned(),
        }
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
