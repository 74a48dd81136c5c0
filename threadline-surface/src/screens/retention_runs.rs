//! The runs of purges, and one run.

use maud::{Markup, html};
use threadline_diesel::query::TrailRecords;
use threadline_diesel::retention::RetentionRun;
use threadline_diesel::{removals, retention_run, retention_runs};

use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::facts::{Fact, facts};
use crate::view::instant::instant;
use crate::view::retention::{removal_list, rows, run_state, run_table};

/// The number of runs on the page, as the command shows.
const SHOWN_RUNS: u32 = 40;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let id = parameters.value::<i64>("run");
    parameters.finish()?;
    if let Some(id) = id {
        return show_run(context, id).await;
    }
    let runs = retention_runs(context.conn, SHOWN_RUNS).await?;
    if request.wants_json() {
        return Screen::json(&runs);
    }
    let body = html! {
        p.note { "The newest " (SHOWN_RUNS) " at most, newest first. " a href=(request.href("/retention")) { "Policy and tables" } }
        (run_table(request, &runs))
    };
    Ok(Page::new("Retention runs", body)
        .terminal(terminal())
        .into())
}

fn terminal() -> Terminal {
    Terminal::command(["retention", "runs"])
        .sql("SELECT * FROM threadline.audit_retention_runs ORDER BY id DESC;")
        .rust("threadline::retention_runs(&mut conn, 40).await?")
}

async fn show_run(context: &mut PageContext<'_>, id: i64) -> Result<Screen, PageError> {
    let request = context.request;
    let run = retention_run(context.conn, id)
        .await?
        .ok_or(PageError::NotFound)?;
    if request.wants_json() {
        return Screen::json(&run);
    }
    let mut query = TrailRecords::new().from(run.started_at);
    if let Some(end) = run.finished_at {
        query = query.to(end);
    }
    let removals = removals(context.conn, &query).await?;
    let body = html! {
        (run_facts(request, &run))
        details {
            summary { "The policy of the run" }
            pre tabindex="0" { code { bdi { (run.policy.as_str()) } } }
        }
        section {
            h2 { "Removals while it ran" }
            (removal_list(request, &removals))
        }
        p { a href=(request.href("/retention/runs")) { "All runs" } }
    };
    Ok(Page::new(format!("Retention run {id}"), body)
        .terminal(terminal())
        .into())
}

fn run_facts(request: &GrantedRequest, run: &RetentionRun) -> Markup {
    let count = |count: i64| Some(html! { (rows(count)) });
    let postponed = (!run.postponed.is_empty()).then(|| {
        html! {
            @for (place, partition) in run.postponed.iter().enumerate() {
                @if place > 0 { ", " }
                code { bdi { (partition) } }
            }
            ": in use; the next purge tries again"
        }
    });
    let run_is = [
        Fact::new("State", Some(run_state(run))),
        Fact::new(
            "Failed while",
            run.failure.as_ref().map(|text| html! { bdi { (text) } }),
        ),
        Fact::new("By", Some(html! { bdi { (run.started_by) } })),
        Fact::new("Started", Some(instant(request, run.started_at))),
        Fact::new("Ended", run.finished_at.map(|end| instant(request, end))),
        Fact::new("Postponed partitions", postponed),
    ];
    let removed = [
        Fact::new("Changes", count(run.changes)),
        Fact::new("Transactions", count(run.transactions)),
        Fact::new("Actions", count(run.actions)),
        Fact::new("Dropped partitions", count(run.partitions)),
        Fact::new("Kept last images", count(run.baselines)),
        Fact::new("Steps", count(run.steps)),
    ];
    html! {
        div.columns {
            (facts("Run", &run_is))
            (facts("Removed", &removed))
        }
    }
}
