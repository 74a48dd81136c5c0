//! For axum: [`Audit`] as an extractor, over [`AuditContextLayer`](crate::AuditContextLayer).
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use http_body_util::BodyExt;
//! use threadline_core::actor::ActorRef;
//! use threadline_plug::{Audit, AuditContextLayer};
//! use tower::ServiceExt;
//!
//! async fn who(Audit(context): Audit) -> String {
//!     context.actor().map_or("nobody".to_owned(), ToString::to_string)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app: Router = Router::new().route("/", get(who)).layer(
//!     AuditContextLayer::new().actor(|parts| {
//!         let user = parts.headers.get("x-user").and_then(|value| value.to_str().ok());
//!         Ok(user.and_then(|id| ActorRef::user(id).ok()))
//!     }),
//! );
//!
//! let request = Request::builder().header("x-user", "42").body(Body::empty())?;
//! let body = app.oneshot(request).await?.into_body().collect().await?;
//! assert_eq!(body.to_bytes(), "user:42");
//! # Ok(())
//! # }
//! ```

use std::convert::Infallible;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use threadline_core::context::AuditContext;

use crate::extract::{Audit, MissingAuditContext};
use crate::layer::Refusal;

impl Refusal<Body> {
    /// Answers with whatever axum can answer with: `Refusal::answer(StatusCode::UNAUTHORIZED)`.
    pub fn answer(response: impl IntoResponse) -> Self {
        Self::new(response.into_response())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Audit {
    type Rejection = MissingAuditContext;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        audit(parts).ok_or(MissingAuditContext)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Audit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(audit(parts))
    }
}

fn audit(parts: &Parts) -> Option<Audit> {
    parts.extensions.get::<AuditContext>().cloned().map(Audit)
}

impl IntoResponse for MissingAuditContext {
    fn into_response(self) -> Response {
        threadline_core::telemetry::context_missing();
        (self.status(), self.body_text()).into_response()
    }
}
