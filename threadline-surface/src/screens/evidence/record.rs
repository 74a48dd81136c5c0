//! One record of evidence.

use maud::{Markup, html};
use threadline_diesel::evidence::{Evidence, find};

use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::actor::actor;
use crate::view::code::command_block;
use crate::view::evidence::{reason, subject_words, verdict};
use crate::view::facts::{Fact, facts};
use crate::view::id::{copied, transaction_id};
use crate::view::instant::{age, instant};
use crate::view::states::field_required;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let id = parameters.value::<i64>("id");
    parameters.finish()?;
    let id = id.ok_or_else(|| field_required("id", "write the id of a record of evidence"))?;
    let record = find(context.conn, id).await?.ok_or(PageError::NotFound)?;
    if request.wants_json() {
        return Screen::json(&record);
    }
    let title = format!("Evidence {id}: {}", subject_words(&record.subject));
    Ok(Page::new(title, body(request, &record))
        .terminal(terminal(&record))
        .into())
}

fn body(request: &GrantedRequest, record: &Evidence) -> Markup {
    let assessment = record.assess(request.now);
    let text = |text: &str| Some(html! { bdi { (text) } });
    let time = |at: Option<_>| at.map(|at| instant(request, at));
    let check = record.check_name.as_deref().map(|check| {
        html! {
            bdi { (check) }
            @if let Some(version) = record.check_version { ", version " (version) }
            @if let Some(library) = &record.library_version { ", threadline " bdi { (library) } }
        }
    });
    let result = [
        Fact::new(
            "Verdict",
            Some(html! { (verdict(assessment.status)) " " (reason(&assessment)) }),
        ),
        Fact::new("Result", text(&record.summary_status)),
        Fact::new("Outcome", text(record.outcome.as_str())),
        Fact::new("Basis", text(record.basis.as_str())),
        Fact::new("Valid until", time(record.valid_until)),
    ];
    let recorded = [
        Fact::new(
            "Recorded",
            Some(html! {
                (instant(request, record.recorded_at)) ", " (age(record.age(request.now))) " ago"
            }),
        ),
        Fact::new("Database role", text(&record.recorded_by)),
        Fact::new(
            "Actor",
            record
                .actor
                .as_ref()
                .map(|_| actor(request, record.actor.as_ref())),
        ),
        Fact::new("Check", check),
        Fact::new("Records from", time(record.observed_from)),
        Fact::new("Records to", time(record.observed_to)),
        Fact::new(
            "Transaction",
            Some(transaction_id(request, record.transaction_id)),
        ),
        Fact::new("Id", Some(copied(&record.order_id.to_string()))),
    ];
    html! {
        div.columns {
            (facts("Result", &result))
            (facts("Recorded", &recorded))
        }
        section {
            h2 { "What was checked" }
            pre tabindex="0" { code { bdi { (record.subject_ref) } } }
            pre tabindex="0" { code { bdi { (record.detail) } } }
        }
        @if let Some(check) = &record.check_name {
            section {
                h2 { "Check again" }
                (command_block(["evidence", "run", check]))
            }
        }
        p {
            a href=(request.href("/evidence/history").with("subject", &record.subject)) { "History of this subject" }
            " · "
            a href=(request.href("/evidence")) { "All evidence" }
        }
    }
}

fn terminal(record: &Evidence) -> Terminal {
    Terminal::command(["evidence", "history", "--subject", record.subject.as_str()])
        .sql(format!(
            "SELECT * FROM threadline.audit_evidence WHERE order_id = {};",
            record.order_id
        ))
        .rust(format!(
            "threadline::evidence::find(&mut conn, {}).await?",
            record.order_id
        ))
}
