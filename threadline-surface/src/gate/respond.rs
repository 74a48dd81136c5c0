//! Turns the answer of a screen into a response.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderValue, Response, StatusCode};
use maud::{Markup, html};
use uuid::Uuid;

use super::headers::text_response;
use crate::access::Capability;
use crate::download::attachment;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::GrantedRequest;
use crate::shell::frame;
use crate::view::states::error_page;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// The seconds after which to try again if something else is busy.
const RETRY_SECONDS: u64 = 5;

/// The response of a screen.
pub(super) fn respond(
    request: &GrantedRequest,
    outcome: Result<Screen, PageError>,
) -> Response<Body> {
    match outcome {
        Ok(Screen::Page(page)) => markup(page.status, &frame(request, &page)),
        Ok(Screen::Fragment(fragment)) => markup(StatusCode::OK, &fragment),
        Ok(Screen::TaggedFragment(fragment, tag)) => {
            tagged(markup(StatusCode::OK, &fragment), &tag)
        }
        Ok(Screen::NotModified(tag)) => tagged(markup(StatusCode::NOT_MODIFIED, &html! {}), &tag),
        Ok(Screen::Json(document)) => response(StatusCode::OK, JSON, document),
        Ok(Screen::Redirect(href)) => see_other(href.as_str()),
        Ok(Screen::Moved(href)) => {
            let mut response = see_other(href.as_str());
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response
        }
        Ok(Screen::Preferences(href, preferences)) => {
            let mut response = see_other(href.as_str());
            for cookie in preferences.cookies(&request.base, request.is_secure) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            response
        }
        Ok(Screen::File(file)) => {
            attachment(file).unwrap_or_else(|error| error_response(request, &error))
        }
        // The gate starts it.
        Ok(Screen::Download(_)) => error_response(request, &PageError::Internal("download")),
        Ok(Screen::Asset(asset)) => {
            let mut response = response(StatusCode::OK, asset.content_type, asset.text.to_owned());
            let immutable = HeaderValue::from_static("private, max-age=31536000, immutable");
            response.headers_mut().insert(CACHE_CONTROL, immutable);
            response
        }
        Err(error) => error_response(request, &error),
    }
}

/// The page of an error, or its JSON document.
fn error_response(request: &GrantedRequest, error: &PageError) -> Response<Body> {
    if let PageError::Forbidden(capability) = error
        && request.route.capability == Some(Capability::Export)
    {
        return text_response(
            StatusCode::FORBIDDEN,
            match capability {
                Capability::Values => "downloads need the capability values",
                _ => "downloads need the capability export",
            },
        );
    }
    let reference = match error {
        PageError::Unavailable(kind) | PageError::Internal(kind) => Some(log(request, kind)),
        _ => None,
    };
    let page = error_page(request, error, reference.as_deref());
    let status = page.status;
    let mut response = if request.wants_json() {
        let document = serde_json::json!({
            "error": page.title,
            "fields": match error {
                PageError::Invalid(fields) => fields
                    .iter()
                    .map(|one| serde_json::json!({"field": one.field, "message": one.message}))
                    .collect(),
                _ => Vec::new(),
            },
            "reference": reference,
        });
        response(status, JSON, document.to_string())
    } else {
        markup(status, &frame(request, &page))
    };
    if matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        let seconds = match error {
            PageError::TooManyRequests { seconds } => *seconds,
            _ => RETRY_SECONDS,
        };
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Logs an error without its message, which could quote a row, and returns the id that the page shows.
fn log(request: &GrantedRequest, kind: &'static str) -> String {
    let reference = Uuid::new_v4().simple().to_string();
    threadline_core::telemetry::console_failed(request.route.screen, kind, &reference);
    reference
}

fn markup(status: StatusCode, markup: &Markup) -> Response<Body> {
    response(status, HTML, markup.0.clone())
}

fn tagged(mut response: Response<Body>, tag: &str) -> Response<Body> {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn see_other(address: &str) -> Response<Body> {
    let mut response = response(StatusCode::SEE_OTHER, HTML, String::new());
    if let Ok(address) = HeaderValue::from_str(address) {
        response.headers_mut().insert(LOCATION, address);
    }
    response
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
