//! Start: where to begin.

use maud::html;

use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::request::GrantedRequest;
use crate::view::form::{Field, form};

pub(crate) fn show(request: &GrantedRequest) -> Result<Screen, PageError> {
    request.parameters().finish()?;
    let body = html! {
        div.cards {
            section.card aria-labelledby="find" {
                h2 id="find" { "Find" }
                p { "Open a change by its id." }
                (form(&request.href("/changes"), "Open", &[Field::new("id", "Change id").hint("as in lists and exports: 1234")]))
            }
        }
    };
    Ok(Page::new("Start", body)
        .terminal(Terminal::command(["timeline"]))
        .into())
}
