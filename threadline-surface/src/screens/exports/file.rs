//! The file of a completed job.

use std::io;

use axum::body::Body;
use axum::http::StatusCode;
use futures_util::TryStreamExt;
use threadline_core::action;
use threadline_export::jobs::{self, Content, DownloadError};
use uuid::Uuid;

use crate::access::Capability;
use crate::background::find_job;
use crate::download::{FileFormat, GZIP};
use crate::href::Href;
use crate::page::{Attachment, Screen};
use crate::page_error::PageError;
use crate::request::GrantedRequest;
use crate::self_audit;
use crate::view::states::field_required;

impl From<DownloadError> for PageError {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::NotFound(_) => Self::NotFound,
            DownloadError::NotReady { .. } => {
                Self::refused(StatusCode::CONFLICT, "Not ready", error)
            }
            DownloadError::Expired(_) => Self::refused(StatusCode::GONE, "Expired", error),
            DownloadError::Storage(_) => Self::Unavailable("storage"),
            DownloadError::Job(error) => error.into(),
            _ => Self::Internal("export result"),
        }
    }
}

pub(crate) async fn show(request: &GrantedRequest) -> Result<Screen, PageError> {
    // A file has the stored values.
    if !request.allows(Capability::Values) {
        return Err(PageError::Forbidden(Capability::Values));
    }
    let mut parameters = request.parameters();
    let id = parameters.value::<Uuid>("id");
    parameters.finish()?;
    let id = id.ok_or_else(|| field_required("id", "write the id of an export"))?;
    let Some(storages) = &request.settings.background else {
        return Err(PageError::Forbidden(Capability::Background));
    };
    let mut connection = request.settings.reader().await?;
    let job = find_job(request, &mut connection, id).await?;
    let file = jobs::download(&mut **connection, storages, id, job.actor.as_ref()).await?;
    drop(connection);
    let action = action!("console.export")
        .meta("mode", "file")
        .meta("job", id.to_string())
        .meta("bytes", file.bytes)
        .meta("sha256", file.sha256)
        .meta("scoped", request.scope().is_some());
    self_audit::record_request(request, "export_file", action).await;
    match file.content {
        // A signed URL is the file: HEAD does not get it.
        _ if !request.wants_body() => Ok(attachment(file.file_name, Body::empty())),
        Content::SignedUrl(url) => Href::of_host(&url)
            .map(Screen::Redirect)
            .ok_or(PageError::Internal("signed url")),
        Content::Stream(bytes) => Ok(attachment(
            file.file_name,
            Body::from_stream(bytes.map_err(io::Error::other)),
        )),
        _ => Err(PageError::Internal("content")),
    }
}

fn attachment(file_name: String, body: Body) -> Screen {
    Screen::File(Attachment {
        content_type: content_type(&file_name),
        file_name,
        body,
    })
}

fn content_type(file_name: &str) -> &'static str {
    let (_, extension) = file_name.rsplit_once('.').unwrap_or_default();
    let format = FileFormat::ALL.iter().find(|one| one.as_str() == extension);
    match format {
        _ if extension == "gz" => GZIP,
        Some(format) => format.content_type(),
        None => "application/octet-stream",
    }
}
