//! All evidence about a subject, newest first.

use maud::{Markup, html};
use threadline_diesel::documents::PageDocument;
use threadline_diesel::evidence::{Evidence, EvidenceHistory, EvidenceSubject, history};

use crate::href::Href;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::question::{Paging, Window};
use crate::request::{GrantedRequest, PageContext};
use crate::view::evidence::{evidence_table, subject_words};
use crate::view::pager::pager;
use crate::view::presets::presets;
use crate::view::states::empty_state;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let subject = parameters.value::<EvidenceSubject>("subject");
    let window = Window::take(&mut parameters, request.now, request.zone());
    let paging = Paging::take(&mut parameters);
    parameters.finish()?;
    let mut query = window.apply(
        EvidenceHistory::new(),
        EvidenceHistory::from,
        EvidenceHistory::to,
    );
    if let Some(subject) = &subject {
        query = query.subject(subject);
    }
    let query = paging.apply(
        query,
        EvidenceHistory::page_size,
        EvidenceHistory::after,
        EvidenceHistory::before,
    );
    let page = history(context.conn, &query).await?;
    if request.wants_json() {
        return Screen::json(&PageDocument::<&Evidence>::new(&page));
    }
    let list = list(request, subject.as_ref());
    let fixed = list.clone().with_all(window.fixed().pairs());
    let body = html! {
        (presets(&list, &window))
        @if page.entries.is_empty() {
            (empty_state("No evidence was recorded", &html! { p { "Choose a longer window, or another subject." } }))
        } @else {
            (evidence_table(request, &page.entries))
        }
        (pager(&paging.add_limit(fixed), &page))
        (links(request, subject.as_ref()))
    };
    let title = match &subject {
        Some(subject) => format!("Evidence: {}", subject_words(subject)),
        None => "Evidence of all subjects".to_owned(),
    };
    Ok(Page::new(title, body)
        .terminal(terminal(subject.as_ref(), &window))
        .into())
}

fn list(request: &GrantedRequest, subject: Option<&EvidenceSubject>) -> Href {
    let list = request.href("/evidence/history");
    match subject {
        Some(subject) => list.with("subject", subject),
        None => list,
    }
}

fn links(request: &GrantedRequest, subject: Option<&EvidenceSubject>) -> Markup {
    html! {
        p {
            @if subject.is_some() {
                a href=(list(request, None)) { "All subjects" }
                " · "
            }
            a href=(request.href("/evidence")) { "Newest evidence" }
        }
    }
}

fn terminal(subject: Option<&EvidenceSubject>, window: &Window) -> Terminal {
    let mut arguments = vec!["evidence".to_owned(), "history".to_owned()];
    if let Some(subject) = subject {
        arguments.extend(["--subject".to_owned(), subject.to_string()]);
    }
    arguments.extend(window.arguments());
    Terminal::command(arguments)
}
