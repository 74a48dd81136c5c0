//! Addresses and parameters of the Elixir edition: they redirect to the screens that replace them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::href::Href;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::GrantedRequest;

/// The address that replaces a path.
pub(crate) fn show(request: &GrantedRequest) -> Result<Screen, PageError> {
    let segments: Vec<_> = request
        .path
        .split('/')
        .skip(1)
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy())
        .collect();
    let segments: Vec<_> = segments.iter().map(Cow::as_ref).collect();
    let row = |table: &str, key: &str| request.href("/rows").with("table", table).with("key", key);
    let href = match segments.as_slice() {
        ["rows", table, key] | ["transactions", _, "history", table, key] => row(table, key),
        ["actors", "anonymous", _] => request.href("/actors").with("actor", "anonymous"),
        ["actors", kind, id] => {
            let actor = format!("{kind}:{id}");
            request.href("/actors").with("actor", actor)
        }
        ["transactions", id] => request.href("/transactions").with("id", id),
        ["policy", "redaction"] => request.href("/redaction"),
        ["policy", "retention"] => request.href("/retention"),
        ["exports", "download", id] => request.href("/exports/file").with("id", id),
        ["exports", "changes.csv"] => with_query(request, "/download/changes.csv"),
        ["exports", "changes.json"] => with_query(request, "/download/changes.json"),
        ["exports", "changes.ndjson"] => with_query(request, "/download/changes.ndjson"),
        _ => return Err(PageError::NotFound),
    };
    Ok(Screen::Moved(href))
}

fn with_query(request: &GrantedRequest, path: &'static str) -> Href {
    let pairs = form_urlencoded::parse(request.query.as_bytes());
    request.href(path).with_all(pairs)
}

/// The address with today's names of parameters, if it has earlier ones.
pub(crate) fn renamed_parameters(request: &GrantedRequest) -> Option<Href> {
    let is_get = matches!(request.route.handler, crate::route::Handler::Read(_));
    let pairs: Vec<_> = form_urlencoded::parse(request.query.as_bytes()).collect();
    let is_earlier = |name: &str| {
        matches!(
            name,
            "actor_kind" | "actor_id" | "correlation_id" | "table_schema"
        )
    };
    if !is_get || !pairs.iter().any(|(name, _)| is_earlier(name)) {
        return None;
    }
    let value = |wanted: &str| {
        let found = pairs.iter().find(|(name, _)| name == wanted);
        found
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    };
    let kept = pairs
        .iter()
        .filter(|(name, value)| !is_earlier(name) && !value.is_empty());
    let mut href = request
        .href(request.route.path)
        .with_all(kept.map(|(name, value)| (name, value)));
    match (value("actor_kind"), value("actor_id")) {
        (Some(kind), Some(id)) => href = href.with("actor", format!("{kind}:{id}")),
        (Some(kind), None) => href = href.with("actor_type", kind),
        _ => {}
    }
    if let Some(id) = value("correlation_id") {
        href = href.with("correlation", id);
    }
    if let Some(schema) = value("table_schema") {
        href = href.with("schema", schema);
    }
    Some(href)
}
