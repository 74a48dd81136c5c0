//! The changes that became visible since an instant, as a part of a timeline that is followed.
//!
//! The page polls it, and drops the entries that it has. Each answer has the address of the next poll. It goes
//! back to the start of the oldest running transaction, so that changes that commit late are not lost. An answer with
//! the entries that the client has is 304; it then polls the same address again.

use maud::html;

use crate::page::Screen;
use crate::page_error::PageError;
use crate::question::GivenInstant;
use crate::request::PageContext;
use crate::screens::timeline::question_of;
use crate::view::entries::entry;
use crate::view::followed::{CUT, poll_href};
use crate::view::states::field_required;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let since = parameters.parsed("since", |text| {
        GivenInstant::parse(text, request.now, request.zone())
    });
    let question = question_of(request, parameters)?;
    let since = since
        .ok_or_else(|| field_required("since", "give the instant of the last poll"))?
        .instant;
    let timeline = context.timeline(&question.filters).await?;
    let look = request
        .settings
        .looks
        .look(context, &timeline, since)
        .await?;
    let step = look.recent.step(since);
    let tag = step.tag();
    if tag == request.if_none_match {
        return Ok(Screen::NotModified(tag));
    }
    let next = poll_href(request, &question, step.next_from);
    let part = html! {
        span data-next=(next) {}
        @if step.is_cut { li data-id=(CUT) { (look.recent.cut_note()) } }
        @for one in step.entries { (entry(request, one, &look.rules)) }
    };
    Ok(Screen::TaggedFragment(part, tag))
}
