//! An actor: transactions, changes, actions, and what others did on the actor's behalf.

mod lists;

use maud::{Markup, html};
use threadline_diesel::documents::{EntryDocument, PageDocument};
use threadline_diesel::{AuditAction, AuditTransaction, Transactions, explain_empty};

use self::lists::{Answer, List, Question, newest, read};
use crate::access::Capability;
use crate::href::Href;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::question::{Paging, Window};
use crate::request::{GrantedRequest, PageContext};
use crate::view::completeness::{completeness_note, read_captured};
use crate::view::entries::entries;
use crate::view::form::{Field, field};
use crate::view::id::copied;
use crate::view::instant::instant;
use crate::view::pager::pager;
use crate::view::presets::presets;
use crate::view::states::{empty_state, explanations, field_required};
use crate::view::{actions, transactions as transaction_list};

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let actor = parameters.value("actor");
    let list = parameters.parsed("list", List::parse).unwrap_or_default();
    let window = Window::take(&mut parameters, request.now, request.zone());
    let paging = Paging::take(&mut parameters);
    parameters.finish()?;
    let question = Question {
        actor: actor.ok_or_else(|| field_required("actor", "give an actor: user:42"))?,
        list,
        window,
        paging,
    };
    let answer = read(context, &question).await?;
    if request.wants_json() {
        return document(request, &answer);
    }
    let note = if question.list == List::Actions {
        html! {}
    } else {
        let facts = read_captured(context, &question.window).await?;
        completeness_note(request, &facts)
    };
    let body = html! {
        (note)
        (head(request, &question))
        (shown(context, &question, &answer).await?)
    };
    Ok(Page::new(format!("Actor {}", question.actor), body)
        .terminal(terminal(&question))
        .into())
}

/// The document of the command of a list.
fn document(request: &GrantedRequest, answer: &Answer) -> Result<Screen, PageError> {
    match answer {
        Answer::Transactions(page, _) => {
            Screen::json(&PageDocument::<&AuditTransaction>::new(page))
        }
        Answer::Changes(_) if !request.allows(Capability::Values) => {
            Err(PageError::Forbidden(Capability::Values))
        }
        Answer::Changes(page) => Screen::json(&PageDocument::<EntryDocument<'_>>::new(page)),
        Answer::Actions(page, _) => Screen::json(&PageDocument::<&AuditAction>::new(page)),
    }
}

/// The address of a list of the actor, without a window.
fn address(request: &GrantedRequest, question: &Question, list: List) -> Href {
    let href = request.href("/actors").with("actor", &question.actor);
    if list == List::default() {
        href
    } else {
        href.with("list", list.as_str())
    }
}

/// The actor, the lists, and the windows.
fn head(request: &GrantedRequest, question: &Question) -> Markup {
    let text = |end: &Option<crate::question::GivenInstant>| {
        end.as_ref().map(|end| end.text.clone()).unwrap_or_default()
    };
    let (from, to) = (text(&question.window.from), text(&question.window.to));
    let actor = question.actor.to_string();
    html! {
        p.note { "Records for which the application named the actor " (copied(&actor)) ". PostgreSQL cannot check actors." }
        nav.window aria-label="Lists" {
            @for list in List::ALL {
                @let href = address(request, question, list).with_all(question.window.pairs());
                a href=(href) aria-current=[(list == question.list).then_some("page")] { (list.title()) }
                " "
            }
        }
        (presets(&address(request, question, question.list), &question.window))
        details open[!question.window.is_whole()] {
            summary { "Other window or actor" }
            form method="get" action=(request.href("/actors")) {
                div.fields {
                    (field(&Field::new("actor", "Actor").value(&actor)))
                    (field(&Field::new("from", "From").value(&from).hint("2026-01-31 12:00 or -24h")))
                    (field(&Field::new("to", "To").value(&to)))
                }
                input type="hidden" name="list" value=(question.list.as_str());
                div.buttons { button type="submit" { "Show" } }
            }
        }
    }
}

async fn shown(
    context: &mut PageContext<'_>,
    question: &Question,
    answer: &Answer,
) -> Result<Markup, PageError> {
    let request = context.request;
    let list = address(request, question, question.list).with_all(question.window.fixed().pairs());
    let list = question.paging.add_limit(list);
    Ok(match answer {
        Answer::Transactions(page, _) if page.entries.is_empty() => {
            empty(context, question).await?
        }
        Answer::Changes(page) if page.entries.is_empty() => empty(context, question).await?,
        Answer::Actions(page, _) if page.entries.is_empty() => empty(context, question).await?,
        Answer::Transactions(page, summaries) => html! {
            (transaction_list::transactions(request, &page.entries, summaries))
            (pager(&list, page))
        },
        Answer::Changes(page) => {
            let rules = context.rules().await?;
            html! { (entries(request, &page.entries, &rules)) (pager(&list, page)) }
        }
        Answer::Actions(page, summaries) => html! {
            (actions::actions(request, &page.entries, summaries))
            (pager(&list, page))
        },
    })
}

/// Says whether the trail has no records of the actor, or has them in another window or list.
async fn empty(context: &mut PageContext<'_>, question: &Question) -> Result<Markup, PageError> {
    let request = context.request;
    let mut elsewhere = Vec::new();
    for list in List::ALL {
        if let Some(at) = newest(context, question, list).await? {
            elsewhere.push((list, at));
        }
    }
    if let Some((_, at)) = elsewhere.iter().find(|(list, _)| *list == question.list) {
        return Ok(empty_state(
            "Nothing in this window",
            &html! {
                p { "The last entry of this list is of " (instant(request, *at)) "." }
                p { a href=(address(request, question, question.list)) { "Show all" } }
            },
        ));
    }
    if !elsewhere.is_empty() {
        return Ok(empty_state(
            "Nothing in this list, at any time",
            &html! {
                p { "The actor is in these lists:" }
                ul {
                    @for (list, at) in &elsewhere {
                        li {
                            a href=(address(request, question, *list)) { (list.title()) }
                            ", last " (instant(request, *at))
                        }
                    }
                }
            },
        ));
    }
    let query = request.scoped(
        Transactions::new().actor(question.actor.clone()),
        Transactions::scope,
    );
    let reasons = explain_empty(context.conn, &query).await?;
    Ok(empty_state(
        "No records of this actor",
        &html! {
            @if request.scope().is_some() {
                p { "No transaction, change or action of " bdi { (question.actor) } " is recorded in your scope, at any time." }
            }
            (explanations(request, &reasons))
            p { "Actors are written as type and id, as the application records them: " code { "user:42" } "." }
        },
    ))
}

fn terminal(question: &Question) -> Terminal {
    let actor = question.actor.to_string();
    let command: &[&str] = match question.list {
        List::Transactions => &["actor", &actor],
        List::Changes => &["timeline", "--actor", &actor],
        List::Actions => &["actions", "--actor", &actor],
        List::Behalf => &["timeline", "--on-behalf-of", &actor],
    };
    let arguments = command.iter().map(|one| (*one).to_owned());
    let literal = actor.replace('\'', "''");
    let (view, column) = match question.list {
        List::Transactions | List::Changes => ("audit_timeline", "actor"),
        List::Actions => ("audit_actions", "actor"),
        List::Behalf => ("audit_timeline", "on_behalf_of"),
    };
    let rust = match question.list {
        List::Transactions => {
            format!(
                "threadline::transactions(&mut conn, &actor_history({actor:?}.parse()?)).await?"
            )
        }
        List::Changes => format!(
            "threadline::timeline(&mut conn, &Timeline::new().actor({actor:?}.parse()?)).await?"
        ),
        List::Actions => format!(
            "threadline::actions(&mut conn, &Actions::new().actor({actor:?}.parse()?)).await?"
        ),
        List::Behalf => format!(
            "threadline::timeline(&mut conn, &Timeline::new().on_behalf_of({actor:?}.parse()?)).await?"
        ),
    };
    Terminal::command(arguments.chain(question.window.arguments()))
        .sql(format!(
            "SELECT * FROM threadline.{view} WHERE {column} = '{literal}' ORDER BY id DESC LIMIT 50;"
        ))
        .rust(rust)
}
