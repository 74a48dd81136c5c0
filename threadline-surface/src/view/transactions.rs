//! Lists of transactions.

use maud::{Markup, html};
use threadline_diesel::AuditTransaction;
use threadline_diesel::query::TransactionSummary;

use super::actor::actor;
use super::id::{correlation_id, transaction_id};
use super::instant::instant;
use crate::request::GrantedRequest;
use crate::view::id::linked;

/// Transactions as a list, with what they changed.
pub(crate) fn transactions(
    request: &GrantedRequest,
    transactions: &[AuditTransaction],
    summaries: &[TransactionSummary],
) -> Markup {
    html! {
        ul.entries aria-label="Transactions" {
            @for one in transactions { (transaction(request, one, summaries)) }
        }
    }
}

/// A transaction as an entry of a list.
pub(crate) fn transaction(
    request: &GrantedRequest,
    transaction: &AuditTransaction,
    summaries: &[TransactionSummary],
) -> Markup {
    let summary = summary_of(summaries, transaction.id);
    html! {
        li {
            div.line {
                (instant(request, transaction.occurred_at))
                " " span.table { "transaction" }
                " " (transaction_id(request, transaction.id))
                " " span.who {
                    (actor(request, transaction.actor.as_ref()))
                    @if let Some(represented) = &transaction.on_behalf_of {
                        " for " (actor(request, Some(represented)))
                    }
                }
            }
            @if let Some(summary) = summary { div.summary { (op_counts(summary)) } }
            div.links {
                @if let Some(source) = &transaction.context.source {
                    span { "source " bdi { (source) } }
                }
                (context_links(
                    request,
                    transaction.correlation_id.as_deref(),
                    transaction.request_id.as_deref(),
                    transaction.job_id.as_deref(),
                ))
                span { "db user " bdi { (transaction.db_user) } }
            }
        }
    }
}

/// The summary of a transaction.
pub(crate) fn summary_of(
    summaries: &[TransactionSummary],
    transaction: uuid::Uuid,
) -> Option<&TransactionSummary> {
    summaries
        .iter()
        .find(|one| one.transaction_id.as_uuid() == transaction)
}

/// The numbers of changes by table and operation.
pub(crate) fn op_counts(summary: &TransactionSummary) -> Markup {
    html! {
        @for count in &summary.counts {
            span { bdi { (count.table) } " " span.name { (count.op) " " (count.count) } }
        }
        @if summary.truncated { span.note { "and more" } }
    }
}

/// The links from a correlation, a request and a job to what else belongs to it.
pub(crate) fn context_links(
    request: &GrantedRequest,
    correlation: Option<&str>,
    request_id: Option<&str>,
    job: Option<&str>,
) -> Markup {
    let of = |filter: &str, id: &str| {
        let timeline = request.screen("timeline");
        linked(timeline.map(|href| href.with(filter, id)), id)
    };
    html! {
        @if let Some(id) = correlation { span { "correlation " (correlation_id(request, id)) } }
        @if let Some(id) = request_id { span { "request " (of("request", id)) } }
        @if let Some(id) = job { span { "job " (of("job", id)) } }
    }
}
