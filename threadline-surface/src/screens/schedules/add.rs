//! The form that adds a schedule.

use axum::http::StatusCode;
use chrono_tz::Tz;
use maud::{Markup, html};
use threadline_core::action;
use threadline_core::instant::parse_zone;
use threadline_export::jobs::Span;
use threadline_export::schedules::{self, Cron, NewSchedule, ScheduleError, ScheduleName};

use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::question::{ChangeFilters, FieldError, Parameters};
use crate::request::{GrantedRequest, PageContext};
use crate::screens::download::reject_unknown_table;
use crate::screens::exports::form::{FIELDS, FileChoice, export_filters};
use crate::screens::exports::{check_grant, owner_arguments};
use crate::self_audit::{self, recorded_filters};
use crate::view::filter_words::filter_fields;
use crate::view::form::{Choice, Field, field, select};

const SPANS: [(&str, &str, Span); 2] = [
    (
        "previous_period",
        "since the previous time of the schedule",
        Span::PreviousPeriod,
    ),
    (
        "since_last",
        "that earlier files do not have",
        Span::SinceLast,
    ),
];

/// A filled form.
struct ScheduleForm {
    filters: ChangeFilters,
    file: FileChoice,
    name: Option<ScheduleName>,
    cron: Option<Cron>,
    zone: Tz,
    span: Span,
}

/// The form, with the filters of the address.
pub(crate) async fn show_form(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    check_grant(request)?;
    let mut parameters = request.parameters();
    let form = ScheduleForm::take(&mut parameters, request);
    parameters.finish()?;
    // Rejects a key that the table does not have.
    context.timeline(&form.filters).await?;
    reject_unknown_table(context, &form.filters).await?;
    Ok(page(request, &form, &[]).into())
}

/// Adds the schedule of the form.
pub(crate) async fn add(request: &GrantedRequest) -> Result<Screen, PageError> {
    check_grant(request)?;
    let mut parameters = request.form_parameters();
    let form = ScheduleForm::take(&mut parameters, request);
    for (field, is_missing) in [("name", form.name.is_none()), ("cron", form.cron.is_none())] {
        if is_missing && !parameters.has_error(field) {
            parameters.reject(field, "", "write one");
        }
    }
    let errors = match parameters.finish() {
        Err(PageError::Invalid(errors)) => errors,
        other => {
            other?;
            match store(request, &form).await? {
                None => return Ok(Screen::Redirect(request.href("/exports/schedules"))),
                Some(error) => vec![error],
            }
        }
    };
    let is_of_form = |error: &FieldError| {
        let field = error.field.as_str();
        FIELDS.contains(&field) || ["name", "cron", "zone", "span"].contains(&field)
    };
    if !errors.iter().all(is_of_form) {
        return Err(PageError::Invalid(errors));
    }
    let page = page(request, &form, &errors);
    Ok(page.status(StatusCode::UNPROCESSABLE_ENTITY).into())
}

/// Stores a schedule. Returns an error that the form shows at its field.
async fn store(
    request: &GrantedRequest,
    form: &ScheduleForm,
) -> Result<Option<FieldError>, PageError> {
    let (Some(name), Some(cron)) = (&form.name, &form.cron) else {
        return Err(PageError::Internal("schedule"));
    };
    let mut export = form.file.export_request(form.filters.document());
    export.span = Some(form.span);
    export.file_name = name.as_str().parse().ok();
    let mut schedule = NewSchedule::export(name.clone(), cron.clone(), form.zone, &export)
        .actor(request.job_owner()?.clone());
    if let Some(key) = request.job_scope_key()? {
        schedule = schedule.scope_key(key);
    }
    let mut connection = request.writer().await?;
    let added = schedules::add(&mut connection, &schedule).await;
    drop(connection);
    let (field, value, error) = match added {
        Err(error @ ScheduleError::Exists(_)) => ("name", name.to_string(), error),
        Err(error @ ScheduleError::Cron(_)) => ("cron", cron.to_string(), error),
        Err(error) => return Err(error.into()),
        Ok(_) => {
            let action = action!("console.export")
                .meta("mode", "schedule")
                .meta("schedule", name.as_str())
                .meta("cron", cron.as_str())
                .meta("format", form.file.format.as_str())
                .meta("scoped", request.scope().is_some())
                .meta("filters", recorded_filters(&form.filters));
            self_audit::record_request(request, "schedules", action).await;
            return Ok(None);
        }
    };
    Ok(Some(FieldError {
        field: field.to_owned(),
        value,
        message: error.to_string(),
    }))
}

impl ScheduleForm {
    /// Takes the form out of parameters.
    fn take(parameters: &mut Parameters, request: &GrantedRequest) -> Self {
        let span = parameters.parsed("span", |text| {
            let found = SPANS.iter().find(|(name, ..)| *name == text);
            let span = found.map(|(.., span)| *span);
            span.ok_or_else(|| "choose one of the list".to_owned())
        });
        let zone = parameters.parsed("zone", |text| {
            parse_zone(text).map_err(|error| error.to_string())
        });
        let name = parameters.value("name");
        let cron = parameters.value("cron");
        let file = FileChoice::take(parameters, request);
        for end in ["from", "to"] {
            if parameters.has(end) {
                parameters.reject(end, "", "a schedule sets the window of its files");
            }
        }
        Self {
            filters: ChangeFilters::take(parameters, request.now, request.zone()),
            file,
            name,
            cron,
            zone: zone.unwrap_or(request.zone()),
            span: span.unwrap_or_default(),
        }
    }

    fn fields(&self, request: &GrantedRequest, errors: &[FieldError]) -> Markup {
        let name = self.name.as_ref().map(ToString::to_string);
        let name = Field::new("name", "Name")
            .value(name.as_deref().unwrap_or_default())
            .hint("lower-case letters, digits, - and _")
            .errors(errors);
        let cron = Field::new("cron", "When (cron)")
            .value(self.cron.as_ref().map_or("", Cron::as_str))
            .hint("0 6 * * MON: on Mondays at 6:00. Minute, hour, day of month, month, day of week")
            .errors(errors);
        let zone = Field::new("zone", "Time zone")
            .value(self.zone.name())
            .errors(errors);
        let spans = SPANS
            .iter()
            .map(|(name, label, span)| Choice::new(name, *span == self.span).label(label));
        html! {
            (field(&name))
            (field(&cron))
            (field(&zone))
            (select("span", "Changes of each file", spans))
            (self.file.fields(request, errors))
        }
    }

    fn terminal(&self, request: &GrantedRequest) -> Terminal {
        let name = self.name.as_ref().map_or("NAME", ScheduleName::as_str);
        let cron = self.cron.as_ref().map_or("0 6 * * MON", Cron::as_str);
        let span = SPANS.iter().find(|(.., span)| *span == self.span);
        let span = span.map_or("previous-period", |(name, ..)| *name);
        let span = span.replace('_', "-");
        let zone = self.zone.name();
        let mut arguments = [
            "schedule", "add", name, cron, "--tz", zone, "--span", &span, "--name", name,
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(self.filters.arguments());
        arguments.extend(self.file.arguments());
        arguments.extend(owner_arguments(request));
        Terminal::command(arguments)
    }
}

fn page(request: &GrantedRequest, form: &ScheduleForm, errors: &[FieldError]) -> Page {
    let body = html! {
        (export_filters(&form.filters))
        form.stack method="post" action=(request.href("/exports/schedules")) {
            (filter_fields(&form.filters.pairs()))
            (form.fields(request, errors))
            button.primary type="submit" { "Add the schedule" }
        }
        p.note { "To export other changes, filter the timeline first and choose Download, In the background." }
    };
    Page::new("Add a schedule", body).terminal(form.terminal(request))
}
