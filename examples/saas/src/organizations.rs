//! Handlers that sign up and close organizations.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::Utc;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Deserialize;
use threadline::plug::Audit;
use threadline::{AuditedWrite, action, audited};

use crate::app::App;
use crate::error::AppError;
use crate::invoices::mark_void;
use crate::members::NewMember;
use crate::models::{Invoice, NewOrganization, Organization};
use crate::schema::{members, organizations};
use crate::session::CurrentMember;

/// The body of a sign-up request: an organization and its first member.
#[derive(Debug, Deserialize)]
pub(crate) struct SignUp {
    organization: String,
    member: NewMember,
}

/// `POST /organizations`: signs an organization up. The request has no session, so its actor is anonymous.
pub(crate) async fn sign_up(
    State(app): State<App>,
    Audit(context): Audit,
    Json(sign_up): Json<SignUp>,
) -> Result<(StatusCode, Json<Organization>), AppError> {
    let member = sign_up.member.with_hashed_password().await?;
    let write = AuditedWrite::new(context).action(action!("organization.sign_up"));
    let mut conn = app.conn().await?;
    let signed_up = audited(&mut conn, &write, async |conn| {
        let organization = diesel::insert_into(organizations::table)
            .values(NewOrganization {
                name: &sign_up.organization,
            })
            .returning(Organization::as_returning())
            .get_result(conn)
            .await?;
        diesel::insert_into(members::table)
            .values(member.into_member(organization.id))
            .execute(conn)
            .await?;
        Ok::<_, AppError>(organization)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(signed_up.value)))
}

/// The body of a request that closes an organization.
#[derive(Debug, Deserialize)]
pub(crate) struct CloseRequest {
    comment: String,
}

/// `POST /organization/close`: voids the open invoices, each in its own nested action, and closes the
/// organization.
pub(crate) async fn close(
    State(app): State<App>,
    Audit(context): Audit,
    member: CurrentMember,
    Json(request): Json<CloseRequest>,
) -> Result<Json<Organization>, AppError> {
    let close = AuditedWrite::new(context.clone())
        .action(action!("organization.close").comment(request.comment));
    let void =
        AuditedWrite::new(context).action(action!("invoice.void").reason("organization_closed"));
    let mut conn = app.conn().await?;
    let closed = audited(&mut conn, &close, async |conn| {
        let open: Vec<Invoice> = Invoice::open_in(member.organization_id)
            .for_update()
            .load(conn)
            .await?;
        for invoice in &open {
            audited(conn, &void, async |conn| mark_void(conn, invoice.id).await).await?;
        }
        diesel::update(organizations::table.find(member.organization_id))
            .filter(organizations::closed_on.is_null())
            .set(organizations::closed_on.eq(Utc::now().date_naive()))
            .returning(Organization::as_returning())
            .get_result(conn)
            .await
            .optional()?
            .ok_or(AppError::NotFound("organization"))
    })
    .await?;
    Ok(Json(closed.value))
}
