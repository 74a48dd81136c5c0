//! What goes wrong, and what the client is told about it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::deadpool::PoolError;
use serde_json::json;
use threadline::AuditError;
use threadline::context::{InvalidActionName, InvalidActor, InvalidContextId};

/// Why a request is not answered as it was hoped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// Nobody is signed in.
    #[error("sign in first")]
    SignInFirst,
    /// The handle or the password is wrong; which one is nobody's business.
    #[error("the handle or the password is wrong")]
    WrongPassword,
    /// Somebody who is not staff wants to act for somebody else.
    #[error("only staff can act for somebody else")]
    NotStaff,
    /// Staff who act for nobody want something that belongs to an organization.
    #[error("say for whom you act, in the header x-impersonate")]
    ActForWhom,
    /// It does not exist, or not for who asks.
    #[error("there is no such {0}")]
    NoSuch(&'static str),
    /// The invoice is paid or void.
    #[error("this invoice is {0} already")]
    Settled(&'static str),
    /// The organization's name, the handle or the address is in use.
    #[error("this name or address is taken")]
    Taken,
    /// An invoice for nothing.
    #[error("an invoice has lines, and their sum is more than nothing")]
    EmptyInvoice,
    /// A handle that cannot name an actor.
    #[error(transparent)]
    Handle(#[from] InvalidActor),
    /// The audited write did not happen.
    #[error("the change was not made")]
    Audit(#[source] AuditError),
    /// The trail cannot be asked or read.
    #[error("the trail cannot be read")]
    Trail(#[source] threadline::Error),
    /// The database said no.
    #[error("the database did not answer as expected")]
    Database(#[source] DieselError),
    /// There is no connection.
    #[error("the database cannot be reached")]
    Pool(#[from] PoolError),
    /// The job was not queued or cannot be done.
    #[error("the job cannot be done")]
    Job(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A password could not be hashed.
    #[error("the password cannot be hashed")]
    Password(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An action of ours has an unusable name.
    #[error(transparent)]
    ActionName(#[from] InvalidActionName),
    /// A job of ours has an unusable id.
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
            Self::SignInFirst | Self::WrongPassword => StatusCode::UNAUTHORIZED,
            Self::NotStaff | Self::ActForWhom => StatusCode::FORBIDDEN,
            Self::NoSuch(_) => StatusCode::NOT_FOUND,
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
