//! What the library says about itself while it works: `tracing` events, and counters with the
//! feature `metrics`.
//!
//! Names and fields are stable and listed in [`EVENTS`]. No event holds row values, actors' ids or
//! free text: an error's message can quote a row, so errors are told by kind.

use tracing::Level;

/// The target of every event.
pub const TARGET: &str = "threadline";

/// An event the library emits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Its message, which is its name.
    pub name: &'static str,
    /// How loud it is.
    pub level: Level,
    /// The names of its fields.
    pub fields: &'static [&'static str],
    /// The counter that counts it, with the feature `metrics`.
    pub counter: &'static str,
}

/// Every event there is.
pub const EVENTS: &[Event] = &[
    TRANSACTION_COMMITTED,
    ACTION_RECORDED,
    CAPTURE_REFUSED,
    CONTEXT_DROPPED,
    CONTEXT_MISSING,
    COVERAGE_CHECKED,
    FAILURE_UNRECORDED,
    RETENTION_STARTED,
    RETENTION_STEP,
    RETENTION_FINISHED,
    RETENTION_FAILED,
];

const TRANSACTION_COMMITTED: Event = Event {
    name: "transaction committed",
    level: Level::DEBUG,
    fields: &["changes", "tables"],
    counter: "threadline_transactions_committed_total",
};

const ACTION_RECORDED: Event = Event {
    name: "action recorded",
    level: Level::DEBUG,
    fields: &["status"],
    counter: "threadline_actions_recorded_total",
};

const CAPTURE_REFUSED: Event = Event {
    name: "capture refused",
    level: Level::WARN,
    fields: &["kind"],
    counter: "threadline_captures_refused_total",
};

const CONTEXT_DROPPED: Event = Event {
    name: "context dropped",
    level: Level::DEBUG,
    fields: &["header", "reason"],
    counter: "threadline_contexts_dropped_total",
};

const CONTEXT_MISSING: Event = Event {
    name: "context missing",
    level: Level::ERROR,
    fields: &[],
    counter: "threadline_contexts_missing_total",
};

const COVERAGE_CHECKED: Event = Event {
    name: "coverage checked",
    level: Level::INFO,
    fields: &[
        "captured",
        "expected_gaps",
        "needs_capture",
        "errors",
        "warnings",
    ],
    counter: "threadline_coverage_checks_total",
};

const FAILURE_UNRECORDED: Event = Event {
    name: "failure unrecorded",
    level: Level::WARN,
    fields: &["kind"],
    counter: "threadline_failures_unrecorded_total",
};

const RETENTION_STARTED: Event = Event {
    name: "retention started",
    level: Level::INFO,
    fields: &["run"],
    counter: "threadline_retention_started_total",
};

const RETENTION_STEP: Event = Event {
    name: "retention step",
    level: Level::DEBUG,
    fields: &["run", "step", "changes", "transactions", "actions"],
    counter: "threadline_retention_steps_total",
};

const RETENTION_FINISHED: Event = Event {
    name: "retention finished",
    level: Level::INFO,
    fields: &[
        "run",
        "state",
        "changes",
        "transactions",
        "actions",
        "partitions",
    ],
    counter: "threadline_retention_finished_total",
};

const RETENTION_FAILED: Event = Event {
    name: "retention failed",
    level: Level::ERROR,
    fields: &["kind"],
    counter: "threadline_retention_failed_total",
};

/// Counts an event, where somebody counts.
#[cfg(feature = "metrics")]
fn count(event: Event) {
    metrics::counter!(event.counter).increment(1);
}

#[cfg(not(feature = "metrics"))]
fn count(_: Event) {}

/// An audited transaction was committed; how many changes of how many tables it captured.
pub fn transaction_committed(changes: i64, tables: i64) {
    tracing::debug!(target: TARGET, changes, tables, "transaction committed");
    count(TRANSACTION_COMMITTED);
}

/// Whether somebody hears how much an audited transaction captured: counting costs a query.
#[must_use]
pub fn hears_counts() -> bool {
    tracing::enabled!(target: TARGET, Level::DEBUG)
}

/// An audited transaction was committed, and nobody hears how much it captured.
pub fn uncounted_transaction_committed() {
    count(TRANSACTION_COMMITTED);
}

/// An action was recorded, and how it ended.
pub fn action_recorded(status: &'static str) {
    tracing::debug!(target: TARGET, status, "action recorded");
    count(ACTION_RECORDED);
}

/// A write was refused: because nobody signed it, or nothing was captured where something had to
/// be.
pub fn capture_refused(kind: &'static str) {
    tracing::warn!(target: TARGET, kind, "capture refused");
    count(CAPTURE_REFUSED);
}

/// A value of a request could not be part of its context. Any client can cause this, so it is not
/// loud.
pub fn context_dropped(header: &str, reason: &str) {
    tracing::debug!(target: TARGET, header, reason, "context dropped");
    count(CONTEXT_DROPPED);
}

/// A handler asked for a context that no layer had put there.
pub fn context_missing() {
    tracing::error!(target: TARGET, "context missing");
    count(CONTEXT_MISSING);
}

/// Coverage was checked: how many tables are captured, knowingly not, and not; and how many findings
/// there are of the two severities that ask for something.
pub fn coverage_checked(
    captured: usize,
    expected_gaps: usize,
    needs_capture: usize,
    errors: usize,
    warnings: usize,
) {
    tracing::info!(
        target: TARGET,
        captured,
        expected_gaps,
        needs_capture,
        errors,
        warnings,
        "coverage checked"
    );
    count(COVERAGE_CHECKED);
}

/// Work failed, and that could not be recorded, or not even be rolled back.
pub fn failure_unrecorded(kind: &'static str) {
    tracing::warn!(target: TARGET, kind, "failure unrecorded");
    count(FAILURE_UNRECORDED);
}

/// A purge began.
pub fn retention_started(run: i64) {
    tracing::info!(target: TARGET, run, "retention started");
    count(RETENTION_STARTED);
}

/// A purge did a step: rows were removed, or a partition was dropped, or was in use.
pub fn retention_step(run: i64, step: &'static str, changes: i64, transactions: i64, actions: i64) {
    tracing::debug!(
        target: TARGET, run, step, changes, transactions, actions, "retention step"
    );
    count(RETENTION_STEP);
}

/// A purge ended, as completed or as stopped, and what it removed.
pub fn retention_finished(
    run: i64,
    state: &'static str,
    changes: i64,
    transactions: i64,
    actions: i64,
    partitions: i64,
) {
    tracing::info!(
        target: TARGET, run, state, changes, transactions, actions, partitions,
        "retention finished"
    );
    count(RETENTION_FINISHED);
}

/// A purge failed, or could not begin.
pub fn retention_failed(kind: &'static str) {
    tracing::error!(target: TARGET, kind, "retention failed");
    count(RETENTION_FAILED);
}
