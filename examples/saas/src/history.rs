//! The history of an invoice, for the members of its organization.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use threadline::{ActorRef, History, Op, TimelineEntry};

use crate::app::App;
use crate::error::AppError;
use crate::models::Invoice;
use crate::session::CurrentMember;

/// A change as the API returns it: without values, request ids and remote addresses.
#[derive(Debug, Serialize)]
pub(crate) struct ChangeSummary {
    at: DateTime<Utc>,
    who: Option<ActorRef>,
    action: Option<String>,
    op: Op,
    changed: Vec<String>,
}

impl From<TimelineEntry> for ChangeSummary {
    fn from(entry: TimelineEntry) -> Self {
        Self {
            at: entry.change.captured_at,
            who: entry.actor().and_then(|actor| actor.known().cloned()),
            changed: entry.change.changed_fields(),
            op: entry.change.op,
            action: entry.action.map(|action| action.name),
        }
    }
}

/// `GET /invoices/{id}/history`: the latest changes of an invoice, newest first.
pub(crate) async fn list_changes(
    State(app): State<App>,
    member: CurrentMember,
    Path(id): Path<i64>,
) -> Result<Json<Vec<ChangeSummary>>, AppError> {
    let mut conn = app.conn().await?;
    Invoice::find_in(member.organization_id, id)
        .first(&mut conn)
        .await
        .optional()?
        .ok_or(AppError::NotFound("invoice"))?;
    let query = History::<Invoice>::new(id).map_err(|error| AppError::Trail(error.into()))?;
    let page = threadline::history(&mut conn, &query)
        .await
        .map_err(|error| AppError::Trail(error.into()))?;
    Ok(Json(
        page.entries.into_iter().map(ChangeSummary::from).collect(),
    ))
}
