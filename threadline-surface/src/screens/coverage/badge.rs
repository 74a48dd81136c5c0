//! The state of coverage in the header of every page.

use std::time::Duration;

use maud::{Markup, html};

use super::plural;
use crate::access::Capability;
use crate::coverage_check::CheckedCoverage;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::GrantedRequest;

/// The age from which the script loads a newer answer.
const STALE: Duration = Duration::from_secs(60);

/// The last answer in short, linked to the screen. It never waits: the script loads a newer one if this is old.
pub(crate) fn coverage_badge(request: &GrantedRequest) -> Markup {
    if !request.allows(Capability::Coverage) {
        return html! {};
    }
    let last = request.settings.coverage.last();
    let is_stale = last.as_ref().is_none_or(|last| last.age() > STALE);
    let part = is_stale.then(|| request.href("/parts/coverage-badge"));
    html! {
        span data-fragment=[part] { (badge(request, last.as_deref())) }
    }
}

/// The current answer in short, as a part of the header.
pub(crate) async fn show_badge(request: &GrantedRequest) -> Result<Screen, PageError> {
    request.parameters().finish()?;
    let settings = &request.settings;
    let checked = settings.coverage.current(settings).await?;
    Ok(Screen::Fragment(badge(request, Some(&checked))))
}

fn badge(request: &GrantedRequest, checked: Option<&CheckedCoverage>) -> Markup {
    let href = request.href("/coverage");
    let Some(checked) = checked else {
        return html! { a.badge href=(href) { "coverage" } };
    };
    let summary = &checked.report.summary;
    let is_error = summary.errors > 0;
    let is_warning = !is_error && (summary.needs_capture > 0 || summary.warnings > 0);
    html! {
        a.badge.error[is_error].warning[is_warning] href=(href) {
            (summary.captured) " captured"
            @if is_error {
                " · " (plural(summary.errors, "error"))
            } @else if summary.needs_capture > 0 {
                " · " (summary.needs_capture) " not"
            } @else if summary.warnings > 0 {
                " · " (plural(summary.warnings, "warning"))
            }
        }
    }
}
