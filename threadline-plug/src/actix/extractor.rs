use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use threadline_core::context::AuditContext;

use crate::extract::{Audit, MissingAuditContext};

/// `Option<Audit>` is an extractor too, by actix-web's implementation for `Option`.
impl FromRequest for Audit {
    type Error = MissingAuditContext;
    type Future = Ready<Result<Self, MissingAuditContext>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let context = request.extensions().get::<AuditContext>().cloned();
        ready(context.map(Audit).ok_or(MissingAuditContext))
    }
}

impl ResponseError for MissingAuditContext {
    fn status_code(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    fn error_response(&self) -> HttpResponse {
        threadline_core::telemetry::context_missing();
        HttpResponse::build(self.status_code()).body(self.body_text())
    }
}
