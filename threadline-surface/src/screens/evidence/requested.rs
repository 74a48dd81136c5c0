//! Checks that an operator requested, and that a worker runs.

use maud::{Markup, html};
use serde_json::json;
use threadline_diesel::PageSize;
use threadline_diesel::evidence::Check;
use threadline_export::jobs::{self, JobFilter, JobKind, NewJob};

use crate::access::Capability;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::instant::instant;
use crate::view::jobs::{job_error, job_state};
use crate::view::states::field_required;

/// The number of requested checks on the page.
const SHOWN: u32 = 5;

/// Queues a check. Only for grants without a scope: a check reads the whole trail.
pub(crate) async fn request_check(request: &GrantedRequest) -> Result<Screen, PageError> {
    let mut form = request.form_parameters();
    let check = form.value::<Check>("check");
    form.finish()?;
    let check = check.ok_or_else(|| field_required("check", "choose a check"))?;
    if !request.allows(Capability::Evidence) {
        return Err(PageError::Forbidden(Capability::Evidence));
    }
    if request.scope().is_some() {
        return Err(PageError::Unscoped);
    }
    let job =
        NewJob::new(JobKind::Check, json!({ "check": check })).actor(request.job_owner()?.clone());
    let mut connection = request.writer().await?;
    jobs::enqueue(&mut connection, &job).await?;
    Ok(Screen::Redirect(request.href("/evidence")))
}

/// The newest checks that the operator requested; nothing without any.
pub(crate) async fn requested_checks(context: &mut PageContext<'_>) -> Result<Markup, PageError> {
    let request = context.request;
    let Ok(owner) = request.job_owner() else {
        return Ok(html! {});
    };
    if !request.allows(Capability::Background) {
        return Ok(html! {});
    }
    let size = PageSize::new(SHOWN).unwrap_or_default();
    let filter = JobFilter::new()
        .kind(JobKind::Check)
        .actor(owner.clone())
        .page_size(size);
    let mut checks = jobs::list(context.conn, &filter).await?.jobs;
    checks.retain(|job| request.owns_job(job));
    if checks.is_empty() {
        return Ok(html! {});
    }
    Ok(html! {
        section {
            h2 { "Checks that you requested" }
            ul.entries aria-label="Requested checks" {
                @for job in &checks {
                    li {
                        div.line {
                            (job_state(job))
                            " " strong { bdi { (job.request.get("check").and_then(|name| name.as_str()).unwrap_or_default()) } }
                            " " span.who { (instant(request, job.created_at)) }
                        }
                        (job_error(job))
                    }
                }
            }
        }
    })
}
