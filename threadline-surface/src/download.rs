//! Downloads: exports that are streamed to the browser.
//!
//! The body ends without an error only if the export is complete, so that a browser never takes a part of a
//! file for the whole.

mod block_writer;
mod file;

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Response};
use futures_channel::mpsc;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::Value;
use threadline_core::action;
use threadline_core::action::{Action, ActionStatus};
use threadline_core::actor::ActorRef;
use threadline_core::telemetry::console_export;
use threadline_export::{Export, Manifest};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use self::block_writer::BlockWriter;
#[cfg(feature = "background")]
pub(crate) use self::file::file_stem;
pub(crate) use self::file::{FileFormat, GZIP, file_name};
use crate::connections::Connection;
use crate::page::Attachment;
use crate::page_error::PageError;
use crate::request::GrantedRequest;
use crate::self_audit;
use crate::settings::Settings;

/// The number of blocks that are sent ahead of the client.
const QUEUED_BLOCKS: usize = 4;

const EXPORT_ID: HeaderName = HeaderName::from_static("x-threadline-export");

/// A file that a request asks for.
pub(crate) struct Download {
    pub(crate) export: Export,
    pub(crate) format: FileFormat,
    pub(crate) content_type: &'static str,
    pub(crate) file_name: String,
    /// The filters, as they are recorded.
    pub(crate) filters: Value,
}

/// The response of a download. Without a body nothing is exported.
pub(crate) async fn respond(
    request: &GrantedRequest,
    download: Download,
) -> Result<Response<Body>, PageError> {
    let id = Uuid::new_v4();
    let mut response = attachment(Attachment {
        file_name: download.file_name.clone(),
        content_type: download.content_type,
        body: Body::empty(),
    })?;
    let export = HeaderValue::from_str(&id.to_string());
    let export = export.map_err(|_| PageError::Internal("export id"))?;
    response.headers_mut().insert(EXPORT_ID, export);
    if request.wants_body() {
        *response.body_mut() = start(request, download, id).await?;
    }
    Ok(response)
}

/// The response of a file to save. Browsers neither run nor show it.
pub(crate) fn attachment(file: Attachment) -> Result<Response<Body>, PageError> {
    let mut response = Response::new(file.body);
    let disposition = format!("attachment; filename=\"{}\"", file.file_name);
    for (name, value) in [
        (CONTENT_TYPE, file.content_type),
        (CONTENT_DISPOSITION, &disposition),
        (CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
    ] {
        let value = HeaderValue::from_str(value).map_err(|_| PageError::Internal("file name"))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// Starts an export and waits for its first bytes, so that an error before them has a page.
async fn start(request: &GrantedRequest, download: Download, id: Uuid) -> Result<Body, PageError> {
    let settings = &request.settings;
    let permit = Arc::clone(&settings.downloads)
        .try_acquire_owned()
        .map_err(|_| PageError::Busy)?;
    let connection = settings.reader().await?;
    let (sender, mut blocks) = mpsc::channel(QUEUED_BLOCKS);
    let is_complete = Arc::new(AtomicBool::new(false));
    let running = RunningExport {
        settings: Arc::clone(settings),
        actor: request.actor.clone(),
        is_scoped: request.scope().is_some(),
        download,
        id,
        connection,
        _permit: permit,
    };
    let writer = BlockWriter::new(sender, settings.limits.request);
    tokio::spawn(running.run(writer, Arc::clone(&is_complete)));
    let first = blocks.next().await;
    if first.is_none() && !is_complete.load(Ordering::Acquire) {
        return Err(PageError::Unavailable("export"));
    }
    let end = stream::once(async move {
        let is_complete = is_complete.load(Ordering::Acquire);
        (!is_complete).then(|| Err(io::Error::other("the export is incomplete")))
    });
    let blocks = stream::iter(first)
        .chain(blocks)
        .map(Ok::<Bytes, io::Error>);
    let end = end.filter_map(|error| async move { error });
    Ok(Body::from_stream(blocks.chain(end.boxed())))
}

/// An export in a task of its own.
struct RunningExport {
    settings: Arc<Settings>,
    actor: Option<ActorRef>,
    is_scoped: bool,
    download: Download,
    id: Uuid,
    connection: Connection,
    /// Held until the export ends.
    _permit: OwnedSemaphorePermit,
}

/// How an export ended.
struct Outcome {
    name: &'static str,
    rows: u64,
    bytes: u64,
    sha256: Option<String>,
}

impl RunningExport {
    /// Exports, records the export, and ends the body by dropping the writer.
    async fn run(mut self, mut writer: BlockWriter, is_complete: Arc<AtomicBool>) {
        let rows = AtomicU64::new(0);
        let export =
            self.download
                .export
                .write_to_async(&mut self.connection, &mut writer, |progress| {
                    rows.store(progress.rows, Ordering::Relaxed);
                });
        let limit = self.settings.limits.download;
        let written = AssertUnwindSafe(tokio::time::timeout(limit, export))
            .catch_unwind()
            .await;
        let rows = rows.load(Ordering::Relaxed);
        let failed = |name| Outcome {
            name,
            rows,
            bytes: writer.sent_bytes(),
            sha256: None,
        };
        let outcome = match written {
            Ok(Ok(Ok(manifest))) if !manifest.summary.cut => Outcome::complete(manifest),
            Ok(Ok(Err(error))) if error.is_closed_pipe() => failed("aborted"),
            // More changes than the limit since they were counted, no end in time, an error, or a panic.
            _ => failed("failed"),
        };
        console_export(
            self.download.format.as_str(),
            outcome.name,
            outcome.rows,
            outcome.bytes,
        );
        let action = self.action(&outcome);
        self_audit::record(&self.settings, self.actor.as_ref(), "download", action).await;
        is_complete.store(outcome.sha256.is_some(), Ordering::Release);
    }

    /// The action that records the export: what left the trail, also if the client went away.
    fn action(&self, outcome: &Outcome) -> Action {
        let action = action!("console.export")
            .meta("export", self.id.to_string())
            .meta("format", self.download.format.as_str())
            .meta("rows", outcome.rows)
            .meta("bytes", outcome.bytes)
            .meta("scoped", self.is_scoped)
            .meta("filters", self.download.filters.clone());
        match &outcome.sha256 {
            Some(digest) => action.meta("sha256", digest.clone()),
            None => action.status(ActionStatus::Error).reason(outcome.name),
        }
    }
}

impl Outcome {
    fn complete(manifest: Manifest) -> Self {
        Self {
            name: "complete",
            rows: manifest.summary.row_count,
            bytes: manifest.bytes,
            sha256: Some(manifest.sha256),
        }
    }
}
