//! One transaction: what it changed, by whom, and what happened around it.

mod completeness;
mod restore;
mod summary;

use threadline_core::table::AuditedTable;
use threadline_core::transaction::AuditTransactionId;
use threadline_diesel::documents::IncidentDocument;
use threadline_diesel::query::diff::ChangeDiff;
use threadline_diesel::query::{ChangeById, TransactionChanges, TransactionSummaries};
use threadline_diesel::{
    Actions, AuditAction, Incident, PageSize, change, incident, transaction, transaction_summaries,
};

use chrono::TimeDelta;
use maud::{Markup, html};

use self::summary::{op_counts, summary_line};
use crate::access::Capability;
use crate::href::Href;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::question::{GivenInstant, Paging, Parameters};
use crate::request::{GrantedRequest, PageContext};
use crate::view::actor::actor;
use crate::view::context_facts::{claimed_facts, known_facts};
use crate::view::entries::{entry_of_diff, folded_diff};
use crate::view::facts::{Fact, facts};
use crate::view::id::copied;
use crate::view::instant::instant;
use crate::view::pager::oldest_first_pager;
use crate::view::states::{empty_state, field_required};

/// The number of changes of a page.
const PAGE_CHANGES: u32 = 200;

/// The number of actions of a page.
const PAGE_ACTIONS: u32 = 100;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let given = parameters.parsed("id", GivenId::parse);
    let paging = Paging::take(&mut parameters).default_size(PageSize::new(PAGE_CHANGES)?);
    let with_restore = parameters.flag("restore");
    finish(parameters, with_restore, request)?;
    let given = given
        .ok_or_else(|| field_required("id", "give the id of a transaction or of a change of it"))?;
    let id = transaction_of(context, given).await?;
    let query = paging.apply(
        Incident::new(id),
        Incident::page_size,
        Incident::after,
        Incident::before,
    );
    let query = match request.scope() {
        Some(scope) => query.scope(scope),
        None => query,
    };
    let rules = context.rules().await?;
    if request.wants_json() {
        return document(context, query, &rules).await;
    }
    let found = transaction(context.conn, query)
        .await?
        .ok_or(PageError::NotFound)?;
    let body = page(context, &found, &rules, with_restore, &paging).await?;
    let text = id.to_string();
    Ok(Page::new(format!("Transaction {text}"), body)
        .terminal(
            Terminal::command(["incident", &text])
                .sql(format!(
                    "SELECT * FROM threadline.audit_timeline WHERE transaction_id = '{text}' ORDER BY id;"
                ))
                .rust(format!(
                    "threadline::incident(&mut conn, Incident::new(\"{text}\".parse()?)).await?"
                )),
        )
        .into())
}

fn finish(
    mut parameters: Parameters,
    with_restore: bool,
    request: &GrantedRequest,
) -> Result<(), PageError> {
    if with_restore && request.wants_json() {
        parameters.reject("restore", "true", "the document has no restore statements");
    }
    parameters.finish()
}

/// The id of a transaction, or of one of its changes.
#[derive(Clone, Copy)]
enum GivenId {
    Transaction(AuditTransactionId),
    Change(i64),
}

impl GivenId {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Change(id));
        }
        text.parse().map(Self::Transaction).map_err(|_| {
            "write the id of a transaction, 000303c4-…, or of a change, 1234".to_owned()
        })
    }
}

/// The transaction with a given id. A change outside of the scope is not found.
async fn transaction_of(
    context: &mut PageContext<'_>,
    given: GivenId,
) -> Result<AuditTransactionId, PageError> {
    let id = match given {
        GivenId::Transaction(id) => return Ok(id),
        GivenId::Change(id) => ChangeById::new(id),
    };
    let query = match context.request.scope() {
        Some(scope) => id.scope(scope),
        None => id,
    };
    let entry = change(context.conn, query).await?;
    let entry = entry.ok_or(PageError::NotFound)?;
    Ok(entry.change.transaction_id.into())
}

/// The document of `incident --json`.
async fn document(
    context: &mut PageContext<'_>,
    query: Incident,
    rules: &[AuditedTable],
) -> Result<Screen, PageError> {
    if !context.request.allows(Capability::Values) {
        return Err(PageError::Forbidden(Capability::Values));
    }
    let bundle = incident(context.conn, query).await?;
    let bundle = bundle.ok_or(PageError::NotFound)?;
    Screen::json(&IncidentDocument::new(&bundle, rules))
}

async fn page(
    context: &mut PageContext<'_>,
    found: &TransactionChanges,
    rules: &[AuditedTable],
    with_restore: bool,
    paging: &Paging,
) -> Result<Markup, PageError> {
    let request = context.request;
    let id = AuditTransactionId::from(found.transaction.id);
    let mut summaries = TransactionSummaries::new([id]);
    let actions = Actions::new()
        .transaction(id)
        .page_size(PageSize::new(PAGE_ACTIONS)?);
    if let Some(scope) = request.scope() {
        summaries = summaries.scope(scope);
    }
    let summary = transaction_summaries(context.conn, &summaries).await?.pop();
    let actions = match context.actions(actions).await {
        Ok(mut page) => {
            page.entries.reverse();
            Some(page)
        }
        // The scope does not say which actions are visible.
        Err(PageError::Unscoped) => None,
        Err(error) => return Err(error),
    };
    let note = completeness::read(context, &found.transaction).await?;
    let list = paging.add_limit(request.href("/transactions").with("id", id));
    let restore = restore::section(context, found, &list, with_restore).await?;
    Ok(html! {
        p.headline {
            (instant(request, found.transaction.occurred_at))
            " · " (actor(request, found.transaction.actor.as_ref()))
            @if let Some(summary) = &summary { " · " (summary_line(summary)) }
        }
        (completeness::note(&note))
        (claimed_and_known(request, found))
        @if let Some(summary) = &summary { (op_counts(summary)) }
        @if let Some(actions) = &actions {
            (actions_table(request, &actions.entries, actions.has_more()))
        }
        (changes(request, found, rules, &list))
        (restore)
        @if let Some(report) = request.screen("report") {
            p.buttons { a.button href=(report.with("transaction", id)) { "Report of this transaction" } }
        }
        (around(request, found))
    })
}

fn claimed_and_known(request: &GrantedRequest, found: &TransactionChanges) -> Markup {
    let transaction = &found.transaction;
    let mut claimed = vec![
        Fact::new("Actor", Some(actor(request, transaction.actor.as_ref()))),
        Fact::new(
            "On behalf of",
            (transaction.on_behalf_of.as_ref()).map(|one| actor(request, Some(one))),
        ),
    ];
    claimed.extend(claimed_facts(request, transaction));
    let id = transaction.id.to_string();
    let mut known = vec![
        Fact::new("Transaction", Some(copied(&id))),
        Fact::new(
            "First change",
            Some(instant(request, transaction.occurred_at)),
        ),
    ];
    known.extend(known_facts(transaction));
    html! {
        div.columns {
            (facts("Claimed by the application", &claimed))
            (facts("Known by PostgreSQL", &known))
        }
    }
}

/// The actions of the transaction, in the order in which they were recorded.
fn actions_table(request: &GrantedRequest, actions: &[AuditAction], has_more: bool) -> Markup {
    if actions.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Actions" }
        div.scroll tabindex="0" role="region" aria-label="Actions" {
            table {
                thead {
                    tr {
                        @for name in ["Time", "Action", "Status", "Actor", "Reason"] { th scope="col" { (name) } }
                    }
                }
                tbody {
                    @for action in actions {
                        tr {
                            td { (instant(request, action.recorded_at)) }
                            th scope="row" { bdi { (action.name) } }
                            td { span.badge.error[action.status == "error"] { bdi { (action.status) } } }
                            td { (actor(request, action.actor.as_ref())) }
                            td.value {
                                @if let Some(reason) = &action.reason { bdi { (reason) } " " }
                                @if let Some(comment) = &action.comment { "“" bdi { (comment) } "”" }
                            }
                        }
                    }
                }
            }
        }
        @if has_more { p.note { "These are the newest " (actions.len()) " actions." } }
    }
}

/// A page of the changes, each with its diff.
fn changes(
    request: &GrantedRequest,
    found: &TransactionChanges,
    rules: &[AuditedTable],
    list: &Href,
) -> Markup {
    let page = &found.changes;
    html! {
        h2 { "Changes" }
        @if page.entries.is_empty() {
            (empty_state("No changes", &html! {
                p { "The transaction recorded no change, or retention removed its changes." }
            }))
        } @else {
            ul.entries aria-label="Changes, in the order of capture" {
                @for entry in &page.entries {
                    @let diff = ChangeDiff::with_rules_among(&entry.change, rules);
                    (entry_of_diff(request, entry, &diff, &folded_diff(request, &diff)))
                }
            }
            (oldest_first_pager(list, page))
        }
    }
}

/// Links to what happened at about the same time.
fn around(request: &GrantedRequest, found: &TransactionChanges) -> Markup {
    let at = found.transaction.occurred_at;
    let (from, to) = (at - TimeDelta::minutes(5), at + TimeDelta::minutes(5));
    let Some(timeline) = request.screen("timeline") else {
        return html! {};
    };
    let window = timeline
        .with("from", GivenInstant::at(from).text)
        .with("to", GivenInstant::at(to).text);
    let actor = found.transaction.actor.as_ref();
    let mut tables: Vec<_> = (found.changes.entries.iter())
        .map(|entry| summary::table_of(&entry.change))
        .collect();
    tables.sort_unstable();
    tables.dedup();
    html! {
        h2 { "Around it, 5 minutes before and after" }
        ul.chips {
            @if let Some(known) = actor.and_then(|one| one.known()) {
                li { a href=(window.clone().with("actor", known)) { "same actor" } }
            }
            @for table in tables.iter().take(12) {
                li { a href=(window.clone().with("table", table)) { bdi { (table) } } }
            }
            li { a href=(window) { "everything" } }
        }
    }
}
