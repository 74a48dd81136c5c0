//! Runs, pauses, resumes and removes schedules.

use threadline_export::schedules::{self, ScheduleName};

use crate::connections::Connection;
use crate::href::Href;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::GrantedRequest;
use crate::screens::exports::{check_grant, record_queued};
use crate::view::states::field_required;

/// Queues the export of a schedule now.
pub(crate) async fn run(request: &GrantedRequest) -> Result<Screen, PageError> {
    check_grant(request)?;
    let (mut connection, name) = own_schedule(request).await?;
    let job = schedules::run_now(&mut connection, &name).await?;
    drop(connection);
    record_queued(request, &job).await;
    Ok(Screen::Redirect(request.href("/exports")))
}

/// Pauses a schedule.
pub(crate) async fn pause(request: &GrantedRequest) -> Result<Screen, PageError> {
    let (mut connection, name) = own_schedule(request).await?;
    schedules::pause(&mut connection, &name).await?;
    Ok(Screen::Redirect(list(request)))
}

/// Resumes a schedule, from its next time.
pub(crate) async fn resume(request: &GrantedRequest) -> Result<Screen, PageError> {
    let (mut connection, name) = own_schedule(request).await?;
    schedules::resume(&mut connection, &name).await?;
    Ok(Screen::Redirect(list(request)))
}

/// Removes a schedule. Its jobs and files stay.
pub(crate) async fn remove(request: &GrantedRequest) -> Result<Screen, PageError> {
    let (mut connection, name) = own_schedule(request).await?;
    schedules::remove(&mut connection, &name).await?;
    Ok(Screen::Redirect(list(request)))
}

fn list(request: &GrantedRequest) -> Href {
    request.href("/exports/schedules")
}

/// The schedule of the form, if the grant includes it, with a connection that may change it.
async fn own_schedule(request: &GrantedRequest) -> Result<(Connection, ScheduleName), PageError> {
    let mut form = request.form_parameters();
    let name = form.value::<ScheduleName>("name");
    form.finish()?;
    let name = name.ok_or_else(|| field_required("name", "write the name of a schedule"))?;
    let mut connection = request.writer().await?;
    let found = schedules::find(&mut connection, &name).await?;
    if found.is_some_and(|one| request.owns_schedule(&one)) {
        Ok((connection, name))
    } else {
        Err(PageError::NotFound)
    }
}
