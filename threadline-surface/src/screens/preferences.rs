//! Preferences: theme, time zone and density.

use maud::html;

use crate::href::Href;
use crate::page::{Page, Screen};
use crate::page_error::PageError;
use crate::preferences::{Density, Preferences, Theme};
use crate::request::GrantedRequest;
use crate::view::form::{Choice, Field, field, select};

pub(crate) fn show(request: &GrantedRequest) -> Result<Screen, PageError> {
    let mut parameters = request.parameters();
    let back = parameters.text("back");
    parameters.finish()?;
    let preferences = request.preferences;
    let zone = Field::new("zone", "Time zone")
        .value(preferences.zone.name())
        .hint("a name of the IANA database: Europe/Berlin, UTC");
    let theme = select(
        "theme",
        "Theme",
        Theme::ALL.map(|one| Choice::new(one.as_str(), one == preferences.theme)),
    );
    let density = select(
        "density",
        "Density",
        Density::ALL.map(|one| Choice::new(one.as_str(), one == preferences.density)),
    );
    let body = html! {
        form.stack method="post" action=(request.href("/preferences")) {
            (theme)
            (density)
            (field(&zone))
            @if let Some(back) = &back {
                input type="hidden" name="back" value=(back);
            }
            button.primary type="submit" { "Save" }
        }
    };
    Ok(Page::new("Preferences", body).into())
}

/// Stores the preferences of the form and returns to the page that it names.
pub(crate) fn store(request: &GrantedRequest) -> Result<Screen, PageError> {
    let mut form = request.form_parameters();
    let unknown = || "choose one of the list".to_owned();
    let theme = form.parsed("theme", |text| Theme::parse(text).ok_or_else(unknown));
    let density = form.parsed("density", |text| Density::parse(text).ok_or_else(unknown));
    let zone = form.parsed("zone", |text| {
        text.parse()
            .map_err(|_| "write a name of the IANA database: Europe/Berlin, UTC".to_owned())
    });
    let back = form.text("back");
    form.finish()?;
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
        },
    ))
}
