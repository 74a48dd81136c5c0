//! Saved views: the form that saves one, the table, and the card of the start page.

use maud::{Markup, html};
use threadline_core::actor::ActorType;
use threadline_diesel::saved_views::{SavedView, Sharing};

use super::filter_words::{filter_fields, filter_list};
use super::form::{Field, field};
use super::instant::instant;
use crate::access::Capability;
use crate::href::Href;
use crate::question::{FieldError, TimelineQuestion};
use crate::request::GrantedRequest;

/// The form that saves the filters of a timeline, folded; nothing if the request cannot save views.
pub(crate) fn save_view(request: &GrantedRequest, question: &TimelineQuestion) -> Markup {
    if !can_save(request) {
        return html! {};
    }
    html! {
        details.downloads {
            summary.button { "Save view" }
            (save_form(request, &question.saved_pairs(), &[]))
        }
    }
}

/// Whether views of this request can be saved: its grant, its actor and the application allow it.
fn can_save(request: &GrantedRequest) -> bool {
    let actor = request.actor.as_ref();
    request.allows(Capability::Views)
        && request.settings.writers.is_some()
        && actor.is_some_and(|actor| actor.actor_type() != ActorType::Anonymous)
}

/// The form that saves filters, with the errors of what was sent.
pub(crate) fn save_form(
    request: &GrantedRequest,
    filters: &[(&'static str, String)],
    errors: &[FieldError],
) -> Markup {
    let name = Field::new("name", "Name of the view")
        .hint("a view of yours with this name is replaced")
        .errors(errors);
    html! {
        form.stack method="post" action=(request.href("/views")) {
            (filter_fields(filters))
            (field(&name))
            @if request.allows(Capability::ShareViews) {
                label {
                    input type="checkbox" name="shared" value="true";
                    " Shared: everyone sees its name and filters, and runs it within their own grant"
                }
            }
            button.primary type="submit" { "Save view" }
        }
    }
}

/// The table of views.
pub(crate) fn view_table(request: &GrantedRequest, views: &[SavedView]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Views" {
            table {
                thead {
                    tr {
                        th scope="col" { "View" }
                        th scope="col" { "Filters" }
                        th scope="col" { "Owner" }
                        th scope="col" { "Saved" }
                        th scope="col" { span.hidden { "Remove" } }
                    }
                }
                tbody { @for view in views { (view_row(request, view)) } }
            }
        }
    }
}

fn view_row(request: &GrantedRequest, view: &SavedView) -> Markup {
    html! {
        tr {
            td { a href=(open_href(request, view)) { bdi { (view.name) } } }
            td { (filters(view)) }
            td {
                @if is_own(request, view) { "you" } @else { bdi { (view.owner) } }
                @if view.sharing == Sharing::Shared { " " span.badge { "shared" } }
            }
            td { (instant(request, view.updated_at)) }
            td {
                @if is_own(request, view) && request.settings.writers.is_some() { (remove_form(request, view)) }
            }
        }
    }
}

fn filters(view: &SavedView) -> Markup {
    match &view.filters {
        Ok(filters) => filter_list(&filters.pairs()),
        Err(error) => html! { p.error { (error) } },
    }
}

/// The button that removes a view, folded, because there is no way back.
fn remove_form(request: &GrantedRequest, view: &SavedView) -> Markup {
    html! {
        details {
            summary { "Remove" }
            form method="post" action=(request.href("/views/remove")) {
                input type="hidden" name="id" value=(view.id);
                button type="submit" { "Remove this view" }
            }
        }
    }
}

/// The card of the start page; nothing without views.
pub(crate) fn views_card(request: &GrantedRequest, views: &[SavedView]) -> Markup {
    html! {
        @if !views.is_empty() {
            section.card aria-labelledby="views" {
                h2 id="views" { a href=(request.href("/views")) { "Saved views" } }
                dl {
                    @for view in views {
                        dt { a href=(open_href(request, view)) { bdi { (view.name) } } }
                        dd.note {
                            @if is_own(request, view) { "yours" } @else { "shared by " bdi { (view.owner) } }
                        }
                    }
                }
            }
        }
    }
}

fn open_href(request: &GrantedRequest, view: &SavedView) -> Href {
    request.href("/views/open").with("id", view.id)
}

fn is_own(request: &GrantedRequest, view: &SavedView) -> bool {
    let actor = request.actor.as_ref();
    actor.is_some_and(|actor| view.is_owned_by(actor))
}
