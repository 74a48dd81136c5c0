//! Downloads of the files of export jobs.

#[cfg(feature = "cloud")]
use std::time::Duration;

use chrono::Utc;
use diesel::pg::Pg;
use diesel_async::AsyncConnection;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use threadline_core::actor::ActorRef;
use uuid::Uuid;

use super::calls::find;
use super::error::JobError;
use super::export_request::ExportResult;
use super::job::{JobKind, JobState};
use crate::storage::{StorageError, Storages};

/// How long a signed URL is valid at most.
#[cfg(feature = "cloud")]
const MAX_URL_TIME: Duration = Duration::from_secs(10 * 60);

/// A file to download.
#[derive(Debug)]
#[non_exhaustive]
pub struct Download {
    /// The name of the file: letters, digits, `_`, `-` and `.`.
    pub file_name: String,
    /// The size in bytes.
    pub bytes: u64,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The content.
    pub content: Content,
}

/// The content of a file to download.
#[non_exhaustive]
pub enum Content {
    /// The bytes, as a stream.
    Stream(BoxStream<'static, Result<bytes::Bytes, StorageError>>),
    /// A URL from which anyone can download the file for ten minutes at most.
    SignedUrl(String),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::SignedUrl(_) => "SignedUrl",
        })
    }
}

/// The error of a download.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// There is no export job with this id that the actor requested.
    #[error("there is no export job {0} of this actor")]
    NotFound(Uuid),
    /// The job is not completed.
    #[error("job {id} is {state}: only completed exports have a file")]
    NotReady {
        /// The job.
        id: Uuid,
        /// Its state.
        state: JobState,
    },
    /// The file is no longer kept.
    #[error("the file of job {0} has expired: request the export again")]
    Expired(Uuid),
    /// The result of the job is not that of an export.
    #[error("the result of job {0} cannot be read: it was written by another version")]
    UnknownResult(Uuid),
    /// The storage reported an error.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The database reported an error.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// Opens the file of an export job for the actor that requested it.
///
/// `actor` is none for jobs without an actor. For another actor the job is not found. The function reads the
/// job in one statement and does not use the connection afterwards.
///
/// ```no_run
/// # async fn example(
/// #     conn: &mut diesel_async::AsyncPgConnection,
/// #     id: uuid::Uuid,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_export::jobs::{self, Content};
/// use threadline_export::storage::Storages;
///
/// let storages = Storages::local("/var/lib/app/exports")?;
/// let rita = "admin:rita".parse()?;
/// match jobs::download(conn, &storages, id, Some(&rita)).await?.content {
///     Content::Stream(bytes) => { /* the body of the response */ }
///     Content::SignedUrl(url) => { /* a redirect */ }
///     _ => {}
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`DownloadError`].
pub async fn download<C>(
    conn: &mut C,
    storages: &Storages,
    id: Uuid,
    actor: Option<&ActorRef>,
) -> Result<Download, DownloadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let job = find(conn, id)
        .await?
        .filter(|job| job.kind == JobKind::Export && job.actor.as_ref() == actor)
        .ok_or(DownloadError::NotFound(id))?;
    let now = Utc::now();
    match (job.state, job.expires_at) {
        (JobState::Completed, Some(expires_at)) if expires_at > now => {}
        (JobState::Completed | JobState::Expired, _) => return Err(DownloadError::Expired(id)),
        (state, _) => return Err(DownloadError::NotReady { id, state }),
    }
    let result: ExportResult = serde_json::from_value(job.result.unwrap_or_default())
        .map_err(|_| DownloadError::UnknownResult(id))?;
    let object = Path::from(result.object.as_str());
    let storage = storages.find(&result.storage)?;
    #[cfg(feature = "cloud")]
    let signed = {
        let rest = job
            .expires_at
            .map_or(chrono::TimeDelta::zero(), |expires_at| expires_at - now)
            .to_std()
            .unwrap_or_default();
        storage.signed_url(&object, rest.min(MAX_URL_TIME)).await?
    };
    #[cfg(not(feature = "cloud"))]
    let signed = None;
    let content = match signed {
        Some(url) => Content::SignedUrl(url),
        None => Content::Stream(
            storage
                .get(&object)
                .await?
                .into_stream()
                .map_err(StorageError::from)
                .boxed(),
        ),
    };
    Ok(Download {
        file_name: object.filename().unwrap_or("changes").to_owned(),
        bytes: result.bytes,
        sha256: result.sha256,
        content,
    })
}
