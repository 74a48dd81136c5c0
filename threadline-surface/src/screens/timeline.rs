//! The timeline: changes across tables, filtered, paged, grouped or followed.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use threadline_core::table::{AuditedTable, TableName};
use threadline_core::transaction::AuditTransactionId;
use threadline_diesel::documents::{EntryDocument, PageDocument};
use threadline_diesel::follow::follow_start;
use threadline_diesel::query::TransactionSummaries;
use threadline_diesel::{Timeline, TimelineEntry, timeline, transaction_summaries};

use super::count::count;
use super::volume::volume_chart;
use crate::access::Capability;
use crate::page::{Page, Screen};
use crate::page_error::PageError;
use crate::preferences::Density;
use crate::question::{
    ChangeFilters, GivenInstant, Parameters, TimelineQuestion, instant_text, timeline_terminal,
};
use crate::request::{GrantedRequest, PageContext};
use crate::view::chips::chips;
use crate::view::completeness::{self, completeness_note};
use crate::view::downloads::downloads;
use crate::view::empty_answer::empty_timeline;
use crate::view::entries::entries;
use crate::view::filter_form::filter_form;
use crate::view::followed::{REFRESH_SECONDS, RecentChanges, follow_bar, followed_list};
use crate::view::grouped_entries::{by_transaction, grouped_entries};
use crate::view::pager::pager;
use crate::view::saved_views::save_view;
use crate::view::window::window_links;

/// What the page shows beside the list.
#[derive(Debug, Clone, Copy, Default)]
struct Display {
    follow: Option<Follow>,
    count: bool,
    volume: bool,
}

/// Whether the page follows: `follow=true`, or since an instant.
#[derive(Debug, Clone, Copy)]
enum Follow {
    Start,
    Since(DateTime<Utc>),
}

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    match answer(context).await {
        Err(PageError::Invalid(errors)) if !context.request.wants_json() => {
            let body = filter_form(context.request, &errors, &[]);
            Ok(Page::new("Timeline", body)
                .status(StatusCode::UNPROCESSABLE_ENTITY)
                .into())
        }
        outcome => outcome,
    }
}

async fn answer(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let display = Display::take(&mut parameters, request);
    let question = question_of(request, parameters)?;
    if let Some(Follow::Start) = display.follow {
        // A page of its own snapshot, which is later: a change is on that page, or is captured afterwards, or
        // belongs to a transaction that runs now.
        let since = follow_start(context.conn).await?;
        let list = question.list(request.href("/timeline"));
        return Ok(Screen::Redirect(list.with("follow", instant_text(since))));
    }
    let whole = context.timeline(&question.filters).await?;
    let query = question.paging.apply(
        whole.clone(),
        Timeline::page_size,
        Timeline::after,
        Timeline::before,
    );
    let page = timeline(context.conn, &query).await?;
    if request.wants_json() {
        return if request.allows(Capability::Values) {
            Screen::json(&PageDocument::<EntryDocument<'_>>::new(&page))
        } else {
            Err(PageError::Forbidden(Capability::Values))
        };
    }
    let rules = context.rules().await?;
    let note = note(context, &question.filters, &rules).await?;
    let is_empty = page.entries.is_empty() && !question.paging.has_cursor();
    let (count, volume) = if is_empty {
        (html! {}, html! {})
    } else {
        (
            count_part(context, &question, &whole, display.count).await?,
            volume_part(context, &question, &whole, display.volume).await?,
        )
    };
    let following = match display.follow {
        Some(Follow::Since(since)) => Some(RecentChanges::read(context, &whole, since).await?),
        _ => None,
    };
    let list = if let Some(following) = &following {
        followed_list(request, &question, &page.entries, following, &rules)
    } else if page.entries.is_empty() {
        empty_timeline(context, &question, &whole).await
    } else if question.is_grouped {
        grouped_list(context, &page.entries, &rules).await?
    } else {
        entries(request, &page.entries, &rules)
    };
    let pages = question.fixed_list(request.href("/timeline"), request.now);
    let body = html! {
        (note)
        (filter_form(request, &[], &rules))
        div.bar {
            (window_links(request, &question))
            (links(request, &question, following.is_some()))
        }
        (chips(request, &question))
        (volume)
        p id="count" { (count) }
        @if let Some(following) = &following { (follow_bar(request, &question, following)) }
        (list)
        @if following.is_none() { (pager(&pages, &page)) }
    };
    let page = Page::new("Timeline", body)
        .terminal(timeline_terminal(&question.filters, following.is_some()));
    Ok(match following {
        Some(_) => page.refresh(REFRESH_SECONDS).into(),
        None => page.into(),
    })
}

impl Display {
    fn take(parameters: &mut Parameters, request: &GrantedRequest) -> Self {
        let follow = parameters.parsed("follow", |text| match text {
            "true" => Ok(Follow::Start),
            _ => GivenInstant::parse(text, request.now, request.zone())
                .map(|since| Follow::Since(since.instant)),
        });
        for name in ["after", "before", "to", "group"] {
            if follow.is_some() && parameters.has(name) {
                let message = "a list that is followed is not paged, not grouped, and has no end";
                parameters.reject(name, "", message);
            }
        }
        Self {
            follow,
            count: parameters.flag("count"),
            volume: parameters.flag("volume"),
        }
    }
}

/// The timeline of an address, whose other parameters are taken. A search in values needs their capability.
pub(crate) fn question_of(
    request: &GrantedRequest,
    mut parameters: Parameters,
) -> Result<TimelineQuestion, PageError> {
    let question = TimelineQuestion::take(&mut parameters, request.now, request.zone());
    parameters.finish()?;
    if question.filters.fields.scan_values.is_some() && !request.allows(Capability::Values) {
        return Err(PageError::Forbidden(Capability::Values));
    }
    Ok(question)
}

/// The completeness of the trail of the table, or of all captured tables, in the window.
async fn note(
    context: &mut PageContext<'_>,
    filters: &ChangeFilters,
    rules: &[AuditedTable],
) -> Result<Markup, PageError> {
    let is_wanted = |table: &&TableName| {
        let mut schema = filters.fields.schema.iter();
        schema.all(|schema| table.schema() == schema)
    };
    let tables: Vec<TableName> = match &filters.fields.table {
        Some(table) => vec![table.clone()],
        None => rules
            .iter()
            .map(AuditedTable::name)
            .filter(is_wanted)
            .cloned()
            .collect(),
    };
    let instant = |given: &Option<GivenInstant>| given.as_ref().map(|given| given.instant);
    let (from, to) = (instant(&filters.from), instant(&filters.to));
    let facts = completeness::read_tables(context, &tables, from, to).await?;
    Ok(completeness_note(context.request, &facts))
}

/// The number of changes: the part loads it, and the link for browsers without the script.
async fn count_part(
    context: &mut PageContext<'_>,
    question: &TimelineQuestion,
    timeline: &Timeline,
    is_wanted: bool,
) -> Result<Markup, PageError> {
    if is_wanted {
        return count(context, timeline).await;
    }
    let request = context.request;
    let part = question.list(request.href("/parts/count"));
    let link = question
        .list(request.href("/timeline"))
        .with("count", "true");
    Ok(html! { span data-fragment=(part) { a href=(link) { "Count" } } })
}

/// The chart, in the same way.
async fn volume_part(
    context: &mut PageContext<'_>,
    question: &TimelineQuestion,
    timeline: &Timeline,
    is_wanted: bool,
) -> Result<Markup, PageError> {
    if is_wanted {
        return volume_chart(context, question, timeline).await;
    }
    let request = context.request;
    let part = question.list(request.href("/parts/volume"));
    let link = question
        .list(request.href("/timeline"))
        .with("volume", "true");
    Ok(html! { div.volume data-fragment=(part) { a href=(link) { "Chart of the volume" } } })
}

/// The links to the same list in other forms.
fn links(request: &GrantedRequest, question: &TimelineQuestion, is_following: bool) -> Markup {
    let other = |is_grouped: bool| {
        let other = TimelineQuestion {
            is_grouped,
            ..question.clone()
        };
        other.list(request.href("/timeline"))
    };
    let can_follow = question.filters.to.is_none();
    html! {
        div.buttons {
            @if is_following {
                a.button href=(other(false)) data-key="f" { "Stop" }
            } @else {
                @if can_follow {
                    a.button href=(other(false).with("follow", "true")) data-key="f" { "Follow" }
                }
                @if question.is_grouped {
                    a.button href=(other(false)) { "By change" }
                } @else {
                    a.button href=(other(true)) { "By transaction" }
                }
            }
            (density_button(request))
            (downloads(request, &question.filters))
            (save_view(request, question))
            @if let Some(report) = request.screen("report") {
                a.button href=(report.with_all(question.filters.fixed().pairs())) { "Report" }
            }
        }
    }
}

/// A button that stores the other density and returns here.
fn density_button(request: &GrantedRequest) -> Markup {
    let (other, label) = match request.preferences.density {
        Density::Comfortable => (Density::Compact, "Compact"),
        Density::Compact => (Density::Comfortable, "Comfortable"),
    };
    html! {
        form method="post" action=(request.href("/preferences")) {
            input type="hidden" name="back" value=(request.address());
            button type="submit" name="density" value=(other.as_str()) { (label) }
        }
    }
}

async fn grouped_list(
    context: &mut PageContext<'_>,
    entries: &[TimelineEntry],
    rules: &[AuditedTable],
) -> Result<Markup, PageError> {
    let request = context.request;
    let groups = by_transaction(entries);
    let first = groups.iter().filter_map(|group| group.first());
    let ids = first.map(|entry| AuditTransactionId::from(entry.change.transaction_id));
    let query = TransactionSummaries::new(ids);
    let query = match request.scope() {
        Some(scope) => query.scope(scope),
        None => query,
    };
    let summaries = transaction_summaries(context.conn, &query).await?;
    Ok(grouped_entries(request, &groups, &summaries, rules))
}
