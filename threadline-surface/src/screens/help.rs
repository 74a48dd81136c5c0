//! Help: how answers are to be read, what can be pasted and typed, and the keys.

use maud::{Markup, html};
use threadline_diesel::query::diff::FieldState;

use super::find;
use crate::page::{Page, Screen};
use crate::page_error::PageError;
use crate::request::GrantedRequest;
use crate::view::value::token;

const KEYS: [(&str, &str); 13] = [
    ("/", "go to the find box"),
    ("j, k", "next and previous entry"),
    ("[, ]", "newer and older page"),
    ("g s", "start"),
    ("g t", "timeline"),
    ("g a", "actions"),
    ("g c", "coverage"),
    ("g r", "redaction"),
    ("g e", "retention"),
    ("g v", "evidence"),
    ("g x", "exports"),
    ("f", "follow new changes"),
    ("?", "this page"),
];

const WORDS: [(&str, &str); 12] = [
    (
        "change",
        "one row that was inserted, updated or deleted, or a table that was truncated",
    ),
    (
        "transaction",
        "the database transaction that made changes; all of them were committed",
    ),
    (
        "action",
        "what the application says it did: a name, a status, a reason. It may have failed or changed nothing",
    ),
    ("actor", "who did it, as the application says: user:42"),
    ("on behalf of", "for whom the actor acted"),
    (
        "unattributed",
        "the application named no actor: a migration, a console, a script",
    ),
    (
        "correlation",
        "an id that connects requests, jobs and services of one piece of work",
    ),
    (
        "baseline",
        "a record of a row as it was at that time, without a change: by the command baseline, or by a purge that keeps last images",
    ),
    ("erased", "the value was removed later, by request"),
    (
        "view",
        "filters of the timeline under a name. A shared view shows its filters to others; each reads within their own grant and scope",
    ),
    (
        "evidence",
        "a recorded result of a check of the audit system, or a statement of the application about it",
    ),
    (
        "proven, inferred, unsupported",
        "a check read records and passed; only settings were checked, or the application states it; neither, or it is out of date",
    ),
];

const TIMES: [(&str, &str); 5] = [
    ("2026-01-31T12:00:00Z", "an instant with its offset"),
    ("2026-01-31 12:00", "a time in your zone"),
    ("2026-01-31", "the start of a day in your zone"),
    ("-15m, -24h, -7d", "a time ago"),
    ("now", "the time of the request"),
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
        h2 { "Claimed and known" }
        p {
            "Actor, on behalf of, request, correlation, job and source are what the application says: true if it "
            "is honest and was not tricked. Database user, application name, client address, process and "
            "transaction are what PostgreSQL knows of the session. Pages show both side by side. If they do not "
            "fit, trust what is known."
        }
        h2 { "Words" }
        (list(&WORDS, |word| html! { (word) }))
        h2 { "Values" }
        dl.facts {
            @for (state, meaning) in &states {
                dt { (token(state)) }
                dd { (meaning) }
            }
        }
        (find::syntax(request))
        h2 { "Times" }
        (list(&TIMES, |text| html! { code { (text) } }))
        h2 { "Keys" }
        p {
            "Keys do nothing while a field has the focus. "
            a href=(request.href("/preferences")) { "Preferences" }
            " turn them off."
        }
        (list(&KEYS, |keys| html! { kbd { (keys) } }))
    };
    Ok(Page::new("Help", body).into())
}

fn list(pairs: &[(&str, &str)], term: fn(&str) -> Markup) -> Markup {
    html! {
        dl.facts {
            @for (name, meaning) in pairs {
                dt { (term(name)) }
                dd { (meaning) }
            }
        }
    }
}
