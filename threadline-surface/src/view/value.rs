//! Values: each state in words, never by colour alone.

use maud::{Markup, html};
use threadline_diesel::query::diff::FieldState;

/// The length to which a value is shown in lists, in characters.
pub(crate) const LIST_CHARS: usize = 200;

/// The length to which a value is shown on the page of its change.
pub(crate) const PAGE_CHARS: usize = 64 * 1024;

/// The placeholder of a value that `erase_values` removed.
const ERASED: &str = "[ERASED]";

/// The state of a field, its value cut to a length.
pub(crate) fn value(state: &FieldState, chars: usize) -> Markup {
    match state {
        FieldState::Value(stored) => {
            let text = stored.to_text();
            if text.is_empty() {
                return html! { span.token { "empty text" } };
            }
            if text == ERASED {
                return html! { span.token { "erased" } };
            }
            html! { span.value { (cut(&text, chars)) } }
        }
        other => token(other),
    }
}

/// A state without a value, as a word.
pub(crate) fn token(state: &FieldState) -> Markup {
    html! { span.token data-state=(state.as_str()) { (state.as_str()) } }
}

/// A text cut to a length, with the number of characters that are left out. Its direction stays its own.
pub(crate) fn cut(text: &str, chars: usize) -> Markup {
    match text.char_indices().nth(chars) {
        None => html! { bdi { (text) } },
        Some((end, _)) => {
            let rest = text[end..].chars().count();
            html! { bdi { (text[..end]) } "… " span.token { (rest) " more characters" } }
        }
    }
}
