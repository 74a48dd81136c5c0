//! Requests that pages of other sites cause.

use axum::http::header::{HeaderName, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Whether a request is refused before anything else: one by another site that is not a navigation of the whole
/// tab, or a form without a header that says where it comes from. `CsrfLayer` checks the other forms.
pub(super) fn is_refused(parts: &Parts) -> bool {
    let header = |name| text(&parts.headers, name);
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        let is_navigation = header(MODE) == Some("navigate") && header(DEST) == Some("document");
        is_foreign(parts) && !is_navigation
    } else {
        header(SITE).is_none() && header(ORIGIN).is_none()
    }
}

/// Whether another site caused the request, also as a navigation.
pub(super) fn is_foreign(parts: &Parts) -> bool {
    !matches!(
        text(&parts.headers, SITE),
        None | Some("same-origin" | "none")
    )
}

/// Whether the request loads a page, not a file or a fragment of one.
pub(super) fn is_page_load(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD)
        && matches!(text(&parts.headers, MODE), None | Some("navigate"))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
