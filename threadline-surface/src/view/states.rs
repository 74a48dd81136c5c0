//! Pages without an answer, and empty lists: what is the case, and what to do next.

use axum::http::StatusCode;
use maud::{Markup, html};
use threadline_diesel::query::EmptyReason;

use super::form::{Field, form};
use super::number::count_of;
use super::too_broad::too_broad_page;
use crate::access::Capability;
use crate::href::Href;
use crate::page::Page;
use crate::page_error::PageError;
use crate::question::FieldError;
use crate::request::GrantedRequest;
use crate::request_rate::WINDOW;

/// The error for a parameter that a page needs.
pub(crate) fn field_required(field: &'static str, message: &str) -> PageError {
    PageError::Invalid(vec![FieldError {
        field: field.to_owned(),
        value: String::new(),
        message: message.to_owned(),
    }])
}

/// A list without entries: why, and what to do next.
pub(crate) fn empty_state(title: &str, advice: &Markup) -> Markup {
    html! { div.empty { p.strong { (title) } (advice) } }
}

/// The page of an error.
pub(crate) fn error_page(
    request: &GrantedRequest,
    error: &PageError,
    reference: Option<&str>,
) -> Page {
    match error {
        PageError::Invalid(errors) => invalid_page(request, errors),
        PageError::NotFound => {
            let advice = html! { p { "This page or record does not exist, or your grant does not include it." } };
            error_of("Not found", StatusCode::NOT_FOUND, &advice)
        }
        PageError::Forbidden(capability) => forbidden_page(*capability),
        PageError::Unscoped => {
            let advice = html! { p { "Your scope does not define which of these records are visible. Ask an administrator of the application." } };
            error_of(
                "Not available in your scope",
                StatusCode::FORBIDDEN,
                &advice,
            )
        }
        PageError::ForeignCursor => {
            let advice = html! {
                p { "The cursor in this address belongs to a list with other filters." }
                p { a href=(request.first_page()) { "Start of the list" } }
            };
            error_of(
                "This page belongs to another list",
                StatusCode::BAD_REQUEST,
                &advice,
            )
        }
        PageError::TooBroad => too_broad_page(request),
        PageError::TooLarge(command) => {
            let advice = html! {
                p { "The file would have more changes than a download may have. This command has no limit:" }
                pre { code { (command) } }
                @if let Some(form) = request.screen("export_form") {
                    p { a.button href=(queue_address(request, form)) { "Export in the background" } }
                }
            };
            error_of("Too large", StatusCode::UNPROCESSABLE_ENTITY, &advice)
        }
        PageError::Refused {
            status,
            title,
            advice,
        } => error_of(title, *status, &html! { p { bdi { (advice) } } }),
        PageError::TooLong(status) => error_of(
            "Too long",
            *status,
            &html! { p { "The form has too much text." } },
        ),
        PageError::Busy => {
            let advice = html! {
                p { "Other downloads, or searches in stored values, are running. Try again when they have ended." }
            };
            error_of("Too many requests", StatusCode::TOO_MANY_REQUESTS, &advice)
        }
        PageError::TooManyRequests { seconds } => {
            let advice = html! {
                p {
                    "You sent more than " (request.settings.limits.requests) " requests in "
                    (count_of(WINDOW.as_secs(), "second")) ". Try again in "
                    (count_of(*seconds, "second")) "."
                }
            };
            error_of("Too many requests", StatusCode::TOO_MANY_REQUESTS, &advice)
        }
        PageError::Unavailable(_) => {
            let advice = html! {
                p { "The database does not answer. Try again in a few seconds." }
                (reference_note(reference))
            };
            error_of(
                "Not available now",
                StatusCode::SERVICE_UNAVAILABLE,
                &advice,
            )
        }
        PageError::Internal(_) => {
            let advice = html! {
                p { "The console could not answer. The log of the application has the details." }
                (reference_note(reference))
            };
            error_of("Error", StatusCode::INTERNAL_SERVER_ERROR, &advice)
        }
    }
}

/// The form that queues the export of a download: with its filters, format and options.
fn queue_address(request: &GrantedRequest, form: Href) -> Href {
    let format = request.route.path.rsplit('.').next().unwrap_or_default();
    let pairs = form_urlencoded::parse(request.query.as_bytes());
    form.with_all(pairs).with("file", format)
}

fn error_of(title: &str, status: StatusCode, advice: &Markup) -> Page {
    Page::new(title, html! { div.empty role="alert" { (advice) } }).status(status)
}

fn reference_note(reference: Option<&str>) -> Markup {
    html! { @if let Some(reference) = reference { p { "Reference: " code { (reference) } } } }
}

fn forbidden_page(capability: Capability) -> Page {
    let advice = html! {
        p { "Your grant does not have the capability " strong { (capability) } ", which this page needs." }
        @if let Some(command) = command_of(capability) {
            p { "With access to the database, the same in a terminal:" }
            pre { code { (command) } }
        }
    };
    error_of("Not part of your grant", StatusCode::FORBIDDEN, &advice)
}

/// The command that answers what a screen with this capability answers.
fn command_of(capability: Capability) -> Option<&'static str> {
    match capability {
        Capability::Read | Capability::Values => Some("threadline timeline"),
        Capability::Export => Some("threadline export"),
        Capability::Background => Some("threadline export --background"),
        Capability::Coverage => Some("threadline coverage"),
        Capability::Policy => Some("threadline policy"),
        Capability::Retention => Some("threadline retention plan"),
        Capability::Evidence => Some("threadline evidence show"),
        Capability::Log => Some("threadline actions --category console"),
        Capability::Views => Some("threadline views list"),
        Capability::Reports | Capability::ShareViews => None,
    }
}

/// The page of invalid parameters: the errors, with a form to correct a single one.
fn invalid_page(request: &GrantedRequest, errors: &[FieldError]) -> Page {
    let body = html! {
        @if let Some(field) = single_field(errors) {
            (form(&request.href(request.route.path), "Open", &[field]))
        } @else {
            div.empty role="alert" {
                ul {
                    @for error in errors {
                        li {
                            @if !error.field.is_empty() {
                                code { (error.field) } " "
                                @if !error.value.is_empty() { bdi { (error.value) } }
                                ": "
                            }
                            (error.message)
                        }
                    }
                }
            }
        }
    };
    Page::new("Check the parameters", body).status(StatusCode::UNPROCESSABLE_ENTITY)
}

/// The field to correct, if the page needs only this one.
fn single_field(errors: &[FieldError]) -> Option<Field<'_>> {
    let [error] = errors else { return None };
    let fields = [
        ("id", "Id"),
        ("actor", "Actor"),
        ("correlation", "Correlation"),
    ];
    let (name, label) = fields.into_iter().find(|(name, _)| *name == error.field)?;
    Some(Field::new(name, label).errors(errors))
}

/// The reasons of an empty answer.
pub(crate) fn explanations(request: &GrantedRequest, reasons: &[EmptyReason]) -> Markup {
    html! { @for reason in reasons { (explanation(request, reason)) } }
}

/// A reason of an empty answer in sentences.
pub(crate) fn explanation(request: &GrantedRequest, reason: &EmptyReason) -> Markup {
    match reason {
        EmptyReason::ActorNotRecorded { actor, similar } if !similar.is_empty() => html! {
            p { "No changes and actions by " bdi.id { (actor) } " are recorded. Similar actors:" }
            ul {
                @for actor in similar {
                    li { a href=(request.href("/actors").with("actor", actor)) { bdi { (actor) } } }
                }
            }
        },
        other => html! { @for line in other.lines() { p { (sentence(&line)) } } },
    }
}

/// A line as a sentence; what it quotes in backticks is code.
fn sentence(line: &str) -> Markup {
    let mut chars = line.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    let line = format!(
        "{}{}.",
        first.map(String::from).unwrap_or_default(),
        chars.as_str()
    );
    html! {
        bdi {
            @for (place, part) in line.split('`').enumerate() {
                @if place % 2 == 1 { code { bdi { (part) } } } @else { (part) }
            }
        }
    }
}
