//! Lists of actions.

use maud::{Markup, html};
use threadline_diesel::AuditAction;
use threadline_diesel::query::TransactionSummary;

use super::actor::actor;
use super::id::transaction_id;
use super::instant::instant;
use super::transactions::{context_links, op_counts, summary_of};
use crate::request::GrantedRequest;

/// Actions as a list, with what their transactions changed.
pub(crate) fn actions(
    request: &GrantedRequest,
    actions: &[AuditAction],
    summaries: &[TransactionSummary],
) -> Markup {
    html! {
        ul.entries aria-label="Actions" {
            @for one in actions { (action(request, one, summaries)) }
        }
    }
}

/// An action as an entry of a list.
pub(crate) fn action(
    request: &GrantedRequest,
    action: &AuditAction,
    summaries: &[TransactionSummary],
) -> Markup {
    html! {
        li {
            div.line {
                (instant(request, action.recorded_at))
                " " (status(&action.status))
                " " span.table { bdi { (action.name) } }
                " " span.who {
                    (actor(request, action.actor.as_ref()))
                    @if let Some(represented) = &action.on_behalf_of {
                        " for " (actor(request, Some(represented)))
                    }
                }
            }
            (reasons(action))
            (effect(request, action, summaries))
            div.links {
                @if let Some(category) = &action.category { span { "category " bdi { (category) } } }
                @if let Some(verb) = &action.verb { span { "verb " bdi { (verb) } } }
                (context_links(
                    request,
                    action.correlation_id.as_deref(),
                    action.request_id.as_deref(),
                    action.job_id.as_deref(),
                ))
            }
            @if let Some(meta) = &action.meta {
                details { summary { "Fields" } pre tabindex="0" { code { bdi { (meta) } } } }
            }
        }
    }
}

/// The status: `ok` or `error`, or what the writer stored.
fn status(status: &str) -> Markup {
    html! {
        @if status == "error" {
            span.badge.error { "error" }
        } @else {
            span.badge { bdi { (status) } }
        }
    }
}

/// Why it was done, as the application says.
fn reasons(action: &AuditAction) -> Markup {
    html! {
        @if action.reason.is_some() || action.comment.is_some() {
            div.summary {
                @if let Some(reason) = &action.reason {
                    span { span.name { "reason " } bdi { (reason) } }
                }
                @if let Some(comment) = &action.comment {
                    span { span.name { "comment " } q { bdi { (comment) } } }
                }
            }
        }
    }
}

/// What the transaction of an action changed.
fn effect(
    request: &GrantedRequest,
    action: &AuditAction,
    summaries: &[TransactionSummary],
) -> Markup {
    let changed = summary_of(summaries, action.transaction_id);
    let changed = changed.filter(|one| !one.counts.is_empty());
    html! {
        div.summary {
            @match changed {
                Some(summary) => {
                    (op_counts(summary))
                    span { span.name { "transaction " } (transaction_id(request, action.transaction_id)) }
                }
                None if request.scope().is_some() => { span.note { "changed nothing in your scope" } }
                None => { span.note { "changed nothing" } }
            }
        }
    }
}
