//! The trail as the application shows it to its own users.

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

/// A change as customers see it: no internals, no addresses.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    at: DateTime<Utc>,
    who: Option<ActorRef>,
    action: Option<String>,
    op: Op,
    changed: Vec<String>,
}

impl From<TimelineEntry> for Step {
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

/// `GET /invoices/{id}/history`: the last steps of an invoice, newest first.
pub(crate) async fn of_invoice(
    State(app): State<App>,
    member: CurrentMember,
    Path(id): Path<i64>,
) -> Result<Json<Vec<Step>>, AppError> {
    let mut conn = app.conn().await?;
    Invoice::of(member.organization_id, id)
        .first(&mut conn)
        .await
        .optional()?
        .ok_or(AppError::NoSuch("invoice"))?;
    let question = History::<Invoice>::new(id).map_err(|error| AppError::Trail(error.into()))?;
    let page = threadline::history(&mut conn, &question)
        .await
        .map_err(|error| AppError::Trail(error.into()))?;
    Ok(Json(page.entries.into_iter().map(Step::from).collect()))
}
