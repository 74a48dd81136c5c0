//! Filters in words, and as hidden fields of forms.

use maud::{Markup, html};

/// The name of a filter and its value.
pub(crate) fn filter_words(name: &str, value: &str) -> Markup {
    html! {
        span.note { (name.replace('_', " ")) }
        @if name != "unattributed" { " " bdi.id { (value) } }
    }
}

/// A list of filters.
pub(crate) fn filter_list(pairs: &[(&'static str, String)]) -> Markup {
    html! {
        ul.chips aria-label="Filters" {
            @for (name, value) in pairs { li { (filter_words(name, value)) } }
        }
    }
}

/// The filters as hidden fields of a form.
pub(crate) fn filter_fields(pairs: &[(&'static str, String)]) -> Markup {
    html! {
        @for (name, value) in pairs { input type="hidden" name=(name) value=(value); }
    }
}
