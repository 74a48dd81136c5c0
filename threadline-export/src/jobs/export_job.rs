//! The handler of export jobs.

use std::sync::Arc;

use chrono::Utc;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use threadline_core::instant::Tz;
use threadline_core::telemetry;
use threadline_diesel::evidence::{CheckResult, EvidenceSubject, Outcome};
use threadline_diesel::query::KeyError;
use threadline_diesel::{ReadError, Scope, Timeline, resolve_key};
use tokio::io::AsyncWriteExt;

use super::check_job::record_in_transaction;
use super::export_request::{ExportRequest, ExportResult, Span};
use super::handler::{JobHandler, JobOutcome, JobRun, ScopeResolver};
use super::job::{Job, JobKind, JobProgress};
use super::lease::{ErrorCode, JobFailure, Retry};
use super::position::{PositionChange, settle};
use super::storage_code::{io_code, storage_code};
use crate::error::ExportError;
use crate::export::Export;
use crate::manifest::Manifest;
use crate::notify::Notification;
use crate::storage::{Storage, StorageError, Storages, attempt_path};

/// Runs export jobs.
pub(crate) struct ExportHandler {
    storages: Storages,
    resolver: Option<Arc<dyn ScopeResolver>>,
}

impl ExportHandler {
    pub(crate) fn new(storages: Storages, resolver: Option<Arc<dyn ScopeResolver>>) -> Self {
        Self { storages, resolver }
    }

    async fn export(&self, job: &Job, run: &JobRun) -> Result<JobOutcome, JobFailure> {
        let request: ExportRequest = serde_json::from_value(job.request.clone())
            .map_err(|_| final_failure("invalid_request", "request"))?;
        let storage = self
            .storages
            .find(&request.storage)
            .map_err(|error| storage_failure(&error, "storage"))?;
        let scope = self.resolve_scope(job).await?;
        let mut conn = run.connection().await?;
        let range = match (request.span, &job.schedule) {
            (Some(Span::SinceLast), Some(schedule)) => {
                Some(settle(&mut conn, schedule, job.created_at, run).await?)
            }
            (Some(Span::SinceLast), None) => {
                return Err(final_failure("span_without_schedule", "request"));
            }
            _ => None,
        };
        let timeline = self.timeline(&mut conn, &request, scope.as_ref()).await?;
        let timeline = match &range {
            Some(range) => range.restrict(&mut conn, timeline).await?,
            None => timeline,
        };
        let export = Export::new(timeline)
            .format(request.format)
            .compression(request.compression)
            .layout(request.layout)
            .action_columns(request.action_columns)
            .order(request.order);
        let upload = Upload {
            storage,
            storage_name: request.storage.clone(),
            job,
            file_name: request.file_name(),
        };
        let manifest = upload.write(&export, &mut conn, run).await?;
        upload.check_delivery(&manifest, run).await?;
        let result = upload.result(&request, &manifest, range.as_ref());
        if let Err(error) = storage.delete_attempts(job.id, job.attempt).await {
            tracing::debug!(target: "threadline", code = %storage_code(&error), "earlier attempts stay until expiry");
        }
        let ready = Notification::ExportReady {
            job_id: job.id,
            rows: result.rows,
            bytes: result.bytes,
        };
        Ok(
            JobOutcome::new(serde_json::to_value(&result).unwrap_or_default())
                .keep(request.keep_days)
                .position(range)
                .notification(ready),
        )
    }

    async fn resolve_scope(&self, job: &Job) -> Result<Option<Scope>, JobFailure> {
        let Some(key) = &job.scope_key else {
            return Ok(None);
        };
        let Some(resolver) = &self.resolver else {
            return Err(final_failure("no_scope_resolver", "scope"));
        };
        match resolver.resolve(job.actor.as_ref(), key).await {
            Ok(scope) => Ok(Some(scope)),
            Err(_) => Err(final_failure("scope_refused", "scope")),
        }
    }

    async fn timeline(
        &self,
        conn: &mut AsyncPgConnection,
        request: &ExportRequest,
        scope: Option<&Scope>,
    ) -> Result<Timeline, JobFailure> {
        let filters = &request.filters;
        let row_key = match (&filters.table, &filters.key) {
            (Some(table), Some(key)) => {
                let resolved = conn
                    .transaction::<_, KeyError, _>(async |conn| resolve_key(conn, table, key).await)
                    .await;
                Some(resolved.map_err(|error| match error {
                    KeyError::Read(ReadError::Database(error)) => {
                        JobFailure::of_database(&error, "filters")
                    }
                    _ => final_failure("invalid_key", "filters"),
                })?)
            }
            _ => None,
        };
        let timeline = filters
            .timeline(row_key.as_ref(), Utc::now(), Tz::UTC, scope)
            .map_err(|_| final_failure("invalid_filters", "filters"))?;
        timeline
            .query()
            .map_err(|_| final_failure("invalid_filters", "filters"))?;
        Ok(timeline)
    }
}

impl JobHandler for ExportHandler {
    fn kind(&self) -> JobKind {
        JobKind::Export
    }

    fn run<'a>(
        &'a self,
        job: &'a Job,
        run: &'a JobRun,
    ) -> BoxFuture<'a, Result<JobOutcome, JobFailure>> {
        self.export(job, run).boxed()
    }

    fn delete_objects<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<(), JobFailure>> {
        async {
            // A request that cannot be parsed wrote nothing.
            let Ok(request) = serde_json::from_value::<ExportRequest>(job.request.clone()) else {
                return Ok(());
            };
            let deleted = match self.storages.find(&request.storage) {
                Ok(storage) => storage.delete_attempts(job.id, job.attempt + 1).await,
                Err(error) => Err(error),
            };
            deleted.map_err(|error| storage_failure(&error, "delete"))
        }
        .boxed()
    }
}

/// The upload of an attempt.
struct Upload<'a> {
    storage: &'a Storage,
    storage_name: String,
    job: &'a Job,
    file_name: String,
}

impl Upload<'_> {
    fn object(&self) -> object_store::path::Path {
        attempt_path(self.job.id, self.job.attempt).join(self.file_name.as_str())
    }

    fn manifest(&self) -> object_store::path::Path {
        let name = format!("{}.manifest.json", self.file_name);
        attempt_path(self.job.id, self.job.attempt).join(name)
    }

    async fn write(
        &self,
        export: &Export,
        conn: &mut AsyncPgConnection,
        run: &JobRun,
    ) -> Result<Manifest, JobFailure> {
        let mut writer = self.storage.writer(&self.object());
        let progress = |done: crate::Progress| {
            run.report(JobProgress {
                rows: done.rows,
                bytes: 0,
            });
        };
        let written = tokio::select! {
            written = export.write_to_async(conn, &mut writer, progress) => {
                written.map_err(|error| export_failure(&error))
            }
            () = run.stopped() => Err(stopped()),
        };
        let manifest = match written {
            Ok(manifest) => manifest,
            Err(failure) => {
                // Aborts an upload in parts. Its error would hide the first one.
                let _: object_store::Result<()> = writer.abort().await;
                return Err(failure);
            }
        };
        tokio::select! {
            done = writer.shutdown() => {
                done.map_err(|error| JobFailure::new(io_code(&error), "upload", Retry::Later))?;
            }
            () = run.stopped() => return Err(stopped()),
        }
        run.report(JobProgress {
            rows: manifest.summary.row_count,
            bytes: manifest.bytes,
        });
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|_| final_failure("invalid_manifest", "manifest"))?;
        self.storage
            .put(&self.manifest(), text)
            .await
            .map_err(|error| storage_failure(&error, "manifest"))?;
        Ok(manifest)
    }

    /// Reads the stored file back, compares it with the manifest, and records the result as evidence. Evidence
    /// that cannot be recorded is logged: the migration or a privilege may be missing.
    async fn check_delivery(&self, manifest: &Manifest, run: &JobRun) -> Result<(), JobFailure> {
        let object = self.object();
        let read = tokio::select! {
            read = self.storage.read_digest(&object) => {
                read.map_err(|error| storage_failure(&error, "verify"))?
            }
            () = run.stopped() => return Err(stopped()),
        };
        let is_equal = read == (manifest.bytes, manifest.sha256.clone());
        let outcome = if is_equal {
            Outcome::Pass
        } else {
            Outcome::Fail
        };
        let result = CheckResult::new(EvidenceSubject::ExportDelivery, "export_delivery", outcome)
            .subject_ref("storage", self.storage_name.as_str())
            .detail("job", self.job.id.to_string())
            .detail("attempt", self.job.attempt)
            .detail("object", object.to_string())
            .detail("rows", manifest.summary.row_count)
            .detail("bytes", manifest.bytes)
            .detail("sha256", manifest.sha256.as_str())
            .observed(manifest.summary.generated_at, Utc::now());
        let mut conn = run.connection().await?;
        if let Err(error) = record_in_transaction(&mut conn, &result).await {
            telemetry::worker_failed(error.kind());
        }
        if is_equal {
            Ok(())
        } else {
            Err(JobFailure::new(
                ErrorCode::new("bytes_differ"),
                "verify",
                Retry::Later,
            ))
        }
    }

    fn result(
        &self,
        request: &ExportRequest,
        manifest: &Manifest,
        range: Option<&PositionChange>,
    ) -> ExportResult {
        ExportResult {
            storage: request.storage.clone(),
            object: self.object().to_string(),
            manifest: self.manifest().to_string(),
            rows: manifest.summary.row_count,
            bytes: manifest.bytes,
            sha256: manifest.sha256.clone(),
            after_id: range.map(PositionChange::after_id),
            to_id: range.map(PositionChange::to_id),
        }
    }
}

fn stopped() -> JobFailure {
    JobFailure::new(ErrorCode::new("stopped"), "upload", Retry::Later)
}

fn final_failure(code: &'static str, place: &'static str) -> JobFailure {
    JobFailure::new(ErrorCode::new(code), place, Retry::Never)
}

fn storage_failure(error: &StorageError, place: &'static str) -> JobFailure {
    JobFailure::new(storage_code(error), place, Retry::Later)
}

fn export_failure(error: &ExportError) -> JobFailure {
    match error {
        ExportError::Database(error) => JobFailure::of_database(error, "read"),
        ExportError::Write(error) => JobFailure::new(io_code(error), "upload", Retry::Later),
        _ => final_failure("invalid_request", "format"),
    }
}
