//! Retention: policies, runs and removals.

use maud::{Markup, html};
use threadline_core::retention::{LastImages, RetentionPolicy};
use threadline_diesel::query::{Removal, RemovalTarget};
use threadline_diesel::retention::{RetentionError, RetentionRun, RunState};

use super::id::{linked, transaction_id};
use super::instant::instant;
use super::number::{count_of, number};
use super::states::empty_state;
use crate::page_error::PageError;
use crate::request::GrantedRequest;

impl From<RetentionError> for PageError {
    fn from(error: RetentionError) -> Self {
        match error {
            RetentionError::Database(error) => error.into(),
            _ => Self::Internal("retention"),
        }
    }
}

/// A count of the trail, which is never negative.
pub(crate) fn rows(count: i64) -> String {
    number(u64::try_from(count).unwrap_or_default())
}

/// A policy in sentences.
pub(crate) fn policy_sentences(policy: &RetentionPolicy) -> Markup {
    html! {
        ul {
            li {
                "Changes are kept for " strong { (policy.changes()) }
                @for rule in policy.tables() { "; those of " bdi { (rule.table) } " for " strong { (rule.keep) } }
                "."
            }
            li {
                @match policy.transactions() {
                    None => "A transaction is removed with its last change.",
                    Some(keep) => { "A transaction is kept for " strong { (keep) } ", and as long as it has changes." }
                }
            }
            li {
                "Actions are kept for " strong { (policy.actions()) }
                @if policy.actions_expire_first() { ", less than some of the changes that they explain" }
                "."
            }
            li {
                @match policy.last_images() {
                    LastImages::Kept => "A row whose last record is removed gets a baseline with its last image.",
                    _ => "The last image of a row is removed like its other records.",
                }
            }
            li {
                @if policy.is_enabled() {
                    "Purges are enabled."
                } @else {
                    span.token.warning { "not enabled" } " A purge is refused."
                }
            }
        }
    }
}

/// The state of a run.
pub(crate) fn run_state(run: &RetentionRun) -> Markup {
    let is_error = run.state == RunState::Failed;
    let is_warning = matches!(run.state, RunState::Abandoned | RunState::Stopped);
    html! { span.badge.error[is_error].warning[is_warning] { (run.state.as_str()) } }
}

/// Runs as a table, linked to their pages.
pub(crate) fn run_table(request: &GrantedRequest, runs: &[RetentionRun]) -> Markup {
    if runs.is_empty() {
        let advice = html! {
            p { "A purge is recorded here with what it removed. Without purges, nothing was removed by retention." }
        };
        return empty_state("No purge has run", &advice);
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Runs" {
            table {
                thead {
                    tr {
                        th scope="col" { "Run" }
                        th scope="col" { "State" }
                        th scope="col" { "Started" }
                        th scope="col" { "By" }
                        th.number scope="col" { "Changes" }
                        th.number scope="col" { "Transactions" }
                        th.number scope="col" { "Actions" }
                        th.number scope="col" { "Partitions" }
                    }
                }
                tbody { @for run in runs { (run_row(request, run)) } }
            }
        }
    }
}

fn run_row(request: &GrantedRequest, run: &RetentionRun) -> Markup {
    let href = request.href("/retention/runs").with("run", run.id);
    html! {
        tr {
            th scope="row" { (linked(Some(href), &run.id.to_string())) }
            td {
                (run_state(run))
                @if let Some(failure) = &run.failure { div.note { bdi { (failure) } } }
                @if !run.postponed.is_empty() {
                    div.note { (run.postponed.len()) " postponed" }
                }
            }
            td { (instant(request, run.started_at)) }
            td { bdi { (run.started_by) } }
            td.number { (rows(run.changes)) }
            td.number { (rows(run.transactions)) }
            td.number { (rows(run.actions)) }
            td.number { (rows(run.partitions)) }
        }
    }
}

/// Removals by retention and erasures of values.
pub(crate) fn removal_list(request: &GrantedRequest, removals: &[Removal]) -> Markup {
    if removals.is_empty() {
        let advice =
            html! { p { "Removals by retention and erasures of values are recorded here." } };
        return empty_state("Nothing was removed or erased", &advice);
    }
    html! {
        ul.entries aria-label="Removals" {
            @for one in removals { (removal(request, one)) }
        }
    }
}

fn removal(request: &GrantedRequest, removal: &Removal) -> Markup {
    html! {
        li {
            div.line {
                (instant(request, removal.removed_at))
                @if let Some(count) = removal.change_count {
                    " " strong { (count_of(u64::try_from(count).unwrap_or_default(), "change")) }
                }
                " " span.who { "by " bdi { (removal.removed_by) } }
            }
            p { (target(request, &removal.target)) }
            div.links {
                span { bdi { (removal.reason) } }
                span { "transaction " (transaction_id(request, removal.transaction_id)) }
            }
        }
    }
}

fn target(request: &GrantedRequest, target: &RemovalTarget) -> Markup {
    match target {
        RemovalTarget::Retention { cutoffs } => html! {
            @if cutoffs.is_empty() { "Removed transactions or actions." } @else { "Removed changes of " }
            @for (place, cutoff) in cutoffs.iter().enumerate() {
                @if place > 0 { ", " }
                bdi { (cutoff.table) } " before " (instant(request, cutoff.before))
            }
        },
        RemovalTarget::Erasure {
            table,
            row_key,
            columns,
        } => html! {
            "Erased values of " bdi { (columns.join(", ")) } " of " bdi { (table) } " " bdi { (row_key) }
        },
        RemovalTarget::PersonErasure { records, fields } => html! {
            "Erased " bdi { (fields.join(", ")) } " of " bdi { (records) } " of a person"
        },
        _ => html! { "Removed records." },
    }
}
