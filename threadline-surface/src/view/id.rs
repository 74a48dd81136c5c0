//! Ids and keys: in full, with a button that copies them.

use std::fmt::Display;

use maud::{Markup, html};
use threadline_core::table::TableName;
use threadline_diesel::AuditChange;
use threadline_diesel::models::StoredJson;

use crate::href::Href;
use crate::request::GrantedRequest;

/// A text with a button that copies it. Without the script there is no button.
pub(crate) fn copied(text: &str) -> Markup {
    html! {
        span.id {
            bdi { (text) }
            (copy_button(text))
        }
    }
}

/// An id that links to its page, with a button that copies it. Without an address it is a text.
pub(crate) fn linked(href: Option<Href>, text: &str) -> Markup {
    let Some(href) = href else {
        return copied(text);
    };
    html! {
        span.id {
            a href=(href) { bdi { (text) } }
            (copy_button(text))
        }
    }
}

/// The id of a change, with a link to it.
pub(crate) fn change_id(request: &GrantedRequest, id: i64) -> Markup {
    linked(
        request.screen("change").map(|href| href.with("id", id)),
        &id.to_string(),
    )
}

/// The id of a transaction, with a link to it.
pub(crate) fn transaction_id(request: &GrantedRequest, id: impl Display) -> Markup {
    let id = id.to_string();
    linked(
        request
            .screen("transaction")
            .map(|href| href.with("id", &id)),
        &id,
    )
}

/// The id of a correlation, with a link to it.
pub(crate) fn correlation_id(request: &GrantedRequest, id: &str) -> Markup {
    linked(
        request
            .screen("correlation")
            .map(|href| href.with("correlation", id)),
        id,
    )
}

/// The key of the row of a change, with a link to its history.
pub(crate) fn row_key(request: &GrantedRequest, change: &AuditChange) -> Markup {
    let table = TableName::new(&change.table_schema, &change.table_name);
    let fields = change
        .table_pk
        .as_ref()
        .map(StoredJson::fields)
        .unwrap_or_default();
    let keys: Vec<_> = match fields.as_slice() {
        [(_, value)] => vec![value.to_text()],
        several => several
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_text()))
            .collect(),
    };
    if keys.is_empty() {
        return html! {};
    }
    let href = request.screen("row").map(|href| {
        keys.iter()
            .fold(href.with("table", table), |href, key| href.with("key", key))
    });
    linked(href, &change.shown_key())
}

/// A button that copies a text. The script shows it.
pub(crate) fn copy_button(text: &str) -> Markup {
    copy_button_named(text, &format!("Copy {text}"))
}

/// A button that copies a text too long for its name.
pub(crate) fn copy_button_named(text: &str, name: &str) -> Markup {
    html! {
        button.copy type="button" hidden data-copy=(text) aria-label=(name) { "copy" }
    }
}
