//! Retention: the policy, the horizon of every captured table, the newest runs and removals. Nothing is
//! removed here.

use maud::{Markup, html};
use threadline_core::retention::RetentionPolicy;
use threadline_core::table::{AuditedTable, TableName};
use threadline_diesel::query::{TableCompleteness, TrailRecords};
use threadline_diesel::{removals, retention_runs, table_completeness};

use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::code::command_block;
use crate::view::instant::instant;
use crate::view::retention::{policy_sentences, removal_list, run_table};
use crate::view::states::empty_state;

/// The number of runs on the page.
const SHOWN_RUNS: u32 = 5;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    request.parameters().finish()?;
    let policy = request.settings.retention.as_ref();
    if request.wants_json() {
        return Screen::json(&policy);
    }
    let captured: Vec<TableName> = context.rules().await?.iter().map(name).collect();
    let tables = table_completeness(context.conn, &captured).await?;
    let runs = retention_runs(context.conn, SHOWN_RUNS).await?;
    let removals = removals(context.conn, &TrailRecords::new()).await?;
    let body = html! {
        section {
            h2 { "Policy" }
            @match policy {
                Some(policy) => (policy_sentences(policy)),
                None => (no_policy()),
            }
            @if policy.is_some() {
                div.buttons { a.button href=(request.href("/retention/plan")) { "Plan: what a purge would remove now" } }
            }
            p { "The console removes nothing. To remove expired records:" }
            (command_block(["retention", "purge", "--execute"]))
        }
        (horizons(request, policy, &tables))
        section {
            h2 { "Newest runs" }
            (run_table(request, &runs))
            @if !runs.is_empty() { p { a href=(request.href("/retention/runs")) { "All runs" } } }
        }
        section {
            h2 { "Removals and erasures" }
            (removal_list(request, &removals))
        }
    };
    Ok(Page::new("Retention", body)
        .terminal(
            Terminal::command(["retention", "plan"])
                .sql("SELECT * FROM threadline.audit_horizons;\nSELECT * FROM threadline.audit_removals ORDER BY order_id DESC;")
                .rust("threadline::plan_retention(&mut conn, &policy).await?"),
        )
        .into())
}

fn name(table: &AuditedTable) -> TableName {
    table.name().clone()
}

fn no_policy() -> Markup {
    let advice = html! {
        p { "Give the policy of the code to the console: " code { "Console::builder(readers).retention(policy)" } }
    };
    empty_state("No retention policy is set", &advice)
}

/// How long the changes of every table are kept, and from when they are known.
fn horizons(
    request: &GrantedRequest,
    policy: Option<&RetentionPolicy>,
    tables: &[TableCompleteness],
) -> Markup {
    let kept = |table: &TableName| {
        let policy = policy?;
        let rule = policy.tables().iter().find(|rule| &rule.table == table);
        Some(rule.map_or_else(|| policy.changes(), |rule| rule.keep))
    };
    html! {
        section {
            h2 { "Tables" }
            @if tables.is_empty() {
                div.empty { p { "No table is captured." } }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Tables" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Table" }
                                th scope="col" { "Changes kept for" }
                                th scope="col" { "Changes known since" }
                            }
                        }
                        tbody {
                            @for table in tables {
                                tr {
                                    th scope="row" { bdi { (table.table) } }
                                    td {
                                        @match kept(&table.table) {
                                            Some(keep) => (keep),
                                            None => span.token { "unknown" },
                                        }
                                    }
                                    td {
                                        @match table.known_since {
                                            Some(since) => (instant(request, since)),
                                            None => span.token { "never captured" },
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
