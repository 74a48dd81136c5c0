//! The frame of every page: header, navigation, heading, the same in a terminal, footer.

use chrono_tz::Tz;
use maud::{DOCTYPE, Markup, html};

use crate::assets::{ICON, SCRIPT, STYLE};
use crate::href::Href;
use crate::page::{Page, Terminal};
use crate::request::GrantedRequest;
use crate::route::{NavGroup, Route};
use crate::routes::SCREENS;
use crate::screens::coverage::coverage_badge;
use crate::view::id::copy_button;

/// A page in its frame.
pub(crate) fn frame(request: &GrantedRequest, page: &Page) -> Markup {
    let preferences = &request.preferences;
    let brand = &request.settings.branding.name;
    let base = &request.base;
    html! {
        (DOCTYPE)
        html lang="en" data-theme=(preferences.theme.as_str()) data-density=(preferences.density.as_str()) {
            head {
                meta charset="utf-8";
                title { (page.title) " · " (brand) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href=(Href::asset(base, &ICON.name));
                link rel="stylesheet" nonce=(request.nonce) href=(Href::asset(base, &STYLE.name));
                @if let Some(seconds) = page.refresh {
                    noscript { meta http-equiv="refresh" content=(seconds); }
                }
                script defer nonce=(request.nonce) src=(Href::asset(base, &SCRIPT.name)) {}
            }
            body data-base=(base) data-keys=(preferences.keys.as_str()) {
                a.skip href=(Href::fragment("main")) { "Skip to the content" }
                (header(request))
                main id="main" tabindex="-1" {
                    h1 { bdi { (page.title) } }
                    p.hidden id="status" role="status" aria-live="polite" {}
                    (page.body)
                    (terminal(&page.terminal))
                }
                (footer(page.zone.unwrap_or(request.zone())))
            }
        }
    }
}

fn header(request: &GrantedRequest) -> Markup {
    let back = request.address();
    html! {
        header.top {
            a.brand href=(request.href("/")) { (request.settings.branding.name) }
            @if let Some(find) = request.screen("find").filter(|_| request.route.screen != "start") {
                form.find role="search" method="get" action=(find) {
                    label.hidden for="find-box" { "Find" }
                    input id="find-box" type="search" name="q" data-key="/" autocomplete="off"
                        placeholder="id, user:42, table key, time";
                    button type="submit" { "Find" }
                }
            }
            div.lane {
                (coverage_badge(request))
                @if let Some(label) = request.grant.shown_label() {
                    span.badge { (label) }
                }
                @if request.scope().is_some() {
                    span.badge { "restricted scope" }
                }
                a href=(request.href("/preferences").with("back", back)) {
                    span.hidden { "Preferences, time zone " } (request.zone().name())
                }
                a href=(request.href("/help")) data-key="?" { "Help" }
                @if let Some(home) = request.settings.branding.home.as_deref().and_then(Href::of_host) {
                    a href=(home) { "Back to the application" }
                }
            }
        }
        (navigation(request))
    }
}

/// The entries of the screens that the grant may use. Others are absent, not grey.
fn navigation(request: &GrantedRequest) -> Markup {
    let entries = |group: NavGroup| {
        SCREENS.iter().filter_map(move |route| {
            let nav = route.nav.filter(|nav| nav.group == group)?;
            let is_allowed = route.capability.is_none_or(|one| request.allows(one));
            is_allowed.then_some((route, nav.label))
        })
    };
    html! {
        nav.screens aria-label="Screens" {
            ul {
                li { (entry(request, &SCREENS[0], "Start")) }
                @for group in NavGroup::ALL {
                    @if entries(group).next().is_some() {
                        li {
                            span.group { (group.as_str()) }
                            ul { @for (route, label) in entries(group) { li { (entry(request, route, label)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn entry(request: &GrantedRequest, route: &Route, label: &str) -> Markup {
    let current = (route.screen == request.route.screen).then_some("page");
    html! { a href=(request.href(route.path)) aria-current=[current] { (label) } }
}

/// The same answer in a terminal, folded.
fn terminal(terminal: &Terminal) -> Markup {
    let forms = [
        ("Command", &terminal.command),
        ("SQL", &terminal.sql),
        ("Rust", &terminal.rust),
    ];
    html! {
        @if forms.iter().any(|(_, text)| text.is_some()) {
            details.terminal {
                summary { "The same in a terminal" }
                dl.facts {
                    @for (name, text) in forms {
                        @if let Some(text) = text {
                            dt { (name) }
                            dd { pre tabindex="0" { code { (text) } } (copy_button(text)) }
                        }
                    }
                }
            }
        }
    }
}

fn footer(zone: Tz) -> Markup {
    html! {
        footer {
            "Times are shown in " (zone.name()) ". The console does not change your tables."
        }
    }
}
