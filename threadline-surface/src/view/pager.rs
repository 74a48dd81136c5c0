//! Links between pages of a list.

use maud::{Markup, html};
use threadline_diesel::Page;

use crate::href::Href;

/// The links Newest, Newer and Older. `list` is the address of the list without a cursor, with fixed instants.
pub(crate) fn pager<T>(list: &Href, page: &Page<T>) -> Markup {
    html! {
        nav.pager aria-label="Pages" {
            @if let Some(previous) = page.previous.as_ref().filter(|_| page.has_previous()) {
                a href=(list) { "Newest" }
                a rel="prev" data-key="[" href=(list.clone().with("before", previous.as_str())) { "Newer" }
            }
            @if let Some(next) = page.next.as_ref().filter(|_| page.has_more()) {
                a rel="next" data-key="]" href=(list.clone().with("after", next.as_str())) { "Older" }
            }
        }
    }
}
