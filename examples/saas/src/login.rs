//! The handler for signing in: an action that changes no row.

use axum::Json;
use axum::extract::State;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Deserialize;
use serde_json::{Value, json};
use threadline::plug::Audit;
use threadline::{AuditedWrite, action, audited};

use crate::app::App;
use crate::error::AppError;
use crate::models::Member;
use crate::password::Password;
use crate::schema::members;
use crate::session::{CurrentMember, ORGANIZATION};

/// The body of a sign-in request.
#[derive(Debug, Deserialize)]
pub(crate) struct Credentials {
    handle: String,
    password: Password,
}

/// `POST /login`: opens a session and returns its token.
///
/// The member with this handle is the actor of the action, even if the password is wrong: failed sign-ins
/// of an account are part of the trail.
pub(crate) async fn log_in(
    State(app): State<App>,
    Audit(context): Audit,
    Json(credentials): Json<Credentials>,
) -> Result<Json<Value>, AppError> {
    let mut conn = app.conn().await?;
    let member = members::table
        .find(&credentials.handle)
        .select(Member::as_select())
        .first(&mut conn)
        .await
        .optional()?
        .ok_or(AppError::WrongPassword)?;
    let matches = member.password_hash.matches(credentials.password).await?;
    let current = CurrentMember::new(member.handle, member.organization_id)?;

    let context = context
        .with_actor(current.actor.clone())
        .meta(ORGANIZATION, current.organization_id);
    let log_in = AuditedWrite::new(context)
        .action(action!("session.log_in").category("security"))
        .record_failures();
    audited(&mut conn, &log_in, async |_| {
        matches.then_some(()).ok_or(AppError::WrongPassword)
    })
    .await?;

    let token = app.sessions().open_for_member(current);
    Ok(Json(json!({ "token": token })))
}
