//! Links to downloads.

use maud::{Markup, html};

use crate::access::Capability;
use crate::download::FileFormat;
use crate::question::ChangeFilters;
use crate::request::GrantedRequest;

/// The files of a list of changes, folded; nothing if the grant does not include them.
pub(crate) fn downloads(request: &GrantedRequest, filters: &ChangeFilters) -> Markup {
    let formats = if request.allows(Capability::Export) {
        FileFormat::ALL
    } else {
        &[]
    };
    let background = request.screen("export_form");
    if formats.is_empty() && background.is_none() || !request.allows(Capability::Values) {
        return html! {};
    }
    html! {
        details.downloads {
            summary.button { "Download" }
            div.buttons {
                @for format in formats {
                    a.button href=(request.href(format.path()).with_all(filters.fixed().pairs())) {
                        (format.as_str().to_uppercase())
                    }
                }
                @if let Some(background) = background {
                    a.button href=(background.with_all(filters.fixed().pairs())) { "In the background" }
                }
            }
        }
    }
}
