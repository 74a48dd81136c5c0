//! Cancels jobs and queues them again.

use threadline_export::jobs;
use uuid::Uuid;

use super::{check_grant, record_queued};
use crate::background::find_job;
use crate::connections::Connection;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::GrantedRequest;
use crate::view::states::field_required;

/// Cancels a job of the operator.
pub(crate) async fn cancel(request: &GrantedRequest) -> Result<Screen, PageError> {
    let (mut connection, id) = own_job(request).await?;
    jobs::cancel(&mut **connection, id).await?;
    Ok(Screen::Redirect(request.href("/exports")))
}

/// Queues a failed or cancelled job of the operator again.
pub(crate) async fn retry(request: &GrantedRequest) -> Result<Screen, PageError> {
    check_grant(request)?;
    let (mut connection, id) = own_job(request).await?;
    let job = jobs::retry(&mut connection, id).await?;
    drop(connection);
    record_queued(request, &job).await;
    Ok(Screen::Redirect(request.href("/exports")))
}

/// The job of the form, if the grant includes it, with a connection that may change it.
async fn own_job(request: &GrantedRequest) -> Result<(Connection, Uuid), PageError> {
    let mut form = request.form_parameters();
    let id = form.value::<Uuid>("id");
    form.finish()?;
    let id = id.ok_or_else(|| field_required("id", "write the id of an export"))?;
    let mut connection = request.writer().await?;
    find_job(request, &mut connection, id).await?;
    Ok((connection, id))
}
