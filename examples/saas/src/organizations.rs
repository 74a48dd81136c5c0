//! Organizations: they sign up, and one day they leave.

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

/// An organization and the first who works for it.
#[derive(Debug, Deserialize)]
pub(crate) struct SignUp {
    organization: String,
    member: NewMember,
}

/// `POST /organizations`: signs an organization up. Whoever does that is not known yet.
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
            .values(member.of(organization.id))
            .execute(conn)
            .await?;
        Ok::<_, AppError>(organization)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(signed_up.value)))
}

/// Why an organization leaves.
#[derive(Debug, Deserialize)]
pub(crate) struct Leaving {
    comment: String,
}

/// `POST /organization/close`: voids what is open, each invoice as an action of its own, and
/// closes the organization.
pub(crate) async fn close(
    State(app): State<App>,
    Audit(context): Audit,
    member: CurrentMember,
    Json(leaving): Json<Leaving>,
) -> Result<Json<Organization>, AppError> {
    let close = AuditedWrite::new(context.clone())
        .action(action!("organization.close").comment(leaving.comment));
    let void =
        AuditedWrite::new(context).action(action!("invoice.void").reason("organization_closed"));
    let mut conn = app.conn().await?;
    let closed = audited(&mut conn, &close, async |conn| {
        let open: Vec<Invoice> = Invoice::open_of(member.organization_id)
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
            .ok_or(AppError::NoSuch("organization"))
    })
    .await?;
    Ok(Json(closed.value))
}
