//! Saved views: the list, running one, saving and removing.

use axum::http::StatusCode;
use diesel_async::AsyncPgConnection;
use maud::html;
use threadline_core::action;
use threadline_core::actor::ActorRef;
use threadline_diesel::saved_views::{self, SavedView, SavedViewError, Sharing, ViewName};
use uuid::Uuid;

use crate::access::Capability;
use crate::connections::Connection;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::question::{ChangeFilters, FieldError};
use crate::request::{GrantedRequest, PageContext};
use crate::self_audit::{self, recorded_filters};
use crate::view::saved_views::{save_form, view_table};
use crate::view::states::{empty_state, field_required};

/// The list of views.
pub(crate) async fn list(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    request.parameters().finish()?;
    let views = match saved_views::list(context.conn, request.actor.as_ref()).await {
        Err(error @ (SavedViewError::MigrationMissing | SavedViewError::NoPrivilege)) => {
            let advice = html! { p { (error) } };
            let body = empty_state("Views cannot be saved in this database yet", &advice);
            return Ok(Page::new("Views", body).into());
        }
        outcome => outcome?,
    };
    if request.wants_json() {
        return Screen::json(&views);
    }
    let body = html! {
        p.note {
            "Filters of the timeline under a name: your own, and those that others share. A view is run within "
            "your grant. To save one, filter the "
            @if let Some(timeline) = request.screen("timeline") { a href=(timeline) { "timeline" } }
            " and use Save view."
        }
        @if views.is_empty() {
            (empty_state("No saved views", &html! { p { "There are no views of yours, and no shared ones." } }))
        } @else {
            (view_table(request, &views))
        }
    };
    let mut arguments = vec!["views".to_owned(), "list".to_owned()];
    if let Some(actor) = &request.actor {
        arguments.extend(["--owner".to_owned(), actor.to_string()]);
    }
    Ok(Page::new("Views", body)
        .terminal(Terminal::command(arguments))
        .into())
}

/// The views for other pages; none if the grant or the database has none.
pub(super) async fn own_and_shared(
    context: &mut PageContext<'_>,
) -> Result<Vec<SavedView>, PageError> {
    let request = context.request;
    if !request.allows(Capability::Views) {
        return Ok(Vec::new());
    }
    match saved_views::list(context.conn, request.actor.as_ref()).await {
        Err(SavedViewError::MigrationMissing | SavedViewError::NoPrivilege) => Ok(Vec::new()),
        outcome => Ok(outcome?),
    }
}

/// Redirects to the timeline with the filters of a view, which applies the scope of this request.
pub(crate) async fn open(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let id = parameters.value::<Uuid>("id");
    parameters.finish()?;
    let id = id.ok_or_else(|| field_required("id", "give the id of the view"))?;
    let view = saved_views::find(context.conn, request.actor.as_ref(), id).await?;
    let view = view.ok_or(PageError::NotFound)?;
    let filters = match &view.filters {
        Ok(filters) => filters,
        Err(error) => return Err(PageError::Invalid(vec![FieldError::of_page(error)])),
    };
    let timeline = request.screen("timeline").ok_or(PageError::NotFound)?;
    let timeline = timeline.with_all(filters.pairs());
    let is_own = request
        .actor
        .as_ref()
        .is_some_and(|actor| view.is_owned_by(actor));
    if view.sharing == Sharing::Shared && !is_own {
        record(request, &view, "opened", None).await;
    }
    Ok(Screen::Redirect(timeline))
}

/// Saves the filters of a form under its name.
pub(crate) async fn save(request: &GrantedRequest) -> Result<Screen, PageError> {
    let mut form = request.form_parameters();
    if !form.has("name") {
        form.reject("name", "", "give the view a name");
    }
    let name = form.value::<ViewName>("name");
    let sharing = if form.flag("shared") {
        Sharing::Shared
    } else {
        Sharing::Private
    };
    let filters = ChangeFilters::take(&mut form, request.now, request.zone());
    match form.finish() {
        Err(PageError::Invalid(errors)) if errors.iter().all(|one| one.field == "name") => {
            let page = Page::new("Save view", save_form(request, &filters.pairs(), &errors));
            return Ok(page.status(StatusCode::UNPROCESSABLE_ENTITY).into());
        }
        outcome => outcome?,
    }
    let name = name.ok_or(PageError::Internal("name"))?;
    let document = filters.document().without_local_times(request.zone())?;
    if sharing == Sharing::Shared && !request.allows(Capability::ShareViews) {
        return Err(PageError::Forbidden(Capability::ShareViews));
    }
    let owner = owner(request)?;
    let view = {
        let mut connection = writer(request).await?;
        let conn: &mut AsyncPgConnection = &mut connection;
        saved_views::save(conn, owner, &name, sharing, &document).await?
    };
    if view.sharing == Sharing::Shared {
        record(request, &view, "saved", Some(&filters)).await;
    }
    Ok(Screen::Redirect(request.href("/views")))
}

/// Removes a view of the actor.
pub(crate) async fn remove(request: &GrantedRequest) -> Result<Screen, PageError> {
    let mut form = request.form_parameters();
    let id = form.value::<Uuid>("id");
    form.finish()?;
    let id = id.ok_or_else(|| field_required("id", "give the id of the view"))?;
    let owner = owner(request)?;
    let view = {
        let mut connection = writer(request).await?;
        let conn: &mut AsyncPgConnection = &mut connection;
        saved_views::remove(conn, owner, id).await?
    };
    let view = view.ok_or(PageError::NotFound)?;
    if view.sharing == Sharing::Shared {
        record(request, &view, "removed", None).await;
    }
    Ok(Screen::Redirect(request.href("/views")))
}

fn owner(request: &GrantedRequest) -> Result<&ActorRef, PageError> {
    request.actor.as_ref().ok_or_else(|| {
        let message = "views belong to an actor, and the application names none for you";
        PageError::Invalid(vec![FieldError::of_page(message)])
    })
}

async fn writer(request: &GrantedRequest) -> Result<Connection, PageError> {
    request.settings.writer().await?.ok_or_else(|| {
        let message = "views cannot be saved: the application gave the console no pool of writers";
        PageError::Invalid(vec![FieldError::of_page(message)])
    })
}

/// Records the use of a shared view.
async fn record(
    request: &GrantedRequest,
    view: &SavedView,
    step: &'static str,
    filters: Option<&ChangeFilters>,
) {
    let mut action = action!("console.view")
        .meta("step", step)
        .meta("view", view.id.to_string());
    if let Some(filters) = filters {
        action = action.meta("filters", recorded_filters(filters));
    }
    self_audit::record_request(request, "views", action).await;
}
