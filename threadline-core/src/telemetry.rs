//! The library's `tracing` events, and counters of them with the feature `metrics`.
//!
//! The names and fields in [`EVENTS`] are stable. Events have no row values, actor ids or free text.
//! Because an error message can quote a row, an event has the kind of an error, not its message.
//!
//! ```
//! use threadline_core::telemetry::EVENTS;
//!
//! for event in EVENTS {
//!     println!("{} {:?} {}", event.name, event.fields, event.counter);
//! }
//! ```

mod events;

use tracing::Level;

pub use self::events::{EVENTS, Event};

/// The `tracing` target of all events.
pub const TARGET: &str = "threadline";

/// Increments the counter of an event.
#[cfg(feature = "metrics")]
fn count(event: Event) {
    metrics::counter!(event.counter).increment(1);
}

#[cfg(not(feature = "metrics"))]
fn count(_: Event) {}

/// An audited transaction was committed. Reports the number of captured changes and of their tables.
pub fn transaction_committed(changes: i64, tables: i64) {
    tracing::debug!(target: TARGET, changes, tables, "transaction committed");
    count(events::TRANSACTION_COMMITTED);
}

/// Whether a subscriber receives [`transaction_committed`]. If not, the query that counts the changes
/// is not needed.
#[must_use]
pub fn counts_enabled() -> bool {
    tracing::enabled!(target: TARGET, Level::DEBUG)
}

/// An audited transaction was committed, and its changes were not counted.
pub fn uncounted_transaction_committed() {
    count(events::TRANSACTION_COMMITTED);
}

/// An action was recorded with this status.
pub fn action_recorded(status: &'static str) {
    tracing::debug!(target: TARGET, status, "action recorded");
    count(events::ACTION_RECORDED);
}

/// A run of the archive ended. Reports the number of days whose files were written, of days that wait for a restore, of
/// records and bytes.
pub fn archive_finished(days: usize, pending: usize, rows: u64, bytes: u64) {
    tracing::info!(target: TARGET, days, pending, rows, bytes, "archive finished");
    count(events::ARCHIVE_FINISHED);
}

/// A run of the archive failed or could not start.
pub fn archive_failed(kind: &'static str) {
    tracing::error!(target: TARGET, kind, "archive failed");
    count(events::ARCHIVE_FAILED);
}

/// An audited write was rejected, because it has no actor or because it captured no change where one
/// is required.
pub fn capture_refused(kind: &'static str) {
    tracing::warn!(target: TARGET, kind, "capture refused");
    count(events::CAPTURE_REFUSED);
}

/// A check of the audit system did not run to its end.
pub fn check_failed(check: &str, kind: &'static str) {
    tracing::warn!(target: TARGET, check, kind, "check failed");
    count(events::CHECK_FAILED);
}

/// The console refused a request: by the host's decision, or because that decision failed.
pub fn console_denied(screen: &'static str, reason: &'static str) {
    tracing::info!(target: TARGET, screen, reason, "console denied");
    count(events::CONSOLE_DENIED);
}

/// A download of the console ended: `complete`, `aborted` by the client, or `failed`. Reports the number of
/// changes and bytes that were sent.
pub fn console_export(format: &'static str, outcome: &'static str, rows: u64, bytes: u64) {
    tracing::info!(target: TARGET, format, outcome, rows, bytes, "console export");
    count(events::CONSOLE_EXPORT);
}

/// A screen of the console has no answer. Its page shows the reference.
pub fn console_failed(screen: &'static str, kind: &'static str, reference: &str) {
    tracing::error!(target: TARGET, screen, kind, reference, "console failed");
    count(events::CONSOLE_FAILED);
}

/// The console answered a granted request. The lane is `whole`, or `scoped` under a scope.
pub fn console_request(screen: &'static str, status: u16, lane: &'static str, ms: u64) {
    tracing::debug!(target: TARGET, screen, status, lane, ms, "console request");
    count(events::CONSOLE_REQUEST);
}

/// A page of the console took too long.
pub fn console_timeout(screen: &'static str) {
    tracing::warn!(target: TARGET, screen, "console timeout");
    count(events::CONSOLE_TIMEOUT);
}

/// A header value was not added to the context of a request. The level is `DEBUG`, because any client
/// can cause this.
pub fn context_dropped(header: &str, reason: &str) {
    tracing::debug!(target: TARGET, header, reason, "context dropped");
    count(events::CONTEXT_DROPPED);
}

/// A handler extracted a context, but no layer or middleware had set one.
pub fn context_missing() {
    tracing::error!(target: TARGET, "context missing");
    count(events::CONTEXT_MISSING);
}

/// Coverage was checked. Reports the number of captured tables, of expected gaps, of tables that need
/// capture, and of findings by severity.
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
    count(events::COVERAGE_CHECKED);
}

/// A request of a delivery was not accepted. It is sent again, or its items are set aside.
pub fn delivery_failed(kind: &'static str) {
    tracing::warn!(target: TARGET, kind, "delivery failed");
    count(events::DELIVERY_FAILED);
}

/// A receiver accepted a number of items of the feed.
pub fn delivery_sent(items: usize, status: u16) {
    tracing::debug!(target: TARGET, items, status, "delivery sent");
    count(events::DELIVERY_SENT);
}

/// A receiver refused an item of the feed, which was set aside.
pub fn delivery_set_aside(status: u16) {
    tracing::error!(target: TARGET, status, "delivery set aside");
    count(events::DELIVERY_SET_ASIDE);
}

/// Evidence was recorded.
pub fn evidence_recorded(subject: &str, basis: &'static str, outcome: &'static str) {
    tracing::info!(target: TARGET, subject, basis, outcome, "evidence recorded");
    count(events::EVIDENCE_RECORDED);
}

/// Work failed, and its failed action could not be recorded or the work not be rolled back.
pub fn failure_unrecorded(kind: &'static str) {
    tracing::warn!(target: TARGET, kind, "failure unrecorded");
    count(events::FAILURE_UNRECORDED);
}

/// A worker started an attempt of a job.
pub fn job_started(kind: &'static str, attempt: i32) {
    tracing::info!(target: TARGET, kind, attempt, "job started");
    count(events::JOB_STARTED);
}

/// A job completed. Reports the duration of its last attempt.
pub fn job_done(kind: &'static str, duration: std::time::Duration) {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(target: TARGET, kind, ms, "job done");
    count(events::JOB_DONE);
}

/// An attempt of a job failed or was cancelled, or the stored objects of a job could not be deleted.
pub fn job_failed(kind: &'static str, code: &str, place: &'static str) {
    tracing::warn!(target: TARGET, kind, code, place, "job failed");
    count(events::JOB_FAILED);
}

/// An export job stored its file. Reports the number of changes and the size of the file.
pub fn job_exported(rows: u64, bytes: u64) {
    tracing::info!(target: TARGET, rows, bytes, "job exported");
    count(events::JOB_EXPORTED);
}

/// The results of jobs are no longer kept.
pub fn jobs_expired(jobs: usize) {
    tracing::info!(target: TARGET, jobs, "jobs expired");
    count(events::JOBS_EXPIRED);
}

/// A schedule enqueued a job.
pub fn schedule_due(kind: &'static str) {
    tracing::info!(target: TARGET, kind, "schedule due");
    count(events::SCHEDULE_DUE);
}

/// A worker could not search for jobs or maintain them. It continues after a pause.
pub fn worker_failed(code: &str) {
    tracing::error!(target: TARGET, code, "worker failed");
    count(events::WORKER_FAILED);
}

/// A round of the sealer ended. Reports the number of sealed records and of published checkpoints.
pub fn seal_finished(sealed: u64, published: usize, duration: std::time::Duration) {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(target: TARGET, sealed, published, ms, "seal finished");
    count(events::SEAL_FINISHED);
}

/// A round of the sealer failed. The next one continues.
pub fn seal_failed(kind: &'static str) {
    tracing::error!(target: TARGET, kind, "seal failed");
    count(events::SEAL_FAILED);
}

/// A purge started.
pub fn retention_started(run: i64) {
    tracing::info!(target: TARGET, run, "retention started");
    count(events::RETENTION_STARTED);
}

/// A step of a purge ended: it removed rows, dropped a partition or found a partition in use.
pub fn retention_step(run: i64, step: &'static str, changes: i64, transactions: i64, actions: i64) {
    tracing::debug!(
        target: TARGET, run, step, changes, transactions, actions, "retention step"
    );
    count(events::RETENTION_STEP);
}

/// A purge completed or stopped. Reports the number of removed records.
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
    count(events::RETENTION_FINISHED);
}

/// A purge failed or could not start.
pub fn retention_failed(kind: &'static str) {
    tracing::error!(target: TARGET, kind, "retention failed");
    count(events::RETENTION_FAILED);
}
