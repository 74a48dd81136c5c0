//! Start: the find box, health at a glance, and where to begin.

use maud::{Markup, html};
use threadline_core::table::TableName;
use threadline_diesel::recorded_tables;

use super::health;
use super::views::own_and_shared;
use crate::href::Href;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::saved_views::views_card;
use crate::view::states::empty_state;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let with_health = parameters.flag("health");
    parameters.finish()?;
    let tables = recorded_tables(context.conn, request.scope()).await?;
    let views = own_and_shared(context).await?;
    let health = if with_health {
        health::numbers(context).await
    } else {
        health::places(request)
    };
    let body = html! {
        (find_box(request))
        (health)
        @if tables.is_empty() { (first_steps(request)) }
        div.cards {
            (find_card(request, &tables))
            (links_card(request, "verify", "Verify", "Whether answers can be trusted.", &VERIFY))
            (links_card(request, "prove", "Prove", "Keeping, and handing over.", &PROVE))
            (views_card(request, &views))
        }
        (volume(request))
    };
    Ok(Page::new("Start", body)
        .terminal(Terminal::command(["timeline", "--from", "-24h"]))
        .into())
}

fn find_box(request: &GrantedRequest) -> Markup {
    html! {
        form.find role="search" aria-label="Find anything" method="get" action=(request.href("/find")) {
            label.hidden for="find-anything" { "Paste anything" }
            input id="find-anything" type="search" name="q" data-key="/" autocomplete="off"
                placeholder="Paste anything: an id, user:42, invoices 42, an action, a time";
            button.primary type="submit" { "Find" }
        }
        p.hint {
            "It tells ids, actors, rows, actions and times apart. "
            a href=(request.href("/find")) { "What to paste" }
        }
    }
}

fn first_steps(request: &GrantedRequest) -> Markup {
    if request.scope().is_some() {
        return empty_state(
            "No changes in your scope yet",
            &html! { p { "The first change in your scope appears here." } },
        );
    }
    empty_state(
        "No changes yet",
        &html! {
            p { "Capture tables with a migration, then change a row:" }
            pre { code { "threadline gen-triggers" } }
        },
    )
}

/// The forms for a row, a correlation and an actor.
fn find_card(request: &GrantedRequest, tables: &[TableName]) -> Markup {
    html! {
        section.card aria-labelledby="find" {
            h2 id="find" { "Find" }
            @if let Some(row) = request.screen("row") { (row_form(&row, tables)) }
            (small_form(request, "/correlations", "correlation", "Correlation", "order-7002"))
            (small_form(request, "/actors", "actor", "Actor", "user:42"))
            (screen_links(request, &FIND))
        }
    }
}

fn row_form(row: &Href, tables: &[TableName]) -> Markup {
    html! {
        form.field method="get" action=(row) {
            div.fields {
                div.field {
                    label for="start-table" { "Table" }
                    select id="start-table" name="table" required {
                        @for table in tables { option value=(table) { (table) } }
                    }
                }
                div.field {
                    label for="start-key" { "Key" }
                    input id="start-key" name="key" autocomplete="off" required;
                }
            }
            div.buttons { button type="submit" { "Open row history" } }
        }
    }
}

/// A form of one field.
fn small_form(
    request: &GrantedRequest,
    path: &'static str,
    name: &str,
    label: &str,
    example: &str,
) -> Markup {
    let id = format!("start-{name}");
    html! {
        form.field method="get" action=(request.href(path)) {
            label for=(id) { (label) }
            div.find {
                input id=(id) name=(name) autocomplete="off" required placeholder=(example);
                button type="submit" { "Open" }
            }
        }
    }
}

/// Screens with what they answer.
type Links = [(&'static str, &'static str, &'static str)];

const FIND: [(&str, &str, &str); 2] = [
    ("timeline", "Timeline", "what changed, newest first"),
    ("actions", "Actions", "what was done or failed, and why"),
];

const VERIFY: [(&str, &str, &str); 2] = [
    (
        "coverage",
        "Coverage",
        "which tables are captured, and findings",
    ),
    (
        "redaction",
        "Redaction",
        "which columns are masked or left out",
    ),
];

const PROVE: [(&str, &str, &str); 4] = [
    ("evidence", "Evidence", "what checks prove, and since when"),
    (
        "retention",
        "Retention",
        "how long changes are kept, and past runs",
    ),
    ("report", "Report", "a printable answer to a ticket"),
    ("exports", "Exports", "files written in the background"),
];

/// A card with links to screens; nothing if the grant has none of them.
fn links_card(
    request: &GrantedRequest,
    id: &str,
    title: &str,
    purpose: &str,
    links: &Links,
) -> Markup {
    if !links
        .iter()
        .any(|(screen, ..)| request.screen(screen).is_some())
    {
        return html! {};
    }
    html! {
        section.card aria-labelledby=(id) {
            h2 id=(id) { (title) }
            p.note { (purpose) }
            (screen_links(request, links))
        }
    }
}

fn screen_links(request: &GrantedRequest, links: &Links) -> Markup {
    html! {
        dl {
            @for (screen, title, meaning) in links {
                @if let Some(href) = request.screen(screen) {
                    dt { a href=(href) { (title) } }
                    dd.note { (meaning) }
                }
            }
        }
    }
}

/// The changes of 7 days as a chart, which the script loads. Without it, a link shows it.
fn volume(request: &GrantedRequest) -> Markup {
    let (Some(timeline), Some(part)) = (
        request.screen("timeline"),
        request.screen("timeline_volume"),
    ) else {
        return html! {};
    };
    html! {
        h2 { "Changes of 7 days" }
        div.volume data-fragment=(part.with("from", "-7d")) {
            a href=(timeline.with("from", "-7d").with("volume", "true")) { "Show the chart" }
        }
    }
}
