//! Background jobs: exports, checks and other long work that a [`Worker`](crate::Worker) claims under a lease.
//!
//! A job is a row of `audit_jobs`. It is `queued`, then `running` while a worker holds its lease, and ends as
//! `completed`, `failed` or `cancelled`; a completed job becomes `expired` when its result is no longer kept.
//! A worker that is killed loses its lease, and another worker claims the job again. Each claim has a fencing
//! token, so that only the latest claim can end the job.
//!
//! Each function is one statement or a short transaction. Behind `PgBouncer` in transaction mode without
//! support for prepared statements, call it in a transaction.

mod calls;
mod check_job;
mod download;
mod error;
mod export_job;
mod export_request;
mod handler;
mod job;
mod lease;
mod list;
pub(crate) mod maintenance;
mod new_job;
mod position;
pub(crate) mod statements;
mod storage_code;

pub use self::calls::{cancel, claim, enqueue, fail, find, finish, renew, retry};
pub use self::check_job::CheckHandler;
pub use self::download::{Content, Download, DownloadError, download};
pub use self::error::JobError;
pub(crate) use self::export_job::ExportHandler;
pub use self::export_request::{ExportRequest, ExportResult, FileName, InvalidFileName, Span};
pub(crate) use self::handler::ProgressCounters;
pub use self::handler::{JobHandler, JobOutcome, JobRun, ScopeResolver};
pub use self::job::{Job, JobKind, JobProgress, JobState, UnknownName};
pub use self::lease::{ClaimedJob, ErrorCode, JobFailure, JobLease, Renewal, Retry};
pub use self::list::{JobFilter, JobPage, list};
pub use self::new_job::{
    InvalidKeepDays, KeepDays, MAX_KEEP_DAYS, MAX_OPEN_JOBS, MAX_REQUEST_BYTES, NewJob,
};
pub(crate) use self::new_job::{validate_request, validate_scope_key};
