//! Parts of a page that the script loads again and again.

use maud::{Markup, html};

use crate::href::Href;

/// A part that the script loads every few seconds, with a button that pauses it and a link that loads the page
/// again. `part` is the address of the part. A failure keeps the last answer.
pub(crate) fn polled(
    id: &'static str,
    part: &Href,
    seconds: u32,
    again: (&Href, &str),
    body: &Markup,
) -> Markup {
    let (page, label) = again;
    html! {
        div.buttons {
            button type="button" hidden data-script data-pause=(id) aria-pressed="false" { "Pause" }
            a.button href=(page) { (label) }
            span.note hidden data-script { "Loaded every " (seconds) " seconds" }
        }
        div id=(id) data-fragment=(part) data-poll=(seconds) data-lazy="no" { (body) }
    }
}
