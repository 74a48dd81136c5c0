//! Links to common windows of a list.

use maud::{Markup, html};

use crate::href::Href;
use crate::question::Window;

const AGO: [&str; 4] = ["1h", "24h", "7d", "30d"];

/// The links to common windows. `list` is the address of the list without a window.
pub(crate) fn presets(list: &Href, window: &Window) -> Markup {
    let is_current = |ago: &str| {
        let from = window.from.as_ref().filter(|_| window.to.is_none());
        from.is_some_and(|from| from.text.trim_start_matches('-') == ago)
    };
    let current = |is_current: bool| is_current.then_some("true");
    html! {
        nav.window aria-label="Window" {
            @for ago in AGO {
                a href=(list.clone().with("from", format!("-{ago}"))) aria-current=[current(is_current(ago))] { (ago) }
                " "
            }
            a href=(list) aria-current=[current(window.is_whole())] { "all" }
        }
    }
}
