//! Handlers that issue, show, pay and void invoices and queue reminders.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{NaiveDate, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Deserialize;
use threadline::plug::{Audit, JobContext};
use threadline::{AuditedWrite, action, audited};

use crate::app::App;
use crate::error::AppError;
use crate::jobs::RemindCustomer;
use crate::models::{Invoice, InvoiceLine, NewInvoice};
use crate::schema::{invoice_lines, invoices};
use crate::session::CurrentMember;

/// The body of a request for a new invoice.
#[derive(Debug, Deserialize)]
pub(crate) struct Draft {
    customer: String,
    due_on: NaiveDate,
    lines: Vec<DraftLine>,
}

#[derive(Debug, Deserialize)]
struct DraftLine {
    description: String,
    amount_cents: i64,
}

/// `POST /invoices`: issues an invoice with its lines.
pub(crate) async fn issue(
    State(app): State<App>,
    Audit(context): Audit,
    member: CurrentMember,
    Json(draft): Json<Draft>,
) -> Result<(StatusCode, Json<Invoice>), AppError> {
    let total_cents = draft.lines.iter().map(|line| line.amount_cents).sum();
    if total_cents <= 0 {
        return Err(AppError::EmptyInvoice);
    }
    let write = AuditedWrite::new(context).action(action!("invoice.issue"));
    let mut conn = app.conn().await?;
    let issued = audited(&mut conn, &write, async |conn| {
        let invoice = diesel::insert_into(invoices::table)
            .values(NewInvoice {
                organization_id: member.organization_id,
                customer: &draft.customer,
                total_cents,
                due_on: draft.due_on,
            })
            .returning(Invoice::as_returning())
            .get_result(conn)
            .await?;
        diesel::insert_into(invoice_lines::table)
            .values(number_lines(invoice.id, draft.lines))
            .execute(conn)
            .await?;
        Ok::<_, AppError>(invoice)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(issued.value)))
}

fn number_lines(invoice_id: i64, lines: Vec<DraftLine>) -> Vec<InvoiceLine> {
    (1..)
        .zip(lines)
        .map(|(line_no, line)| InvoiceLine {
            invoice_id,
            line_no,
            description: line.description,
            amount_cents: line.amount_cents,
        })
        .collect()
}

/// `GET /invoices/{id}`.
pub(crate) async fn show(
    State(app): State<App>,
    member: CurrentMember,
    Path(id): Path<i64>,
) -> Result<Json<Invoice>, AppError> {
    let invoice = Invoice::find_in(member.organization_id, id)
        .first(&mut app.conn().await?)
        .await
        .optional()?;
    invoice.map(Json).ok_or(AppError::NotFound("invoice"))
}

/// `POST /invoices/{id}/pay`: marks an invoice as paid. A failed attempt is recorded as an action.
pub(crate) async fn pay(
    State(app): State<App>,
    Audit(context): Audit,
    member: CurrentMember,
    Path(id): Path<i64>,
) -> Result<Json<Invoice>, AppError> {
    let write = AuditedWrite::new(context)
        .action(action!("invoice.pay").meta("invoice_id", id))
        .record_failures();
    let mut conn = app.conn().await?;
    let paid = audited(&mut conn, &write, async |conn| {
        lock_open(conn, member.organization_id, id).await?;
        diesel::update(invoices::table.find(id))
            .set(invoices::paid_on.eq(Utc::now().date_naive()))
            .returning(Invoice::as_returning())
            .get_result(conn)
            .await
            .map_err(AppError::from)
    })
    .await?;
    Ok(Json(paid.value))
}

/// The reason for voiding an invoice.
#[derive(Debug, Deserialize)]
pub(crate) struct VoidRequest {
    reason: String,
    comment: String,
}

/// `POST /invoices/{id}/void`: voids an invoice.
pub(crate) async fn void(
    State(app): State<App>,
    Audit(context): Audit,
    member: CurrentMember,
    Path(id): Path<i64>,
    Json(request): Json<VoidRequest>,
) -> Result<Json<Invoice>, AppError> {
    let action = action!("invoice.void")
        .reason(request.reason)
        .comment(request.comment);
    let write = AuditedWrite::new(context).action(action).record_failures();
    let mut conn = app.conn().await?;
    let voided = audited(&mut conn, &write, async |conn| {
        lock_open(conn, member.organization_id, id).await?;
        mark_void(conn, id).await
    })
    .await?;
    Ok(Json(voided.value))
}

/// `POST /invoices/{id}/remind`: queues a reminder with the context of the request.
pub(crate) async fn remind(
    State(app): State<App>,
    Audit(context): Audit,
    member: CurrentMember,
    Path(id): Path<i64>,
) -> Result<StatusCode, AppError> {
    let job = RemindCustomer {
        organization_id: member.organization_id,
        invoice_id: id,
        audit: JobContext::from(&context),
    };
    app.jobs().push(&job).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Locks an open invoice until the transaction ends.
pub(crate) async fn lock_open(
    conn: &mut AsyncPgConnection,
    organization_id: i64,
    id: i64,
) -> Result<Invoice, AppError> {
    let invoice = Invoice::find_in(organization_id, id)
        .for_update()
        .first(conn)
        .await
        .optional()?
        .ok_or(AppError::NotFound("invoice"))?;
    match invoice {
        Invoice {
            paid_on: Some(_), ..
        } => Err(AppError::Settled("paid")),
        Invoice {
            voided_on: Some(_), ..
        } => Err(AppError::Settled("void")),
        open => Ok(open),
    }
}

pub(crate) async fn mark_void(conn: &mut AsyncPgConnection, id: i64) -> Result<Invoice, AppError> {
    let voided = diesel::update(invoices::table.find(id))
        .set(invoices::voided_on.eq(Utc::now().date_naive()))
        .returning(Invoice::as_returning())
        .get_result(conn)
        .await?;
    Ok(voided)
}
