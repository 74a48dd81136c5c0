//! Actions: what the application says was done, failed attempts too.

use maud::{Markup, html};
use threadline_core::action::ActionStatus;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_diesel::documents::PageDocument;
use threadline_diesel::query::MetaPattern;
use threadline_diesel::{Actions, AuditAction, explain_empty, recorded_actions};

use crate::access::Capability;
use crate::href::Href;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::question::{Paging, Parameters, Window};
use crate::request::{CONSOLE_CATEGORY, GrantedRequest, PageContext};
use crate::self_audit;
use crate::view::actions::actions;
use crate::view::form::{Choice, Field, field, select};
use crate::view::pager::pager;
use crate::view::presets::presets;
use crate::view::states::{empty_state, explanations};

/// The filters of actions in an address, named as the options of the command line.
#[derive(Debug, Default)]
struct Filters {
    /// The parameters without the window, as given.
    pairs: Vec<(&'static str, String)>,
    query: Actions,
    window: Window,
}

const FIELDS: [(&str, &str); 10] = [
    ("name", "Name"),
    ("category", "Category"),
    ("actor", "Actor"),
    ("actor_type", "Actor type"),
    ("on_behalf_of", "On behalf of"),
    ("correlation", "Correlation"),
    ("request", "Request"),
    ("job", "Job"),
    ("meta", "Meta contains"),
    ("status", "Status"),
];

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let filters = Filters::take(&mut parameters, request);
    let paging = Paging::take(&mut parameters);
    parameters.finish()?;
    let is_log = filters.value("category") == CONSOLE_CATEGORY;
    if is_log && !request.allows(Capability::Log) {
        return Err(PageError::Forbidden(Capability::Log));
    }
    let query = paging.apply(
        filters.query.clone(),
        Actions::page_size,
        Actions::after,
        Actions::before,
    );
    let page = context.actions(query).await?;
    if request.wants_json() {
        return Screen::json(&PageDocument::<&AuditAction>::new(&page));
    }
    let ids = page.entries.iter().map(|one| one.transaction_id);
    let summaries = context.summaries(ids).await?;
    let mut names = recorded_actions(context.conn, request.scope()).await?;
    if !request.allows(Capability::Log) {
        names.retain(|name| !self_audit::is_console_action(name));
    }
    let body = html! {
        (form(request, &filters, &names))
        (presets(&filters.list(request), &filters.window))
        @if page.entries.is_empty() {
            (empty(context, &filters).await)
        } @else {
            (actions(request, &page.entries, &summaries))
        }
        (pager(&paging.add_limit(filters.fixed_list(request)), &page))
    };
    Ok(Page::new("Actions", body)
        .terminal(filters.terminal())
        .into())
}

impl Filters {
    fn take(parameters: &mut Parameters, request: &GrantedRequest) -> Self {
        let mut filters = Self::default();
        filters.add(
            parameters,
            "name",
            |text| Ok(text.to_owned()),
            Actions::name,
        );
        filters.add(
            parameters,
            "category",
            |text| Ok(text.to_owned()),
            Actions::category,
        );
        filters.add(parameters, "actor", parse::<ActorRef>, Actions::actor);
        filters.add(
            parameters,
            "actor_type",
            parse::<ActorType>,
            Actions::actor_type,
        );
        filters.add(
            parameters,
            "on_behalf_of",
            parse::<ActorRef>,
            Actions::on_behalf_of,
        );
        filters.add(
            parameters,
            "correlation",
            parse::<ContextId>,
            Actions::correlation_id,
        );
        filters.add(
            parameters,
            "request",
            parse::<ContextId>,
            Actions::request_id,
        );
        filters.add(parameters, "job", parse::<ContextId>, Actions::job_id);
        filters.add(parameters, "meta", parse::<MetaPattern>, Actions::meta);
        filters.add(parameters, "status", parse::<ActionStatus>, Actions::status);
        filters.window = Window::take(parameters, request.now, request.zone());
        filters.query = filters
            .window
            .apply(filters.query.clone(), Actions::from, Actions::to);
        filters
    }

    /// Takes a filter out of parameters and adds it to the query.
    fn add<T>(
        &mut self,
        parameters: &mut Parameters,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        restrict: impl FnOnce(Actions, T) -> Actions,
    ) {
        let parsed = parameters.parsed(name, |text| Ok((text.to_owned(), parse(text)?)));
        if let Some((text, value)) = parsed {
            self.pairs.push((name, text));
            self.query = restrict(std::mem::take(&mut self.query), value);
        }
    }

    /// The text of a filter; empty without it.
    fn value(&self, name: &str) -> &str {
        let found = self.pairs.iter().find(|(key, _)| *key == name);
        found.map_or("", |(_, text)| text)
    }

    /// The address of the list without a window.
    fn list(&self, request: &GrantedRequest) -> Href {
        let pairs = self.pairs.iter().map(|(name, text)| (*name, text));
        request.href("/actions").with_all(pairs)
    }

    /// The address of the list with fixed instants.
    fn fixed_list(&self, request: &GrantedRequest) -> Href {
        self.list(request).with_all(self.window.fixed().pairs())
    }

    fn terminal(&self) -> Terminal {
        let mut arguments = vec!["actions".to_owned()];
        for (name, text) in &self.pairs {
            arguments.extend([format!("--{}", name.replace('_', "-")), text.clone()]);
        }
        arguments.extend(self.window.arguments());
        Terminal::command(arguments)
            .sql("SELECT * FROM threadline.audit_actions ORDER BY id DESC LIMIT 50;")
            .rust("threadline::actions(&mut conn, &Actions::new()).await?")
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// The filters: the common ones, and the others folded until one is used.
fn form(request: &GrantedRequest, filters: &Filters, names: &[String]) -> Markup {
    let input = |(name, label): (&'static str, &'static str)| {
        field(&Field::new(name, label).value(filters.value(name)))
    };
    let status = ["", "ok", "error"].map(|one| Choice::new(one, one == filters.value("status")));
    let text = |end: &Option<crate::question::GivenInstant>| {
        end.as_ref().map(|end| end.text.clone()).unwrap_or_default()
    };
    let (from, to) = (text(&filters.window.from), text(&filters.window.to));
    let is_folded = FIELDS[3..9]
        .iter()
        .all(|(name, _)| filters.value(name).is_empty());
    html! {
        form.filters method="get" action=(request.href("/actions")) {
            div.fields {
                div.field {
                    label for="field-name" { "Name" }
                    input id="field-name" name="name" list="action-names" autocomplete="off" value=(filters.value("name"));
                }
                (select("status", "Status", status))
                (input(FIELDS[2]))
                (field(&Field::new("from", "From").value(&from)))
                (field(&Field::new("to", "To").value(&to)))
                (input(FIELDS[1]))
            }
            datalist id="action-names" { @for name in names { option value=(name) {} } }
            details open[!is_folded] {
                summary { "More filters" }
                div.fields { @for one in &FIELDS[3..9] { (input(*one)) } }
            }
            div.buttons {
                button.primary type="submit" { "Apply" }
                a.button href=(request.href("/actions")) { "Reset" }
            }
        }
    }
}

/// Why the list is empty. An error of the explanation leaves it out, so it must be the last to read.
async fn empty(context: &mut PageContext<'_>, filters: &Filters) -> Markup {
    let request = context.request;
    if filters.pairs.is_empty() && filters.window.is_whole() {
        return empty_state(
            "No actions yet",
            &html! {
                p {
                    "Actions appear here when the application names its work in an audited write, or calls "
                    code { "record_action" } "."
                }
            },
        );
    }
    let query = request.scoped(filters.query.clone(), Actions::scope);
    // The reasons also count actions of the console.
    let reasons = if request.allows(Capability::Log) {
        explain_empty(context.conn, &query)
            .await
            .unwrap_or_default()
    } else {
        Vec::new()
    };
    empty_state(
        "No actions match",
        &html! {
            (explanations(request, &reasons))
            p { a href=(request.href("/actions")) { "All actions" } }
        },
    )
}
