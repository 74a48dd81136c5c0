//! The error type of the handlers, and its HTTP responses.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::deadpool::PoolError;
use serde_json::json;
use threadline::AuditError;
use threadline::context::{InvalidActionName, InvalidActor, InvalidContextId};

/// An error of a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The request has no session.
    #[error("sign in first")]
    Unauthenticated,
    /// The handle is unknown or the password is wrong. The response does not say which.
    #[error("the handle or the password is wrong")]
    WrongPassword,
    /// A member who is not staff sent the impersonation header.
    #[error("only staff can act for another member")]
    NotStaff,
    /// A staff request for an organization's data does not name a member.
    #[error("name the member to act for in the header x-impersonate")]
    NoMemberNamed,
    /// The record does not exist or belongs to another organization.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The invoice is paid or void.
    #[error("this invoice is already {0}")]
    Settled(&'static str),
    /// The organization's name, the handle or the address is in use.
    #[error("this name or address is taken")]
    Taken,
    /// The sum of the invoice's lines is not positive.
    #[error("an invoice needs lines with a positive sum")]
    EmptyInvoice,
    /// The handle is not a valid actor id.
    #[error(transparent)]
    Handle(#[from] InvalidActor),
    /// The audited write failed and was rolled back.
    #[error("the change was not saved")]
    Audit(#[source] AuditError),
    /// The trail cannot be read.
    #[error("the trail cannot be read")]
    Trail(#[source] threadline::Error),
    /// A query failed.
    #[error("the database reported an error")]
    Database(#[source] DieselError),
    /// The pool has no connection.
    #[error("the database cannot be reached")]
    Pool(#[from] PoolError),
    /// The job could not be queued or its arguments could not be read.
    #[error("the job failed")]
    Job(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A password could not be hashed.
    #[error("the password cannot be hashed")]
    Password(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The name of an action is invalid.
    #[error(transparent)]
    ActionName(#[from] InvalidActionName),
    /// The id of a job is invalid.
    #[error(transparent)]
    JobId(#[from] InvalidContextId),
}

impl From<DieselError> for AppError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::Taken,
            other => Self::Database(other),
        }
    }
}

impl From<AuditError> for AppError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Database(error) => error.into(),
            other => Self::Audit(other),
        }
    }
}

impl AppError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::WrongPassword => StatusCode::UNAUTHORIZED,
            Self::NotStaff | Self::NoMemberNamed => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Settled(_) | Self::Taken => StatusCode::CONFLICT,
            Self::EmptyInvoice | Self::Handle(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Audit(_)
            | Self::Trail(_)
            | Self::Database(_)
            | Self::Pool(_)
            | Self::Job(_)
            | Self::Password(_)
            | Self::ActionName(_)
            | Self::JobId(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(error = &self as &dyn std::error::Error, "request failed");
        }
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}
