//! Help: the keys, and how answers are to be read.

use maud::html;
use threadline_diesel::query::diff::FieldState;

use crate::page::{Page, Screen};
use crate::page_error::PageError;
use crate::request::GrantedRequest;
use crate::view::value::token;

const KEYS: [(&str, &str); 9] = [
    ("/", "go to the find box"),
    ("j, k", "next and previous entry"),
    ("[, ]", "newer and older page"),
    ("g s", "start"),
    ("g t", "timeline"),
    ("g a", "actions"),
    ("g c", "coverage"),
    ("f", "follow new changes"),
    ("?", "this page"),
];

pub(crate) fn show(request: &GrantedRequest) -> Result<Screen, PageError> {
    request.parameters().finish()?;
    let states = [
        (FieldState::Null, "the column was NULL"),
        (
            FieldState::Masked,
            "the column is masked: a placeholder is stored instead of the value",
        ),
        (
            FieldState::Excluded,
            "the column is excluded: nothing of it is stored",
        ),
        (FieldState::Unknown, "the trail does not have the value"),
        (FieldState::Absent, "there was no row, or no such column"),
    ];
    let body = html! {
        h2 { "Values" }
        dl.facts {
            @for (state, meaning) in &states {
                dt { (token(state)) }
                dd { (meaning) }
            }
        }
        h2 { "Keys" }
        p { "Keys do nothing while a field has the focus." }
        dl.facts {
            @for (keys, effect) in KEYS {
                dt { kbd { (keys) } }
                dd { (effect) }
            }
        }
        h2 { "Claimed and known" }
        p {
            "Actor, on behalf of, request, correlation and source are what the application says. Database user, "
            "application name, process and transaction are what PostgreSQL knows."
        }
    };
    Ok(Page::new("Help", body).into())
}
