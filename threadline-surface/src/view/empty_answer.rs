//! Lists without entries: why, and what to do next.

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::SimpleAsyncConnection;
use maud::{Markup, html};
use threadline_diesel::query::{EmptyReason, Nearest, NearestChanges};
use threadline_diesel::{Timeline, TimelineEntry, explain_empty, nearest_changes};

use super::instant::instant;
use super::states::{self, empty_state};
use crate::href::Href;
use crate::page_error::PageError;
use crate::question::{GivenInstant, TimelineQuestion};
use crate::request::{GrantedRequest, PageContext};

/// The time for each statement of an explanation, which the page can do without.
const LIMIT: &str = "SET LOCAL statement_timeout = '500ms'";

/// The time before and after the nearest change that a link shows.
const AROUND: TimeDelta = TimeDelta::hours(1);

/// Says why a timeline is empty. It must be the last to read, because an error ends the transaction.
pub(crate) async fn empty_timeline(
    context: &mut PageContext<'_>,
    question: &TimelineQuestion,
    timeline: &Timeline,
) -> Markup {
    let request = context.request;
    let reasons = read(context, timeline).await.unwrap_or_default();
    let has_filters = !question.filters.pairs().is_empty();
    if !has_filters && request.scope().is_none() {
        let coverage = request.screen("coverage");
        return empty_state(
            "No changes yet",
            &html! {
                p {
                    "The first change of a captured table appears here. "
                    @if let Some(href) = coverage { a href=(href) { "Which tables are captured" } }
                }
            },
        );
    }
    empty_state(
        "No changes match",
        &html! {
            @for reason in &reasons { (explanation(request, question, reason)) }
            @if has_filters {
                p { a href=(request.href("/timeline")) { "All changes" } }
            }
        },
    )
}

async fn read(
    context: &mut PageContext<'_>,
    timeline: &Timeline,
) -> Result<Vec<EmptyReason>, PageError> {
    context.conn.batch_execute(LIMIT).await?;
    if context.request.scope().is_none() {
        return Ok(explain_empty(context.conn, timeline).await?);
    }
    // The nearest changes are those of the scope. Other reasons would tell what it hides.
    let nearest = nearest_changes(context.conn, timeline).await?;
    Ok(if nearest.is_empty() {
        Vec::new()
    } else {
        vec![EmptyReason::NearestChanges(Box::new(nearest))]
    })
}

fn explanation(
    request: &GrantedRequest,
    question: &TimelineQuestion,
    reason: &EmptyReason,
) -> Markup {
    match reason {
        EmptyReason::NearestChanges(nearest) => nearest_links(request, question, nearest),
        EmptyReason::UnknownTable { similar, .. } if !similar.is_empty() => html! {
            p { "There is no such table, and no changes are recorded for one. Similar tables:" }
            ul {
                @for table in similar {
                    li { a href=(request.href("/timeline").with("table", table)) { bdi { (table) } } }
                }
            }
        },
        other => states::explanation(request, other),
    }
}

fn nearest_links(
    request: &GrantedRequest,
    question: &TimelineQuestion,
    nearest: &NearestChanges,
) -> Markup {
    let Nearest { before, after, .. } = nearest;
    let link = |text: &str, entry: &Option<TimelineEntry>| {
        html! {
            @if let Some(entry) = entry {
                @let at = entry.change.captured_at;
                li { (text) " " a href=(around(request, question, at)) { (instant(request, at)) } }
            }
        }
    };
    html! {
        p { "There are changes outside of this window:" }
        ul {
            (link("the last one before it", before))
            (link("the first one after it", after))
        }
    }
}

/// The timeline around an instant.
fn around(request: &GrantedRequest, question: &TimelineQuestion, at: DateTime<Utc>) -> Href {
    let from = at.checked_sub_signed(AROUND).map(GivenInstant::at);
    let to = at.checked_add_signed(AROUND).map(GivenInstant::at);
    question.with_window(request.href("/timeline"), from, to)
}
