//! The number of changes of a timeline, as a part of its page.

use maud::{Markup, html};
use threadline_diesel::query::ChangeCount;
use threadline_diesel::{Timeline, count_changes};

use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::PageContext;
use crate::screens::timeline::question_of;
use crate::view::number::{count_of, number};

/// The number up to which changes are counted.
const CAP: u32 = 10_000;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let question = question_of(context.request, context.request.parameters())?;
    let timeline = context.timeline(&question.filters).await?;
    Ok(Screen::Fragment(count(context, &timeline).await?))
}

/// The number of changes of a timeline, in words.
pub(crate) async fn count(
    context: &mut PageContext<'_>,
    timeline: &Timeline,
) -> Result<Markup, PageError> {
    Ok(match count_changes(context.conn, timeline, CAP).await? {
        ChangeCount::Exact(count) => html! { (count_of(count, "change")) },
        ChangeCount::AtLeast(count) => html! { (number(count)) "+ changes" },
    })
}
