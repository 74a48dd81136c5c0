//! Support for axum: the extractor [`Audit`], for routes with an
//! [`AuditContextLayer`](crate::AuditContextLayer).
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use http_body_util::BodyExt;
//! use threadline_core::actor::ActorRef;
//! use threadline_plug::{Audit, AuditContextLayer};
//! use tower::ServiceExt;
//!
//! async fn show_actor(Audit(context): Audit) -> String {
//!     context.actor().map_or("none".to_owned(), ToString::to_string)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app: Router = Router::new().route("/", get(show_actor)).layer(
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
use crate::layer::Rejection;

impl Rejection<Body> {
    /// Rejects the request with any axum response:
    /// `Rejection::from_response(StatusCode::UNAUTHORIZED)`.
    pub fn from_response(response: impl IntoResponse) -> Self {
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
