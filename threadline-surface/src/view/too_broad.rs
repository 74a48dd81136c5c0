//! The page of an answer that PostgreSQL did not finish in time.

use axum::http::StatusCode;
use maud::{Markup, html};

use super::window::preset_href;
use crate::page::Page;
use crate::question::TimelineQuestion;
use crate::request::GrantedRequest;

/// The page: the filter that would help, and shorter windows.
pub(crate) fn too_broad_page(request: &GrantedRequest) -> Page {
    let mut parameters = request.parameters();
    let question = TimelineQuestion::take(&mut parameters, request.now, request.zone());
    let is_timeline = request.route.path == "/timeline";
    let body = html! {
        div.empty role="alert" {
            p { "PostgreSQL did not finish within the time limit." }
            (advice(&question))
            @if is_timeline {
                p {
                    "Or a shorter window: "
                    @for window in ["1h", "24h", "7d"] {
                        a href=(preset_href(request, &question, window)) { "last " (window) } " "
                    }
                }
            }
        }
    };
    Page::new("Too broad", body).status(StatusCode::UNPROCESSABLE_ENTITY)
}

fn advice(question: &TimelineQuestion) -> Markup {
    let fields = &question.filters.fields;
    let slow = [
        ("scan_values", fields.scan_values.is_some()),
        ("meta", fields.meta.is_some()),
        ("schema", fields.schema.is_some()),
        ("actor type", fields.actor_type.is_some()),
        ("category", fields.category.is_some()),
        ("changed", fields.changed.is_some()),
        ("op", fields.op.is_some()),
    ];
    let slow = slow.iter().find(|(_, is_given)| *is_given);
    let missing = match fields {
        one if one.table.is_none() => "a table, an actor or a correlation",
        one if one.key.is_none() => "the key of a row, an actor or a correlation",
        _ => "an actor, a request or a correlation",
    };
    html! {
        p {
            @if let Some((name, _)) = slow { "No index serves the filter " strong { (name) } ". " }
            "Add " strong { (missing) } "."
        }
    }
}
