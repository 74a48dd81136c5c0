//! The form that queues a background export.

use axum::http::StatusCode;
use maud::html;
use threadline_core::action;
use threadline_core::context::ContextId;
use threadline_export::jobs::{self, Job};
use uuid::Uuid;

use super::form::{FIELDS, FileChoice, export_filters};
use crate::access::Capability;
use crate::download::file_stem;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::question::{ChangeFilters, FieldError, Parameters};
use crate::request::{GrantedRequest, PageContext};
use crate::screens::download::reject_unknown_table;
use crate::self_audit::{self, recorded_filters};
use crate::view::filter_words::filter_fields;

/// A filled form.
struct QueueForm {
    filters: ChangeFilters,
    file: FileChoice,
    /// Two requests with one key are one job, so that a form that is sent twice queues one export.
    once: Option<ContextId>,
}

/// The form, with the filters of the address.
pub(crate) async fn show_form(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    check_grant(request)?;
    let mut parameters = request.parameters();
    let form = QueueForm::take(&mut parameters, request);
    parameters.finish()?;
    // Rejects a key that the table does not have.
    context.timeline(&form.filters).await?;
    reject_unknown_table(context, &form.filters).await?;
    Ok(page(request, &form, &[]).into())
}

/// Queues the export of the form.
pub(crate) async fn enqueue(request: &GrantedRequest) -> Result<Screen, PageError> {
    check_grant(request)?;
    let mut parameters = request.form_parameters();
    let form = QueueForm::take(&mut parameters, request);
    match parameters.finish() {
        Err(PageError::Invalid(errors))
            if errors
                .iter()
                .all(|one| FIELDS.contains(&one.field.as_str())) =>
        {
            let page = page(request, &form, &errors);
            return Ok(page.status(StatusCode::UNPROCESSABLE_ENTITY).into());
        }
        other => other?,
    }
    let mut export = form.file.export_request(form.filters.document());
    export.file_name = file_stem(&form.filters).parse().ok();
    let job = export.new_job(request.now, request.zone())?;
    let mut job = job.actor(request.job_owner()?.clone());
    if let Some(key) = request.job_scope_key()? {
        job = job.scope_key(key);
    }
    if let Some(once) = form.once {
        job = job.idempotency_key(once);
    }
    let mut connection = request.writer().await?;
    let job = jobs::enqueue(&mut connection, &job).await?;
    drop(connection);
    let action = action!("console.export")
        .meta("mode", "background")
        .meta("job", job.id.to_string())
        .meta("format", form.file.format.as_str())
        .meta("scoped", request.scope().is_some())
        .meta("filters", recorded_filters(&form.filters));
    self_audit::record_request(request, "exports", action).await;
    Ok(Screen::Redirect(request.href("/exports")))
}

/// Records that an existing export was queued again.
pub(crate) async fn record_queued(request: &GrantedRequest, job: &Job) {
    let action = action!("console.export")
        .meta("mode", "background")
        .meta("job", job.id.to_string())
        .meta("scoped", request.scope().is_some());
    self_audit::record_request(request, "exports", action).await;
}

/// Refuses a grant that cannot queue exports, before it fills a form.
pub(crate) fn check_grant(request: &GrantedRequest) -> Result<(), PageError> {
    // A file has the stored values.
    if !request.allows(Capability::Values) {
        return Err(PageError::Forbidden(Capability::Values));
    }
    request.job_owner()?;
    request.job_scope_key()?;
    Ok(())
}

/// The owner and the scope of a job on the command line.
pub(crate) fn owner_arguments(request: &GrantedRequest) -> Vec<String> {
    let mut arguments = Vec::new();
    if let Ok(owner) = request.job_owner() {
        arguments.extend(["--owner".to_owned(), owner.to_string()]);
    }
    if let Ok(Some(key)) = request.job_scope_key() {
        arguments.extend(["--scope-key".to_owned(), key.to_owned()]);
    }
    arguments
}

impl QueueForm {
    /// Takes the form out of parameters, with a window that does not depend on the time of the request.
    fn take(parameters: &mut Parameters, request: &GrantedRequest) -> Self {
        let once = parameters.value("once");
        let file = FileChoice::take(parameters, request);
        let filters = ChangeFilters::take(parameters, request.now, request.zone()).fixed();
        Self {
            filters,
            file,
            once,
        }
    }

    fn terminal(&self, request: &GrantedRequest) -> Terminal {
        let mut arguments = vec!["export".to_owned(), "--background".to_owned()];
        arguments.extend(["--name".to_owned(), file_stem(&self.filters)]);
        arguments.extend(self.filters.arguments());
        arguments.extend(self.file.arguments());
        arguments.extend(owner_arguments(request));
        Terminal::command(arguments)
    }
}

fn page(request: &GrantedRequest, form: &QueueForm, errors: &[FieldError]) -> Page {
    let schedule = request
        .href("/exports/schedules/new")
        .with_all(form.filters.fields.pairs());
    let once = form
        .once
        .as_ref()
        .map_or_else(|| Uuid::new_v4().to_string(), ToString::to_string);
    let body = html! {
        (export_filters(&form.filters))
        form.stack method="post" action=(request.href("/exports")) {
            (filter_fields(&form.filters.pairs()))
            input type="hidden" name="once" value=(once);
            (form.file.fields(request, errors))
            button.primary type="submit" { "Queue the export" }
        }
        p.note {
            "A worker of the application writes the file: all of these changes or none, of any number. "
            a href=(schedule) { "Export them regularly" }
        }
    };
    Page::new("Queue an export", body).terminal(form.terminal(request))
}
