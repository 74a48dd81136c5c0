//! Preferences: theme, time zone, density, and single keys.

use axum::http::StatusCode;
use maud::html;

use crate::href::Href;
use crate::page::{Page, Screen};
use crate::page_error::PageError;
use crate::preferences::{Density, Keys, Preferences, Theme};
use crate::question::FieldError;
use crate::request::GrantedRequest;
use crate::view::form::{Choice, Field, field, select};
use crate::view::instant::instant;

pub(crate) fn show(request: &GrantedRequest) -> Result<Screen, PageError> {
    let mut parameters = request.parameters();
    let back = parameters.text("back");
    parameters.finish()?;
    Ok(page(request, back.as_deref(), &[]).into())
}

/// The form, with the errors of what was sent.
fn page(request: &GrantedRequest, back: Option<&str>, errors: &[FieldError]) -> Page {
    let preferences = request.preferences;
    let zone = Field::new("zone", "Time zone")
        .value(preferences.zone.name())
        .hint("a name of the IANA database: Europe/Berlin, UTC")
        .errors(errors);
    let theme = select(
        "theme",
        "Theme",
        Theme::ALL.map(|one| Choice::new(one.as_str(), one == preferences.theme)),
    );
    let density = select(
        "density",
        "Density of lists",
        Density::ALL.map(|one| Choice::new(one.as_str(), one == preferences.density)),
    );
    let keys = select(
        "keys",
        "Single keys",
        Keys::ALL.map(|one| Choice::new(one.as_str(), one == preferences.keys)),
    );
    let body = html! {
        p.note { "They are kept in cookies of this browser. Now: " (instant(request, request.now)) }
        form.stack method="post" action=(request.href("/preferences")) {
            (theme)
            (density)
            (field(&zone))
            (keys)
            @if let Some(back) = back {
                input type="hidden" name="back" value=(back);
            }
            button.primary type="submit" { "Save" }
        }
        p.hint { a href=(request.href("/help")) { "What the keys do" } }
    };
    Page::new("Preferences", body)
}

/// Stores the preferences of the form and returns to the page that it names.
pub(crate) fn store(request: &GrantedRequest) -> Result<Screen, PageError> {
    let mut form = request.form_parameters();
    let unknown = || "choose one of the list".to_owned();
    let theme = form.parsed("theme", |text| Theme::parse(text).ok_or_else(unknown));
    let density = form.parsed("density", |text| Density::parse(text).ok_or_else(unknown));
    let keys = form.parsed("keys", |text| Keys::parse(text).ok_or_else(unknown));
    let zone = form.parsed("zone", |text| {
        text.parse()
            .map_err(|_| "write a name of the IANA database: Europe/Berlin, UTC".to_owned())
    });
    let back = form.text("back");
    match form.finish() {
        Err(PageError::Invalid(errors)) if errors.iter().all(|one| one.field == "zone") => {
            let page = page(request, back.as_deref(), &errors);
            return Ok(page.status(StatusCode::UNPROCESSABLE_ENTITY).into());
        }
        other => other?,
    }
    let old = request.preferences;
    let back = back
        .and_then(|address| Href::returned(&request.base, &address))
        .unwrap_or_else(|| request.href("/"));
    Ok(Screen::Preferences(
        back,
        Preferences {
            theme: theme.unwrap_or(old.theme),
            zone: zone.unwrap_or(old.zone),
            density: density.unwrap_or(old.density),
            keys: keys.unwrap_or(old.keys),
        },
    ))
}
