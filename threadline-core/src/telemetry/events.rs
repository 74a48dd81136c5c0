//! The registry of events.

use tracing::Level;

/// An event of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The name, which is the event's message.
    pub name: &'static str,
    /// The level.
    pub level: Level,
    /// The names of its fields.
    pub fields: &'static [&'static str],
    /// The name of its counter.
    pub counter: &'static str,
}

/// All events.
pub const EVENTS: &[Event] = &[
    TRANSACTION_COMMITTED,
    ACTION_RECORDED,
    ARCHIVE_FINISHED,
    ARCHIVE_FAILED,
    CAPTURE_REFUSED,
    CHECK_FAILED,
    CONSOLE_DENIED,
    CONSOLE_EXPORT,
    CONSOLE_FAILED,
    CONSOLE_REQUEST,
    CONSOLE_TIMEOUT,
    CONTEXT_DROPPED,
    CONTEXT_MISSING,
    COVERAGE_CHECKED,
    DELIVERY_FAILED,
    DELIVERY_SENT,
    DELIVERY_SET_ASIDE,
    EVIDENCE_RECORDED,
    FAILURE_UNRECORDED,
    JOB_STARTED,
    JOB_DONE,
    JOB_FAILED,
    JOB_EXPORTED,
    JOBS_EXPIRED,
    SCHEDULE_DUE,
    WORKER_FAILED,
    SEAL_FINISHED,
    SEAL_FAILED,
    RETENTION_STARTED,
    RETENTION_STEP,
    RETENTION_FINISHED,
    RETENTION_FAILED,
];

pub(super) const TRANSACTION_COMMITTED: Event = Event {
    name: "transaction committed",
    level: Level::DEBUG,
    fields: &["changes", "tables"],
    counter: "threadline_transactions_committed_total",
};

pub(super) const ACTION_RECORDED: Event = Event {
    name: "action recorded",
    level: Level::DEBUG,
    fields: &["status"],
    counter: "threadline_actions_recorded_total",
};

pub(super) const ARCHIVE_FINISHED: Event = Event {
    name: "archive finished",
    level: Level::INFO,
    fields: &["days", "pending", "rows", "bytes"],
    counter: "threadline_archives_finished_total",
};

pub(super) const ARCHIVE_FAILED: Event = Event {
    name: "archive failed",
    level: Level::ERROR,
    fields: &["kind"],
    counter: "threadline_archives_failed_total",
};

pub(super) const CAPTURE_REFUSED: Event = Event {
    name: "capture refused",
    level: Level::WARN,
    fields: &["kind"],
    counter: "threadline_captures_refused_total",
};

pub(super) const CHECK_FAILED: Event = Event {
    name: "check failed",
    level: Level::WARN,
    fields: &["check", "kind"],
    counter: "threadline_checks_failed_total",
};

pub(super) const CONSOLE_DENIED: Event = Event {
    name: "console denied",
    level: Level::INFO,
    fields: &["screen", "reason"],
    counter: "threadline_console_denials_total",
};

pub(super) const CONSOLE_EXPORT: Event = Event {
    name: "console export",
    level: Level::INFO,
    fields: &["format", "outcome", "rows", "bytes"],
    counter: "threadline_console_exports_total",
};

pub(super) const CONSOLE_FAILED: Event = Event {
    name: "console failed",
    level: Level::ERROR,
    fields: &["screen", "kind", "reference"],
    counter: "threadline_console_failures_total",
};

pub(super) const CONSOLE_REQUEST: Event = Event {
    name: "console request",
    level: Level::DEBUG,
    fields: &["screen", "status", "lane", "ms"],
    counter: "threadline_console_requests_total",
};

pub(super) const CONSOLE_TIMEOUT: Event = Event {
    name: "console timeout",
    level: Level::WARN,
    fields: &["screen"],
    counter: "threadline_console_timeouts_total",
};

pub(super) const CONTEXT_DROPPED: Event = Event {
    name: "context dropped",
    level: Level::DEBUG,
    fields: &["header", "reason"],
    counter: "threadline_contexts_dropped_total",
};

pub(super) const CONTEXT_MISSING: Event = Event {
    name: "context missing",
    level: Level::ERROR,
    fields: &[],
    counter: "threadline_contexts_missing_total",
};

pub(super) const COVERAGE_CHECKED: Event = Event {
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

pub(super) const DELIVERY_FAILED: Event = Event {
    name: "delivery failed",
    level: Level::WARN,
    fields: &["kind"],
    counter: "threadline_deliveries_failed_total",
};

pub(super) const DELIVERY_SENT: Event = Event {
    name: "delivery sent",
    level: Level::DEBUG,
    fields: &["items", "status"],
    counter: "threadline_deliveries_sent_total",
};

pub(super) const DELIVERY_SET_ASIDE: Event = Event {
    name: "delivery set aside",
    level: Level::ERROR,
    fields: &["status"],
    counter: "threadline_deliveries_set_aside_total",
};

pub(super) const EVIDENCE_RECORDED: Event = Event {
    name: "evidence recorded",
    level: Level::INFO,
    fields: &["subject", "basis", "outcome"],
    counter: "threadline_evidence_recorded_total",
};

pub(super) const FAILURE_UNRECORDED: Event = Event {
    name: "failure unrecorded",
    level: Level::WARN,
    fields: &["kind"],
    counter: "threadline_failures_unrecorded_total",
};

pub(super) const JOB_STARTED: Event = Event {
    name: "job started",
    level: Level::INFO,
    fields: &["kind", "attempt"],
    counter: "threadline_jobs_started_total",
};

pub(super) const JOB_DONE: Event = Event {
    name: "job done",
    level: Level::INFO,
    fields: &["kind", "ms"],
    counter: "threadline_jobs_done_total",
};

pub(super) const JOB_FAILED: Event = Event {
    name: "job failed",
    level: Level::WARN,
    fields: &["kind", "code", "place"],
    counter: "threadline_jobs_failed_total",
};

pub(super) const JOB_EXPORTED: Event = Event {
    name: "job exported",
    level: Level::INFO,
    fields: &["rows", "bytes"],
    counter: "threadline_jobs_exported_total",
};

pub(super) const JOBS_EXPIRED: Event = Event {
    name: "jobs expired",
    level: Level::INFO,
    fields: &["jobs"],
    counter: "threadline_jobs_expired_total",
};

pub(super) const SCHEDULE_DUE: Event = Event {
    name: "schedule due",
    level: Level::INFO,
    fields: &["kind"],
    counter: "threadline_schedules_due_total",
};

pub(super) const WORKER_FAILED: Event = Event {
    name: "worker failed",
    level: Level::ERROR,
    fields: &["code"],
    counter: "threadline_workers_failed_total",
};

pub(super) const SEAL_FINISHED: Event = Event {
    name: "seal finished",
    level: Level::INFO,
    fields: &["sealed", "published", "ms"],
    counter: "threadline_seals_finished_total",
};

pub(super) const SEAL_FAILED: Event = Event {
    name: "seal failed",
    level: Level::ERROR,
    fields: &["kind"],
    counter: "threadline_seals_failed_total",
};

pub(super) const RETENTION_STARTED: Event = Event {
    name: "retention started",
    level: Level::INFO,
    fields: &["run"],
    counter: "threadline_retention_started_total",
};

pub(super) const RETENTION_STEP: Event = Event {
    name: "retention step",
    level: Level::DEBUG,
    fields: &["run", "step", "changes", "transactions", "actions"],
    counter: "threadline_retention_steps_total",
};

pub(super) const RETENTION_FINISHED: Event = Event {
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

pub(super) const RETENTION_FAILED: Event = Event {
    name: "retention failed",
    level: Level::ERROR,
    fields: &["kind"],
    counter: "threadline_retention_failed_total",
};
