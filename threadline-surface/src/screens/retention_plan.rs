//! The plan of a purge: what it would remove now.

use axum::http::StatusCode;
use maud::{Markup, html};
use threadline_diesel::plan_retention;
use threadline_diesel::retention::{Expired, ExpiredPart, Notice, RetentionPlan};

use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::code::command_block;
use crate::view::instant::instant;
use crate::view::retention::{policy_sentences, rows};
use crate::view::states::empty_state;

const TITLE: &str = "Retention plan";

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    request.parameters().finish()?;
    let Some(policy) = &request.settings.retention else {
        let advice = html! {
            p { "Give the policy of the code to the console: " code { "Console::builder(readers).retention(policy)" } }
            p { a href=(request.href("/retention")) { "Retention" } }
        };
        let page = Page::new(TITLE, empty_state("This console knows no policy", &advice));
        return Ok(page.terminal(terminal()).into());
    };
    let plan = match plan_retention(context.conn, policy).await {
        Ok(plan) => plan,
        Err(error) => match PageError::from(error) {
            PageError::TooBroad => return Ok(too_slow().into()),
            error => return Err(error),
        },
    };
    if request.wants_json() {
        return Screen::json(&plan);
    }
    let body = html! {
        (policy_sentences(policy))
        (notices(&plan))
        @if plan.is_empty() {
            (empty_state("Nothing is expired", &html! { p { "A purge would remove nothing now." } }))
        } @else {
            (parts(request, &plan))
            (horizons(request, &plan))
        }
        section {
            h2 { "To remove these records" }
            p { "The console removes nothing. The command plans again, so that later records may be among them:" }
            (command_block(["retention", "purge", "--execute"]))
        }
    };
    Ok(Page::new(TITLE, body).terminal(terminal()).into())
}

fn terminal() -> Terminal {
    Terminal::command(["retention", "plan"])
        .rust("threadline::plan_retention(&mut conn, &policy).await?")
}

/// The page of a plan that took longer than a page may.
fn too_slow() -> Page {
    let body = html! {
        div.empty role="alert" {
            p { "Counting the expired records takes longer than a page may. The command has no limit:" }
            (command_block(["retention", "plan"]))
        }
    };
    Page::new(TITLE, body).status(StatusCode::UNPROCESSABLE_ENTITY)
}

fn notices(plan: &RetentionPlan) -> Markup {
    html! {
        @for notice in &plan.notices {
            p {
                @match notice {
                    Notice::Disabled => {
                        span.token.warning { "refused" } " The policy is not enabled, so a purge is refused."
                    }
                    Notice::FeedBehind => {
                        span.token.warning { "refused" }
                        " Consumers of the feed have not acknowledged all expired changes, so a purge is refused."
                    }
                    Notice::LosesReasons => {
                        span.token.warning { "note" } " Some actions expire before the changes that refer to them."
                    }
                    Notice::KeepsLastImages => {
                        span.token { "note" } " A row whose last record is removed gets a baseline with its last image."
                    }
                    Notice::KeepsRestored => {
                        span.token { "note" }
                        " A span is restored from an archive: a purge removes neither it nor anything before it."
                    }
                    _ => {}
                }
            }
        }
    }
}

fn parts(request: &GrantedRequest, plan: &RetentionPlan) -> Markup {
    let total: i64 = plan.parts.iter().map(|part| part.rows).sum();
    let bytes: i64 = plan.parts.iter().filter_map(|part| part.bytes).sum();
    html! {
        div.scroll tabindex="0" role="region" aria-label="Expired records" {
            table {
                thead {
                    tr {
                        th scope="col" { "Removed" }
                        th scope="col" { "Table" }
                        th scope="col" { "Partition" }
                        th scope="col" { "Older than" }
                        th.number scope="col" { "Rows" }
                        th.number scope="col" { "About" }
                    }
                }
                tbody {
                    @for one in &plan.parts { (part(request, one)) }
                    tr {
                        th scope="row" colspan="4" { "All" }
                        td.number { strong { (rows(total)) } }
                        td.number { strong { (size(bytes)) } }
                    }
                }
            }
        }
    }
}

fn part(request: &GrantedRequest, part: &ExpiredPart) -> Markup {
    let what = match part.what {
        Expired::PartitionOfChanges => "changes, with their partition",
        Expired::Changes => "changes",
        Expired::Transactions => "transactions",
        Expired::Actions => "actions",
        _ => "records",
    };
    html! {
        tr {
            th scope="row" { (what) }
            td { @if let Some(table) = &part.table { bdi { (table) } } }
            td { @if let Some(partition) = &part.partition { code { bdi { (partition) } } } }
            td { @if let Some(before) = part.before { (instant(request, before)) } }
            td.number { (rows(part.rows)) }
            td.number { @if let Some(bytes) = part.bytes { (size(bytes)) } }
        }
    }
}

/// A size on disk, rounded.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut size = bytes.max(0) / 1024;
    let mut unit = 0;
    while size >= 10_000 && unit + 1 < UNITS.len() {
        size /= 1024;
        unit += 1;
    }
    format!("{size} {}", UNITS[unit])
}

/// From when the changes of each table will be known.
fn horizons(request: &GrantedRequest, plan: &RetentionPlan) -> Markup {
    let horizons = plan.horizons();
    html! {
        @if !horizons.is_empty() {
            section {
                h2 { "After the purge" }
                ul {
                    @for (table, horizon) in &horizons {
                        li { "Changes of " bdi { (table) } " are known since " (instant(request, *horizon)) "." }
                    }
                }
            }
        }
    }
}
