//! The answers to denied requests. They are bare: a denied visitor learns nothing of the console.

use axum::body::Body;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode};

use super::fetch_metadata::is_page_load;
use super::headers::text_response;
use crate::access::Denial;

/// The answer to a denied request.
pub(super) fn deny(denial: &Denial, parts: &Parts) -> Response<Body> {
    match denial {
        Denial::SignIn(address) => match HeaderValue::from_str(address) {
            Ok(address) if is_page_load(parts) => {
                let mut response = text_response(StatusCode::SEE_OTHER, "");
                response.headers_mut().insert(LOCATION, address);
                response
            }
            _ => text_response(StatusCode::UNAUTHORIZED, "sign in first"),
        },
        Denial::Forbidden => text_response(StatusCode::FORBIDDEN, "access denied"),
        Denial::Hidden => text_response(StatusCode::NOT_FOUND, ""),
    }
}
