//! A correlation: its transactions, actions and changes on one clock, with their requests and jobs.

mod lists;

use std::collections::BTreeMap;

use maud::{Markup, html};
use threadline_core::context::ContextId;
use threadline_core::table::AuditedTable;
use threadline_diesel::documents::CorrelationDocument;
use threadline_diesel::query::TransactionSummary;
use threadline_diesel::{Correlation, correlation, explain_empty};

use self::lists::{Item, Lists, hide_console, read};
use crate::access::Capability;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::question::{Paging, Window};
use crate::request::{GrantedRequest, PageContext};
use crate::view::actions::action;
use crate::view::completeness::{completeness_note, read_captured};
use crate::view::entries::entry;
use crate::view::id::linked;
use crate::view::instant::instant;
use crate::view::number::count_of;
use crate::view::states::{empty_state, explanations, field_required};
use crate::view::transactions::transaction;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let id = parameters.value::<ContextId>("correlation");
    let paging = Paging::take(&mut parameters);
    if paging.has_cursor() {
        parameters.reject("after", "", "the page of a correlation has no second page");
    }
    parameters.finish()?;
    let id = id
        .ok_or_else(|| field_required("correlation", "give the id of a correlation: order-7002"))?;
    let query = request.scoped(Correlation::new(id.clone()), Correlation::scope);
    let query = query.page_size(paging.size());
    if request.wants_json() {
        return document(context, &query).await;
    }
    let lists = read(context, &query).await?;
    let facts = read_captured(context, &Window::default()).await?;
    let answer = if lists.is_empty() {
        empty(context, &query).await?
    } else {
        let ids = (lists.transactions.entries.iter().map(|one| one.id))
            .chain(lists.actions().map(|one| one.transaction_id));
        let summaries = context.summaries(ids).await?;
        let rules = context.rules().await?;
        html! {
            (head(request, &id, &lists))
            (merged(request, &lists, &summaries, &rules))
            (rest(request, &id, &lists))
        }
    };
    let body = html! { (completeness_note(request, &facts)) (answer) };
    Ok(Page::new(format!("Correlation {id}"), body)
        .terminal(terminal(&id))
        .into())
}

/// The document of `correlation --json`.
async fn document(context: &mut PageContext<'_>, query: &Correlation) -> Result<Screen, PageError> {
    if !context.request.allows(Capability::Values) {
        return Err(PageError::Forbidden(Capability::Values));
    }
    let mut bundle = correlation(context.conn, query).await?;
    hide_console(context.request, &mut bundle.actions.entries);
    Screen::json(&CorrelationDocument::from(&bundle))
}

/// The numbers of entries, the time that they span, and the requests and jobs.
fn head(request: &GrantedRequest, id: &ContextId, lists: &Lists) -> Markup {
    let items = lists.merged();
    let actions = lists.actions.as_ref();
    let actions = actions.map(|actions| format!("{}, ", count(actions, "action")));
    html! {
        p.headline {
            (count(&lists.transactions, "transaction")) ", "
            @if let Some(actions) = actions { (actions) }
            (count(&lists.changes, "change"))
            @if let (Some(last), Some(first)) = (items.first(), items.last()) {
                ", from " (instant(request, first.at())) " to " (instant(request, last.at()))
            }
        }
        @if lists.actions.is_none() { p.note { "Actions are not part of your scope." } }
        (lanes(request, id, lists))
    }
}

/// The number of entries, with a plus if there are more.
fn count<T>(page: &threadline_diesel::Page<T>, thing: &str) -> String {
    let entries = page.entries.len();
    if page.has_more() {
        format!("{entries}+ {thing}s")
    } else {
        count_of(u64::try_from(entries).unwrap_or(u64::MAX), thing)
    }
}

/// The requests and jobs of a correlation, with the number of their transactions and actions.
fn lanes(request: &GrantedRequest, id: &ContextId, lists: &Lists) -> Markup {
    let mut lanes: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for one in &lists.transactions.entries {
        for key in ids(one.request_id.as_deref(), one.job_id.as_deref()) {
            lanes.entry(key).or_default().0 += 1;
        }
    }
    for one in lists.actions() {
        for key in ids(one.request_id.as_deref(), one.job_id.as_deref()) {
            lanes.entry(key).or_default().1 += 1;
        }
    }
    html! {
        @if !lanes.is_empty() {
            h2 { "Requests and jobs" }
            div.scroll tabindex="0" role="region" aria-label="Requests and jobs" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Kind" }
                            th scope="col" { "Id" }
                            th.number scope="col" { "Transactions" }
                            th.number scope="col" { "Actions" }
                        }
                    }
                    tbody {
                        @for ((kind, lane), (transactions, actions)) in &lanes {
                            @let timeline = request.screen("timeline");
                            tr {
                                td { (kind) }
                                th scope="row" {
                                    (linked(timeline.map(|href| href.with("correlation", id).with(kind, lane)), lane))
                                }
                                td.number { (transactions) }
                                td.number { (actions) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn ids<'a>(
    request_id: Option<&'a str>,
    job: Option<&'a str>,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let request_id = request_id.map(|id| ("request", id));
    request_id.into_iter().chain(job.map(|id| ("job", id)))
}

/// All entries on one clock.
fn merged(
    request: &GrantedRequest,
    lists: &Lists,
    summaries: &[TransactionSummary],
    rules: &[AuditedTable],
) -> Markup {
    html! {
        h2 { "On one clock, newest first" }
        ul.entries aria-label="Transactions, actions and changes" {
            @for item in lists.merged() {
                @match item {
                    Item::Transaction(one) => (transaction(request, one, summaries)),
                    Item::Action(one) => (action(request, one, summaries)),
                    Item::Change(one) => (entry(request, one, rules)),
                }
            }
        }
    }
}

/// Links to the entries that the merged list leaves out.
fn rest(request: &GrantedRequest, id: &ContextId, lists: &Lists) -> Markup {
    let has_more = lists.transactions.has_more()
        || lists.changes.has_more()
        || lists
            .actions
            .as_ref()
            .is_some_and(threadline_diesel::Page::has_more);
    let of = |screen: &str| {
        request
            .screen(screen)
            .map(|href| href.with("correlation", id))
    };
    html! {
        @if has_more {
            p.note { "There are older entries than these. Each list alone has them all:" }
            div.buttons {
                @if let Some(href) = of("timeline") { a.button href=(href) { "All changes" } }
                @if let Some(href) = of("actions").filter(|_| lists.actions.is_some()) {
                    a.button href=(href) { "All actions" }
                }
                @if let Some(href) = of("correlation") { a.button href=(href.with("limit", 200)) { "More of all" } }
            }
        }
    }
}

async fn empty(context: &mut PageContext<'_>, query: &Correlation) -> Result<Markup, PageError> {
    let request = context.request;
    let reasons = explain_empty(context.conn, query).await?;
    Ok(empty_state(
        "No records with this correlation",
        &html! {
            @if request.scope().is_some() {
                p { "No transaction, change or action with this correlation is recorded in your scope, at any time." }
            }
            (explanations(request, &reasons))
            @if let Some(find) = request.screen("find") {
                p { "If it is another id, " a href=(find) { "find" } " tries it as a request, job, transaction and key." }
            }
        },
    ))
}

fn terminal(id: &ContextId) -> Terminal {
    let text = id.as_str();
    let literal = text.replace('\'', "''");
    Terminal::command(["correlation", text])
        .sql(format!(
            "SELECT * FROM threadline.audit_timeline WHERE correlation_id = '{literal}' ORDER BY id DESC LIMIT 50;"
        ))
        .rust(format!(
            "threadline::correlation(&mut conn, &Correlation::new({text:?}.parse()?)).await?"
        ))
}
