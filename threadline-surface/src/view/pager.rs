//! Links between pages of a list.

use maud::{Markup, html};
use threadline_diesel::Page;

use crate::href::Href;

/// The links Newest, Newer and Older. `list` is the address of the list without a cursor, with fixed instants.
pub(crate) fn pager<T>(list: &Href, page: &Page<T>) -> Markup {
    links(list, page, ["Newest", "Newer", "Older"])
}

/// The links First, Earlier and Later of a list that is oldest first.
pub(crate) fn oldest_first_pager<T>(list: &Href, page: &Page<T>) -> Markup {
    links(list, page, ["First", "Earlier", "Later"])
}

fn links<T>(list: &Href, page: &Page<T>, [first, previous, next]: [&str; 3]) -> Markup {
    let before = page.previous.as_ref().filter(|_| page.has_previous());
    let after = page.next.as_ref().filter(|_| page.has_more());
    html! {
        @if before.is_some() || after.is_some() {
            nav.pager aria-label="Pages" {
                @if let Some(cursor) = before {
                    a href=(list) { (first) }
                    a rel="prev" data-key="[" href=(list.clone().with("before", cursor.as_str())) { (previous) }
                }
                @if let Some(cursor) = after {
                    a rel="next" data-key="]" href=(list.clone().with("after", cursor.as_str())) { (next) }
                }
            }
        }
    }
}
