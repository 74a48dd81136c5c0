//! Schedules of exports: the operator's own.

mod add;
mod change_schedule;

use maud::{Markup, html};
use threadline_diesel::PageSize;
use threadline_export::jobs::{self, Job, JobFilter};
use threadline_export::schedules::{self, Schedule};

pub(crate) use self::add::{add, show_form};
pub(crate) use self::change_schedule::{pause, remove, resume, run};
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::instant::instant;
use crate::view::jobs::{export_request, job_error, job_state};
use crate::view::states::empty_state;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    request.parameters().finish()?;
    request.job_owner()?;
    let mut own = schedules::list(context.conn).await?;
    own.retain(|one| request.owns_schedule(one));
    if request.wants_json() {
        return Screen::json(&own);
    }
    let mut entries = Vec::new();
    for schedule in &own {
        let filter = JobFilter::new()
            .schedule(schedule.name.as_str())
            .page_size(PageSize::ONE);
        let last = jobs::list(context.conn, &filter).await?.jobs.pop();
        // An earlier schedule of the same name can have had another owner.
        let last = last.filter(|job| request.owns_job(job));
        entries.push(entry(request, schedule, last.as_ref()));
    }
    let body = html! {
        p.note {
            "Each schedule queues an export for the changes since the previous one. "
            a href=(request.href("/exports/schedules/new")) { "Add a schedule" }
            " · "
            a href=(request.href("/exports")) { "Exports" }
        }
        @if entries.is_empty() {
            (empty_state("No schedules", &html! {
                p { "Filter the timeline and choose Download, In the background, then Export them regularly." }
            }))
        } @else {
            ul.entries aria-label="Schedules" { @for one in &entries { (one) } }
        }
    };
    Ok(Page::new("Schedules", body).terminal(terminal()).into())
}

fn terminal() -> Terminal {
    Terminal::command(["schedule", "list"])
        .sql("SELECT * FROM threadline.audit_schedules ORDER BY name;")
        .rust("threadline::export::schedules::list(&mut conn).await?")
}

fn entry(request: &GrantedRequest, schedule: &Schedule, last: Option<&Job>) -> Markup {
    html! {
        li data-id=(schedule.name) {
            div.line {
                span.table { bdi { (schedule.name) } }
                " " code { (schedule.cron) } " " span.note { (schedule.time_zone) }
                " " span.who {
                    @match schedule.paused_at {
                        Some(since) => { span.badge.warning { "paused" } " since " (instant(request, since)) }
                        None => { "next " (instant(request, schedule.next_due_at)) }
                    }
                }
            }
            (export_request(&schedule.request))
            @match last {
                Some(job) => {
                    p { "Last job " (job_state(job)) " " (instant(request, job.created_at)) }
                    (job_error(job))
                }
                None => p.note { "No job yet." },
            }
            (buttons(request, schedule))
        }
    }
}

fn buttons(request: &GrantedRequest, schedule: &Schedule) -> Markup {
    let act = |path, label: &str| {
        html! {
            form method="post" action=(request.href(path)) {
                button type="submit" name="name" value=(schedule.name) aria-label={ (label) " " (schedule.name) } { (label) }
            }
        }
    };
    html! {
        div.buttons {
            (act("/exports/schedules/run", "Run now"))
            @if schedule.paused_at.is_some() {
                (act("/exports/schedules/resume", "Resume"))
            } @else {
                (act("/exports/schedules/pause", "Pause"))
            }
            (act("/exports/schedules/remove", "Remove"))
        }
    }
}
