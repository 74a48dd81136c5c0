//! Actors.

use maud::{Markup, html};
use threadline_diesel::RecordedActor;

use super::id::{copied, linked};
use crate::request::GrantedRequest;

/// An actor, or in words that there is none.
pub(crate) fn actor(request: &GrantedRequest, actor: Option<&RecordedActor>) -> Markup {
    match actor {
        Some(RecordedActor::Known(known)) => {
            let text = known.to_string();
            linked(
                request
                    .screen("actor")
                    .map(|href| href.with("actor", &text)),
                &text,
            )
        }
        Some(RecordedActor::Odd(text)) => html! {
            (copied(text)) " " span.token { "not an actor" }
        },
        None => html! { span.token.warning { "unattributed" } },
    }
}
