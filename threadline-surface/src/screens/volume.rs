//! The volume of a timeline, as a part of its page.

use chrono::TimeDelta;
use maud::{Markup, html};
use threadline_diesel::{Timeline, first_change, volume, volume_by, volume_grid};

use crate::page::Screen;
use crate::page_error::PageError;
use crate::question::TimelineQuestion;
use crate::request::PageContext;
use crate::screens::timeline::question_of;
use crate::view::chart::{bar_count, chart, chart_choices};
use crate::view::group_chart::group_chart;
use crate::view::heat_strip::heat_strip;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let question = question_of(context.request, context.request.parameters())?;
    let timeline = context.timeline(&question.filters).await?;
    Ok(Screen::Fragment(
        volume_chart(context, &question, &timeline).await?,
    ))
}

/// The chart of a timeline: by a column, or over time from its first change if the window has no start.
pub(crate) async fn volume_chart(
    context: &mut PageContext<'_>,
    question: &TimelineQuestion,
    timeline: &Timeline,
) -> Result<Markup, PageError> {
    let column = question.chart_by.column();
    if let Some(column) = column.filter(|_| !question.chart_by.is_over_time()) {
        let volume = volume_by(context.conn, timeline, column).await?;
        return Ok(group_chart(context.request, question, &volume));
    }
    let filters = &question.filters;
    let from = match &filters.from {
        Some(from) => Some(from.instant),
        None => first_change(context.conn, timeline.clone())
            .await?
            .map(|entry| entry.change.captured_at),
    };
    let to = filters.to.as_ref().map(|to| to.instant);
    // The window of a timeline includes its end, that of a volume does not.
    let to = to.unwrap_or(context.request.now) + TimeDelta::microseconds(1);
    let Some(from) = from.filter(|from| to - *from > TimeDelta::seconds(1)) else {
        return Ok(html! {
            p.note { "This window is too short for a chart by time." }
            (chart_choices(context.request, question))
        });
    };
    let bars = bar_count(from, to);
    if let Some(column) = column {
        let grid = volume_grid(context.conn, timeline, column, from, to, bars).await?;
        return Ok(heat_strip(context.request, question, &grid));
    }
    let buckets = volume(context.conn, timeline, from, to, bars).await?;
    Ok(chart(context.request, question, &buckets))
}
