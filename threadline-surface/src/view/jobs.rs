//! Jobs: states, progress, results and errors in words.

use maud::{Markup, html};
use serde_json::Value;
use threadline_export::jobs::{ExportRequest, ExportResult, Job, JobState};
use threadline_export::{Compression, Format};

use super::filter_words::filter_words;
use super::id::copied;
use super::instant::instant;
use super::number::{count_of, size};
use crate::request::GrantedRequest;

/// The state of a job.
pub(crate) fn job_state(job: &Job) -> Markup {
    let is_good = job.state == JobState::Completed;
    let is_bad = job.state == JobState::Failed;
    html! {
        span.badge.good[is_good].error[is_bad] { (job.state.as_str()) }
        @if job.state.is_open() && job.cancel_requested_at.is_some() {
            " " span.token.warning { "asked to stop" }
        }
    }
}

/// What an export has: its format and filters.
pub(crate) fn export_request(request: &Value) -> Markup {
    let Ok(request) = serde_json::from_value::<ExportRequest>(request.clone()) else {
        return html! { p { span.token.warning { "unknown request" } } };
    };
    let format = match request.format {
        Format::Csv(_) => "CSV",
        Format::Json => "JSON",
        Format::Ndjson => "NDJSON",
        _ => "Parquet",
    };
    let pairs = request.filters.pairs();
    html! {
        p {
            strong { (format) @if request.compression != Compression::None { ", gzip" } }
            @if pairs.is_empty() { " all changes" }
            @for (name, value) in &pairs {
                " · " (filter_words(name, value))
            }
        }
    }
}

/// What the file of a completed export is.
pub(crate) fn export_result(request: &GrantedRequest, job: &Job) -> Markup {
    let result = job.result.clone();
    let result = result.and_then(|result| serde_json::from_value::<ExportResult>(result).ok());
    let kept_until = job.expires_at.filter(|_| job.state == JobState::Completed);
    html! {
        @if let Some(result) = result {
            p { (count_of(result.rows, "change")) ", " (size(result.bytes)) }
            div.links {
                span { "SHA-256 " (copied(&result.sha256)) }
                @if let Some(at) = kept_until {
                    span { "kept until " (instant(request, at)) }
                }
            }
        }
    }
}

/// What the state means for the operator.
pub(crate) fn job_progress(request: &GrantedRequest, job: &Job) -> Markup {
    html! {
        @match job.state {
            JobState::Queued if job.attempt > 0 => {
                p.note { "Attempt " (job.attempt) " failed; the next one starts " (instant(request, job.run_at)) }
            }
            JobState::Queued => p.note { "Waits for a worker." },
            JobState::Running => {
                p.note {
                    @match &job.progress {
                        Some(progress) => {
                            (count_of(progress.rows, "change")) " so far"
                        }
                        None => "Started",
                    }
                }
            }
            JobState::Expired => {
                p.note {
                    "The file was kept until "
                    @if let Some(at) = job.expires_at { (instant(request, at)) } @else { "its expiry" }
                }
            }
            _ => {}
        }
        (job_error(job))
    }
}

/// The last error of a job that waits for another attempt or failed.
pub(crate) fn job_error(job: &Job) -> Markup {
    let shown = matches!(job.state, JobState::Queued | JobState::Failed);
    html! {
        @if let Some(code) = job.error_code.as_deref().filter(|_| shown) {
            p.error {
                (error_words(code))
                @if let Some(place) = &job.error_place { " Step: " bdi { (place) } "." }
                " " code { bdi { (code) } }
            }
        }
    }
}

/// The meaning of an error code.
fn error_words(code: &str) -> &'static str {
    match code {
        "storage_denied" => "The worker may not write to the storage.",
        "storage_full" => "The storage is full.",
        "storage_unknown" | "storage_directory" | "storage_not_found" => {
            "The worker does not have this storage."
        }
        "storage_unavailable" => "The storage did not answer.",
        "no_scope_resolver" => "The worker has no function that resolves the scope.",
        "scope_refused" => "The application refused the scope: the grant may have ended.",
        "invalid_request" | "invalid_filters" | "invalid_key" | "span_without_schedule" => {
            "The request cannot run: queue another one."
        }
        "running_transactions" => "A transaction has run for ten minutes; the doctor shows it.",
        "lease_expired" => "The worker was killed in the last attempt.",
        "no_connection" => "The worker got no connection to the database.",
        "serialization_failure" => "The database cancelled the reading, for example on a standby.",
        "closed_connection" => "The connection to the database was lost.",
        _ => "The worker reported an error; its log has the details.",
    }
}
