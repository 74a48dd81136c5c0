//! The find box: what a pasted text may mean, probed with one row each.

mod existence;
mod probe;
mod text;

use maud::{Markup, html};

use self::probe::probe;
use self::text::{own_address, trimmed};
use crate::href::Href;
use crate::page::{Page, Screen};
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::form::{Field, form};
use crate::view::states::empty_state;

/// A meaning of a text that the trail has.
pub(super) struct Meaning {
    /// What it is: `Transaction`.
    kind: &'static str,
    /// What of the trail it is, in words.
    detail: String,
    href: Href,
}

/// The meanings of a text.
#[derive(Default)]
pub(super) struct Meanings {
    found: Vec<Meaning>,
    /// The meanings that were tried without success, in words.
    tried: Vec<String>,
}

impl Meanings {
    fn add(&mut self, kind: &'static str, detail: impl Into<String>, href: Href) {
        self.found.push(Meaning {
            kind,
            detail: detail.into(),
            href,
        });
    }

    fn tried(&mut self, what: impl Into<String>) {
        self.tried.push(what.into());
    }
}

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let text = parameters.parsed("q", trimmed);
    parameters.finish()?;
    let Some(text) = text else {
        let body = html! { (find_form(request, "")) (syntax(request)) };
        return Ok(Page::new("Find", body).into());
    };
    if let Some(href) = own_address(request, &text) {
        return Ok(Screen::Redirect(href));
    }
    let mut meanings = probe(context, &text).await?;
    if meanings.found.len() == 1
        && let Some(only) = meanings.found.pop()
    {
        return Ok(Screen::Redirect(only.href));
    }
    let body = html! {
        (find_form(request, &text))
        @if meanings.found.is_empty() {
            (nothing(request, &meanings))
            (syntax(request))
        } @else {
            p { bdi.strong { (text) } " has several meanings here:" }
            ul.entries aria-label="Meanings" {
                @for one in &meanings.found {
                    li {
                        div.line { a.table href=(one.href) { (one.kind) } span { bdi { (one.detail) } } }
                    }
                }
            }
        }
    };
    Ok(Page::new("Find", body).into())
}

fn find_form(request: &GrantedRequest, text: &str) -> Markup {
    let field = Field::new("q", "Paste anything").value(text);
    form(&request.href("/find"), "Find", &[field])
}

fn nothing(request: &GrantedRequest, meanings: &Meanings) -> Markup {
    empty_state(
        "Nothing found",
        &html! {
            @if request.scope().is_some() { p { "Only records in your scope are searched." } }
            p { "These meanings were tried:" }
            ul { @for tried in &meanings.tried { li { bdi { (tried) } } } }
        },
    )
}

/// What the find box recognises.
pub(crate) fn syntax(request: &GrantedRequest) -> Markup {
    let forms = [
        ("1234", "a change"),
        (
            "000303c2-476f-25e9-0000-0000000002f8",
            "a transaction or an action",
        ),
        ("user:42", "an actor; the id alone is found as well"),
        ("order-7002", "a correlation, a request or a job"),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "a traceparent: the correlation of its trace",
        ),
        ("invoices", "the changes of a table"),
        ("invoices 42", "a row: table and key"),
        (
            "line_items order_id=7 line=2",
            "a row with several key columns",
        ),
        ("invoice.refund", "an action by its name"),
        (
            "2026-01-31 12:00",
            "the changes five minutes before and after an instant",
        ),
    ];
    html! {
        h2 { "What to paste" }
        dl.facts {
            @for (form, meaning) in forms {
                dt { code.id { (form) } }
                dd { (meaning) }
            }
            dt { "an address of this console" }
            dd { "opens it" }
        }
        p.hint { "Times are read in " (request.zone().name()) ", unless they have an offset." }
    }
}
