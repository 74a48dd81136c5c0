//! Background exports: the operator's own jobs.

mod change_job;
mod file;
pub(crate) mod form;
mod queue;

use maud::{Markup, html};
use threadline_diesel::PageSize;
use threadline_export::jobs::{self, Job, JobFilter, JobKind, JobPage, JobState};
use uuid::Uuid;

pub(crate) use self::change_job::{cancel, retry};
pub(crate) use self::file::show as show_file;
pub(crate) use self::queue::{check_grant, enqueue, owner_arguments, record_queued, show_form};
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::id::copied;
use crate::view::instant::instant;
use crate::view::jobs::{export_request, export_result, job_progress, job_state};
use crate::view::polled::polled;
use crate::view::states::empty_state;

/// The seconds after which the script loads the list again.
const POLL_SECONDS: u32 = 5;

/// The number of jobs of a page.
const PAGE_SIZE: u32 = 50;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let page = read(context).await?;
    if request.wants_json() {
        return Screen::json(&page);
    }
    let list = request.first_page();
    let part = request.href("/parts/exports").with_all(position(request));
    let body = html! {
        (links(request))
        (polled("exports", &part, POLL_SECONDS, (&list, "Refresh"), &job_list(request, &page)))
    };
    Ok(Page::new("Exports", body)
        .terminal(terminal(request)?)
        .into())
}

/// The list as a part of the page.
pub(crate) async fn show_list(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let page = read(context).await?;
    Ok(Screen::Fragment(job_list(context.request, &page)))
}

async fn read(context: &mut PageContext<'_>) -> Result<JobPage, PageError> {
    let request = context.request;
    let owner = request.job_owner()?;
    let mut parameters = request.parameters();
    let before = parameters.value::<Uuid>("before");
    parameters.finish()?;
    let mut filter = JobFilter::new()
        .kind(JobKind::Export)
        .actor(owner.clone())
        .page_size(PageSize::new(PAGE_SIZE).unwrap_or_default());
    if let Some(before) = before {
        filter = filter.before(before);
    }
    if let (Some(_), Some(key)) = (request.scope(), request.grant.key_of_scope()) {
        filter = filter.scope_key(key);
    }
    let mut page = jobs::list(context.conn, &filter).await?;
    page.jobs.retain(|job| request.owns_job(job));
    Ok(page)
}

/// The position of the page, for the address of its list.
fn position(request: &GrantedRequest) -> Option<(&'static str, String)> {
    Some(("before", request.parameters().text("before")?))
}

fn links(request: &GrantedRequest) -> Markup {
    html! {
        p.note {
            "Only you see and download these files. "
            a href=(request.href("/exports/new")) { "Queue an export" }
            " · "
            a href=(request.href("/exports/schedules")) { "Schedules" }
        }
    }
}

fn terminal(request: &GrantedRequest) -> Result<Terminal, PageError> {
    let owner = request.job_owner()?;
    let actor = owner.to_string();
    Ok(Terminal::command(["jobs", "list", "--kind", "export", "--actor", &actor])
        .sql("SELECT * FROM threadline.audit_jobs WHERE kind = 'export' AND actor = $1 ORDER BY id DESC LIMIT 50;")
        .rust("threadline::export::jobs::list(&mut conn, &JobFilter::new().kind(JobKind::Export).actor(actor)).await?"))
}

fn job_list(request: &GrantedRequest, page: &JobPage) -> Markup {
    html! {
        @if page.jobs.is_empty() {
            (empty_state("No exports", &html! {
                p { "Filter the timeline and choose Download, In the background: the file is written while you go on." }
            }))
        } @else {
            ul.entries aria-label="Exports" {
                @for job in &page.jobs { (entry(request, job)) }
            }
        }
        @if let Some(next) = page.next {
            nav.pager aria-label="Pages" {
                a rel="next" data-key="]" href=(request.href("/exports").with("before", next)) { "Older" }
            }
        }
    }
}

fn entry(request: &GrantedRequest, job: &Job) -> Markup {
    html! {
        li data-id=(job.id) {
            div.line {
                (job_state(job))
                " " (instant(request, job.created_at))
                @if let Some(schedule) = &job.schedule { " " span.note { "schedule " bdi { (schedule) } } }
                " " span.who { (copied(&job.id.to_string())) }
            }
            (export_request(&job.request))
            (export_result(request, job))
            (job_progress(request, job))
            (buttons(request, job))
        }
    }
}

fn buttons(request: &GrantedRequest, job: &Job) -> Markup {
    let act = |path, label| {
        html! {
            form method="post" action=(request.href(path)) {
                button type="submit" name="id" value=(job.id) aria-label={ (label) " export " (job.id) } { (label) }
            }
        }
    };
    html! {
        div.buttons {
            @match job.state {
                JobState::Completed => {
                    a.button.primary href=(request.href("/exports/file").with("id", job.id)) { "Download" }
                }
                JobState::Queued | JobState::Running => (act("/exports/cancel", "Cancel")),
                JobState::Failed | JobState::Cancelled => (act("/exports/retry", "Retry")),
                JobState::Expired => {}
            }
        }
    }
}
