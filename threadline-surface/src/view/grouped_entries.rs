//! Lists of changes by transaction.

use std::collections::BTreeMap;

use maud::{Markup, html};
use threadline_core::table::AuditedTable;
use threadline_diesel::TimelineEntry;
use threadline_diesel::query::{OpCount, TransactionSummary};
use uuid::Uuid;

use super::actor::actor;
use super::entries::entries;
use super::id::transaction_id;
use super::instant::instant;
use super::number::{count_of, number};
use crate::request::GrantedRequest;

/// The changes of a page by transaction, in the order of the first change of each.
pub(crate) fn by_transaction(page: &[TimelineEntry]) -> Vec<Vec<TimelineEntry>> {
    let mut places = BTreeMap::<Uuid, usize>::new();
    let mut groups: Vec<Vec<TimelineEntry>> = Vec::new();
    for entry in page {
        let place = *places
            .entry(entry.change.transaction_id)
            .or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(entry.clone());
    }
    groups
}

/// Transactions with their changes on the page folded. `summaries` count all of their changes.
pub(crate) fn grouped_entries(
    request: &GrantedRequest,
    groups: &[Vec<TimelineEntry>],
    summaries: &[TransactionSummary],
    rules: &[AuditedTable],
) -> Markup {
    html! {
        ul.entries aria-label="Transactions" {
            @for group in groups { (transaction(request, group, summaries, rules)) }
        }
    }
}

fn transaction(
    request: &GrantedRequest,
    group: &[TimelineEntry],
    summaries: &[TransactionSummary],
    rules: &[AuditedTable],
) -> Markup {
    let Some(first) = group.first() else {
        return html! {};
    };
    let id = first.change.transaction_id;
    let summary = summaries
        .iter()
        .find(|one| one.transaction_id.as_uuid() == id);
    let counts = summary.map_or(&[][..], |one| &one.counts);
    let total: u64 = counts.iter().map(|one| one.count).sum();
    let shown = u64::try_from(group.len()).unwrap_or_default();
    html! {
        li {
            div.line {
                (instant(request, first.change.captured_at))
                " transaction " (transaction_id(request, id))
                " " span.who { (actor(request, first.actor())) }
            }
            div.summary { @for (table, words) in by_table(counts) { span { bdi.name { (table) } " " (words) } } }
            @if let Some(action) = &first.action {
                div.links { span.action { bdi { (action.name) } } }
            }
            details {
                summary {
                    (count_of(shown, "change"))
                    @if total > shown { " of " (number(total)) " match on this page" }
                }
                (entries(request, group, rules))
            }
        }
    }
}

/// The counts of each table in words: `2 update, 1 delete`.
fn by_table(counts: &[OpCount]) -> Vec<(String, String)> {
    let mut tables: Vec<(String, String)> = Vec::new();
    for one in counts {
        let table = one.table.to_string();
        let words = format!("{} {}", number(one.count), one.op);
        match tables.last_mut() {
            Some((last, all)) if *last == table => {
                all.push_str(", ");
                all.push_str(&words);
            }
            _ => tables.push((table, words)),
        }
    }
    tables
}
